"""The network of `classifier`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from affectkit_plugins.heads._scorer import ScorerSettings
from affectkit_plugins.heads._scorer_net import Scorer, listed, rows_with
from torch import Tensor
from torch.nn.functional import cross_entropy

from affectkit.blocks import TokenBlock
from affectkit.heads import Answer
from affectkit.sample import Sample


class Classifier(Scorer):
    """Scores [b 1 1 k] of k labels."""

    def __init__(
        self, settings: ScorerSettings, widths: Sequence[int], labels: Sequence[str], smoothing: float = 0.0
    ) -> None:
        super().__init__(settings, widths, len(labels))
        self.labels, self.smoothing = tuple(labels), smoothing

    def loss(self, outputs: Mapping[str, TokenBlock], samples: Sequence[Sample]) -> tuple[Tensor, int]:
        """(sum of cross-entropy, rows with a label)."""
        truths = [None if s.label is None else [float(s.label == label) for label in self.labels] for s in samples]
        scores, wanted = rows_with(outputs, truths)
        return cross_entropy(scores, wanted, reduction="sum", label_smoothing=self.smoothing), len(scores)

    def answers(self, outputs: Mapping[str, TokenBlock]) -> list[Answer]:
        """The score of each label; nothing for a row without a token."""
        rows = listed(outputs)
        return [Answer(scores=dict(zip(self.labels, row, strict=True)) if row else {}) for row in rows]
