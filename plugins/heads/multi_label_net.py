"""The network of `multi_label`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from affectkit_plugins.heads._scorer_net import Scorer, listed, rows_with
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from affectkit.blocks import TokenBlock
from affectkit.heads import Answer
from affectkit.sample import Sample

if TYPE_CHECKING:
    from affectkit_plugins.heads.multi_label import Settings


class MultiLabel(Scorer):
    """Scores [b 1 1 k] of k labels, each by itself or as shares of one."""

    def __init__(self, settings: Settings, widths: Sequence[int], labels: Sequence[str]) -> None:
        super().__init__(settings, widths, len(labels))
        self.labels, self.settings = tuple(labels), settings

    def loss(self, outputs: Mapping[str, TokenBlock], samples: Sequence[Sample]) -> tuple[Tensor, int]:
        """(sum over rows with labels, their number): binary cross-entropy, the mean over labels; cross-entropy of shares."""
        scores, wanted = rows_with(outputs, [self._truth(s) for s in samples])
        if self.settings.answer == "shares":
            return cross_entropy(scores, wanted, reduction="sum"), len(scores)
        total = binary_cross_entropy_with_logits(scores, wanted, reduction="sum")
        return total / len(self.labels), len(scores)

    def _truth(self, sample: Sample) -> list[float] | None:
        own = sample.labels or ({sample.label: 1.0} if sample.label is not None else {})
        if not own:
            return None
        row = [float(own.get(label, 0.0)) for label in self.labels]
        if self.settings.answer == "set":
            return [float(weight > 0) for weight in row]
        return [weight / sum(row) for weight in row] if sum(row) else None

    def answers(self, outputs: Mapping[str, TokenBlock]) -> list[Answer]:
        """The probability of each label, and those that reach the threshold."""
        return [self._answer(row) if row else Answer() for row in listed(outputs)]

    def _answer(self, row: Sequence[float]) -> Answer:
        scores, shares = torch.tensor(row, dtype=torch.float64), self.settings.answer == "shares"
        odds = dict(zip(self.labels, (scores.softmax(0) if shares else scores.sigmoid()).tolist(), strict=True))
        chosen = tuple(label for label, odd in odds.items() if odd >= self.settings.threshold)
        if not chosen and self.settings.at_least_one:
            chosen = (max(odds, key=lambda label: odds[label]),)
        return Answer(scores=odds, labels=chosen)
