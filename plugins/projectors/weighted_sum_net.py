"""One weight a step without softmax, a sum, a linear layer."""

from __future__ import annotations

import torch
from affectkit_plugins.adapters._masked import block, in_one_row
from torch import nn

from affectkit.blocks import TokenBlock


class WeightedSum(nn.Module):
    """tokens [b t n d] -> tokens [b 1 count w]."""

    def __init__(self, width: int, llm: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.score = nn.Linear(width, 1)
        self.projector = nn.Linear(width, llm)

    def begin_even(self, steps: int) -> None:
        """Weights near those of a mean over `steps`: a tenth of what is random is left, so that they can part."""
        nn.init.constant_(self.score.bias, 1 / steps)
        with torch.no_grad():
            self.score.weight.mul_(0.1 / steps)

    def forward(self, tokens: TokenBlock) -> dict[str, TokenBlock]:
        steps, mask = in_one_row(tokens)
        # masked steps are zeros, so their weight (the bias) adds nothing to the sum
        total = (self.score(steps) * steps).sum(1)
        out = self.projector(total)[:, None, None].expand(-1, -1, self.count, -1)
        return block("tokens", out, mask.any(1)[:, None, None].expand(-1, -1, self.count))
