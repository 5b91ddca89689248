"""Blocks side by side on the token axis, frame by frame."""

from __future__ import annotations

import torch
from affectkit_plugins.adapters._masked import block
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit.blocks import TokenBlock


class Interleave(nn.Module):
    """Blocks [b t n d] of one width -> tokens [b max(t) sum(n) d]."""

    def __init__(self, spread: bool) -> None:
        super().__init__()
        self.spread = spread

    def forward(
        self,
        tokens: TokenBlock | None = None,
        second: TokenBlock | None = None,
        third: TokenBlock | None = None,
        fourth: TokenBlock | None = None,
    ) -> dict[str, TokenBlock]:
        given = [g for g in (tokens, second, third, fourth) if g is not None]
        time = max(g.tokens.shape[1] for g in given)
        parts = [self._to_length(g, time) for g in given]
        return block("tokens", torch.cat([p[0] for p in parts], 2), torch.cat([p[1] for p in parts], 2))

    def _to_length(self, given: TokenBlock, time: int) -> tuple[Tensor, Tensor]:
        own = given.tokens.shape[1]
        if self.spread and own == 1:
            return given.tokens.expand(-1, time, -1, -1), given.mask.expand(-1, time, -1)
        return F.pad(given.tokens, (0, 0, 0, 0, 0, time - own)), F.pad(given.mask, (0, 0, 0, time - own))
