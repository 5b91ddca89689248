"""Learned queries that read masked tokens."""

from __future__ import annotations

import torch
from affectkit_plugins.adapters._masked import MaskedAttention, block, by_frame, in_one_row
from jaxtyping import Bool, Float
from torch import Tensor, nn

from affectkit.blocks import TokenBlock


class Pool(nn.Module):
    """tokens [f m d], mask [f m] -> [f q d]."""

    def __init__(self, width: int, queries: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(queries, width).normal_(std=width**-0.5))
        self.norm = nn.LayerNorm(width)
        self.attention = MaskedAttention(width, heads)

    def forward(self, tokens: Float[Tensor, "f m d"], mask: Bool[Tensor, "f m"]) -> Float[Tensor, "f q d"]:
        return self.attention(self.queries.expand(len(tokens), -1, -1), self.norm(tokens), mask)


class AttentivePool(Pool):
    """tokens [b t n d] -> [b t q d], or [b 1 q d] for the whole clip."""

    def __init__(self, width: int, queries: int, heads: int, each_frame: bool) -> None:
        super().__init__(width, queries, heads)
        self.each_frame = each_frame

    def forward(self, tokens: TokenBlock) -> dict[str, TokenBlock]:  # type: ignore[override]
        time = tokens.tokens.shape[1] if self.each_frame else 1
        values, mask = by_frame(tokens) if self.each_frame else in_one_row(tokens)
        out = super().forward(values, mask).unflatten(0, (-1, time))
        real = mask.any(1).view(-1, time, 1).expand(out.shape[:3])
        return block("tokens", out, real)
