"""The network of `regression`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from affectkit_plugins.heads._scorer_net import Scorer, listed, rows_with
from torch import Tensor
from torch.nn.functional import huber_loss

from affectkit.blocks import TokenBlock
from affectkit.heads import Answer
from affectkit.sample import Sample

if TYPE_CHECKING:
    from affectkit_plugins.heads.regression import Settings


class Regression(Scorer):
    """Scores [b 1 1 k] of k ratings, on a scale from -1 to 1 where the rating's own has two ends."""

    def __init__(self, settings: Settings, widths: Sequence[int], scales: Mapping[str, tuple[float, float]]) -> None:
        super().__init__(settings, widths, len(scales))
        self.settings, self.scales = settings, dict(scales)
        ends = [
            (low, high) if math.isfinite(low) and math.isfinite(high) else (-1.0, 1.0) for low, high in scales.values()
        ]
        self.middles = [(low + high) / 2 for low, high in ends]
        self.halves = [(high - low) / 2 for low, high in ends]

    def loss(self, outputs: Mapping[str, TokenBlock], samples: Sequence[Sample]) -> tuple[Tensor, int]:
        """(sum over rows with ratings, their number): the mean over the ratings that a row has."""
        scores, wanted = rows_with(outputs, [self._truth(s) for s in samples])
        there = wanted.isfinite()
        if self.settings.loss == "ccc":
            return _one_less_ccc(scores, wanted, there) * len(scores), len(scores)
        apart = torch.where(there, scores - wanted, 0.0)
        each = {
            "mse": lambda: apart**2,
            "mae": apart.abs,
            "huber": lambda: huber_loss(apart, torch.zeros_like(apart), reduction="none"),
        }[self.settings.loss]()
        return (each.sum(1) / there.sum(1)).sum(), len(scores)

    def _truth(self, sample: Sample) -> list[float] | None:
        """The ratings as the scores are scaled; NaN for one that a sample lacks, None where it has none."""
        row = [sample.numbers.get(name, math.nan) for name in self.scales]
        if not any(map(math.isfinite, row)):
            return None
        return [(value - m) / h for value, m, h in zip(row, self.middles, self.halves, strict=True)]

    def answers(self, outputs: Mapping[str, TokenBlock]) -> list[Answer]:
        """The ratings on their own scales."""
        return [self._answer(row) if row else Answer() for row in listed(outputs)]

    def _answer(self, row: Sequence[float]) -> Answer:
        values = [score * h + m for score, m, h in zip(row, self.middles, self.halves, strict=True)]
        if self.settings.clip:
            values = [min(max(v, low), high) for v, (low, high) in zip(values, self.scales.values(), strict=True)]
        return Answer(numbers=dict(zip(self.scales, values, strict=True)))


def _one_less_ccc(scores: Tensor, wanted: Tensor, there: Tensor) -> Tensor:
    """1 - the concordance correlation coefficient (Lin 1989), the mean over ratings with two rows or more."""
    found = []
    for p, t, known in zip(scores.T, wanted.T, there.T, strict=True):
        if int(known.sum()) > 1:
            p, t = p[known], t[known]
            both = 2 * ((p - p.mean()) * (t - t.mean())).mean()
            found.append(1 - both / (p.var(correction=0) + t.var(correction=0) + (p.mean() - t.mean()) ** 2 + 1e-8))
    return torch.stack(found).mean() if found else scores.sum() * 0
