"""The two-way decoder of Segment Anything (Kirillov et al. 2023, appendix A): tokens and a map read each other."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Tokens = Float[Tensor, "b n d"]
Map = Float[Tensor, "b m d"]
Code = Float[Tensor, "m d"]


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than its outer one."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(
        self, queries: Float[Tensor, "b q d"], keys: Float[Tensor, "b k d"], values: Float[Tensor, "b k d"]
    ) -> Float[Tensor, "b q d"]:
        parts = (self.q_proj(queries), self.k_proj(keys), self.v_proj(values))
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in parts)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with ReLU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tokens) -> Tokens:
        return self.lin2(F.relu(self.lin1(x)))


class Layer(nn.Module):
    """Tokens among themselves, tokens to map, feed-forward, map to tokens; post-norm."""

    def __init__(self, width: int, heads: int, hidden: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, heads, width)
        self.cross_attn_token_to_image = Attention(width, heads, width // 2)
        self.mlp = FeedForward(width, hidden)
        self.cross_attn_image_to_token = Attention(width, heads, width // 2)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))

    def forward(self, tokens: Tokens, face: Map, names: Tokens, places: Code) -> tuple[Tokens, Map]:
        """`names` are the tokens as they began and `places` the map's position code, added wherever one asks or
        is asked."""
        if self.first:  # the tokens are still their own names: they are replaced, not added to
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            asked = tokens + names
            tokens = tokens + self.self_attn(asked, asked, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + names, face + places, face))
        tokens = self.norm3(tokens + self.mlp(tokens))
        face = self.norm4(face + self.cross_attn_image_to_token(face + places, tokens + names, tokens))
        return tokens, face


class TwoWay(nn.Module):
    """Tokens [b n d], a map [b m d] and its position code [m d] -> tokens and map, refined."""

    def __init__(self, width: int, layers: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads, hidden, i == 0) for i in range(layers))
        self.final_attn_token_to_image = Attention(width, heads, width // 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, names: Tokens, face: Map, places: Code) -> tuple[Tokens, Map]:
        tokens = names
        for layer in self.layers:
            tokens, face = layer(tokens, face, names, places)
        read = self.final_attn_token_to_image(tokens + names, face + places, face)
        return self.norm_final_attn(tokens + read), face


class Places(nn.Module):
    """The position code of a grid: sine and cosine of random frequencies (Tancik et al. 2020), part of the
    weights."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, high: int, wide: int) -> Float[Tensor, "m d"]:
        matrix = self.positional_encoding_gaussian_matrix
        y, x = ((torch.arange(n, device=matrix.device) + 0.5) / n * 2 - 1 for n in (high, wide))
        grid = torch.stack((x[None].expand(high, wide), y[:, None].expand(high, wide)), -1)
        angles = 2 * math.pi * (grid.flatten(0, 1).to(matrix.dtype) @ matrix)
        return torch.cat((angles.sin(), angles.cos()), -1)
