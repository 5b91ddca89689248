"""Linear layers with GELU between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from affectkit_plugins.adapters._masked import block, clean
from einops import rearrange
from torch import nn

from affectkit.blocks import TokenBlock


class Projector(nn.Module):
    """tokens [b t n widths[0]] -> tokens [b t n*copies widths[-1]/copies]; one width more than there are layers."""

    def __init__(
        self, widths: Sequence[int], bias: bool = True, norm: bool = False, dropout: float = 0.0, copies: int = 1
    ) -> None:
        super().__init__()
        self.copies = copies
        self.norm = nn.LayerNorm(widths[0]) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after, bias=bias), nn.GELU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, tokens: TokenBlock) -> dict[str, TokenBlock]:
        made = self.layers(self.dropout(self.norm(clean(tokens.tokens, tokens.mask))))
        mask = tokens.mask.repeat_interleave(self.copies, 2)
        return block("tokens", rearrange(made, "b t n (c d) -> b t (n c) d", c=self.copies), mask)
