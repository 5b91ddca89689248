"""A shift and a scale for each channel, measured in float64 over features that stream by."""

from __future__ import annotations

from collections.abc import Callable

import torch
from affectkit_plugins.adapters._masked import block
from torch import Tensor, nn

from affectkit.blocks import TokenBlock
from affectkit.errors import Problem, RunError
from affectkit.heads import FeatureBatches

ROUNDING = 1e-7
"""A spread of this share of the mean is what float32 leaves of a channel that never changes."""


class Standardise(nn.Module):
    """tokens [b t n d] -> (tokens - mean) / spread by channel. Learns by `fit`; until then it passes tokens on as they are."""

    mean: Tensor
    spread: Tensor
    fitted: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("fitted", torch.tensor(False))

    def forward(self, tokens: TokenBlock) -> dict[str, TokenBlock]:
        """The same tokens in units of their spread."""
        values = (tokens.tokens.float() - self.mean) / self.spread
        return block("tokens", values.to(tokens.tokens.dtype), tokens.mask)

    def fit(self, features: FeatureBatches) -> None:
        """Measure mean and spread of each channel over all real tokens; a channel that never changes gets the spread 1. Where
        there is no token at all, it stays as it was.

        Raises RunError where a feature is not finite.
        """
        count, mean = 0, torch.zeros_like(self.mean, dtype=torch.float64)
        squares = torch.zeros_like(mean)
        for ports, samples in features():
            given = ports["tokens"]
            assert isinstance(given, TokenBlock)
            values = given.tokens[given.mask].double()
            if not bool(values.isfinite().all()):
                odd = [s.id for s, row, m in zip(samples, given.tokens, given.mask, strict=True) if not _sound(row[m])]
                what = f"features of {', '.join(odd[:3])} ({len(odd)} in its batch) are not finite"
                raise RunError(Problem("standardise", what, "look at these samples (affectkit data check)"))
            if len(values):
                # merges count, mean and squared distances of what was seen with those of the batch (Chan et al. 1983)
                total, own = count + len(values), values.mean(0)
                squares += ((values - own) ** 2).sum(0) + (own - mean) ** 2 * (count * len(values) / total)
                mean += (own - mean) * (len(values) / total)
                count = total
        if count:
            spread = (squares / count).sqrt()
            still = spread <= ROUNDING * mean.abs().clamp(min=ROUNDING)
            self.mean.copy_(mean)
            self.spread.copy_(spread.masked_fill(still, 1.0))
            self.fitted.fill_(True)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Standardise:
        """Moves with the model, and stays float32: in bfloat16 a mean of 420 is off by as much as the spread."""
        before = self.mean, self.spread
        super()._apply(fn, recurse)
        if self.mean.dtype != before[0].dtype:
            self.mean, self.spread = (one.to(self.mean.device) for one in before)
        return self


def _sound(values: Tensor) -> bool:
    return bool(values.isfinite().all())
