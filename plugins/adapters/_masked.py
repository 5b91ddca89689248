"""What every step does with masks. Plain torch.

Masked places are filled with zeros before anything is computed, so that whatever lies there (even NaN) cannot
leak, and again afterwards, because biases and norms make zeros into something else.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit.blocks import TokenBlock


def clean(tokens: Float[Tensor, "*any d"], mask: Bool[Tensor, "*any"]) -> Float[Tensor, "*any d"]:
    """Tokens with zeros wherever the mask says that there is nothing."""
    return tokens.masked_fill(~mask.unsqueeze(-1), 0.0)


def block(name: str, tokens: Float[Tensor, "b t n d"], mask: Bool[Tensor, "b t n"]) -> dict[str, TokenBlock]:
    """The usual output of a step: one cleaned block."""
    return {name: TokenBlock(name, clean(tokens, mask), mask)}


def in_one_row(given: TokenBlock) -> tuple[Float[Tensor, "b m d"], Bool[Tensor, "b m"]]:
    """Time and tokens as one axis of t * n, cleaned."""
    return clean(given.tokens, given.mask).flatten(1, 2), given.mask.flatten(1, 2)


def by_frame(given: TokenBlock) -> tuple[Float[Tensor, "f n d"], Bool[Tensor, "f n"]]:
    """Batch and time as one axis of b * t, cleaned."""
    return clean(given.tokens, given.mask).flatten(0, 1), given.mask.flatten(0, 1)


def masked_mean(
    tokens: Float[Tensor, "*any d"], mask: Bool[Tensor, "*any"], dim: int | tuple[int, ...]
) -> Float[Tensor, "*less d"]:
    """Mean over `dim` of what is real (zero where nothing is); `mask` has the shape of `tokens` without
    its last axis."""
    weight = mask.unsqueeze(-1).to(tokens.dtype)
    return clean(tokens, mask).sum(dim) / weight.sum(dim).clamp(min=1)


def mean_of_real(
    tokens: Float[Tensor, "f m d"], mask: Bool[Tensor, "f m"]
) -> tuple[Float[Tensor, "f 1 d"], Bool[Tensor, "f 1"]]:
    """The mean of what is real as one token, and its mask; divided before it is summed, so that half precision does not
    overflow."""
    share = mask.to(tokens.dtype) / mask.sum(1).clamp(min=1)[:, None].to(tokens.dtype)
    return (tokens * share[..., None]).sum(1, keepdim=True), mask.any(1, keepdim=True)


def usable(mask: Bool[Tensor, "f m"]) -> Bool[Tensor, "f m"]:
    """The mask with empty rows opened: softmax over nothing is NaN; who calls this zeroes those rows
    afterwards."""
    return mask | ~mask.any(-1, keepdim=True)


class MaskedAttention(nn.Module):
    """Multi-head attention of queries over masked tokens (Vaswani et al. 2017, section 3.2), without dropout.

    queries [f q d], tokens [f m e], mask [f m] -> [f q d]; rows with nothing to attend to give zeros.
    """

    def __init__(self, width: int, heads: int, token_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(token_width or width, width)
        self.value = nn.Linear(token_width or width, width)
        self.out = nn.Linear(width, width)

    def forward(
        self, queries: Float[Tensor, "f q d"], tokens: Float[Tensor, "f m e"], mask: Bool[Tensor, "f m"]
    ) -> Float[Tensor, "f q d"]:
        q, k, v = (self._split(x) for x in (self.query(queries), self.key(tokens), self.value(tokens)))
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=usable(mask)[:, None, None, :])
        out = self.out(seen.transpose(1, 2).flatten(2))
        return out * mask.any(-1)[:, None, None].to(out.dtype)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class SelfLayer(nn.Module):
    """One pre-norm transformer layer over masked tokens [f m d]."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = MaskedAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "f m d"], mask: Bool[Tensor, "f m"]) -> Float[Tensor, "f m d"]:
        normed = self.norm1(tokens)
        tokens = tokens + self.dropout(self.attention(normed, normed, mask))
        return tokens + self.dropout(self.mlp(self.norm2(tokens)))


def sinusoids(count: int, like: Tensor) -> Float[Tensor, "count d"]:
    """Sine and cosine positions (Vaswani et al. 2017, section 3.5) of the width, device and type of `like`
    [... d]."""
    width = like.shape[-1]
    place = torch.arange(count, device=like.device, dtype=torch.float32).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2, device=like.device, dtype=torch.float32) * (-math.log(10000.0) / width))
    table = torch.stack((torch.sin(place * rate), torch.cos(place * rate)), -1).flatten(1)
    return table[:, :width].to(like.dtype)
