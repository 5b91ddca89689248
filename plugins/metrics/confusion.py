"""The confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affectkit_plugins.metrics._counts import confusion

from affectkit.evaluation.prediction import Prediction
from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Settings:
    """Counts of samples by truth (rows) and answer (columns); the last column holds invalid answers."""


class ConfusionMatrix:
    """`{"labels", "columns", "rows"}` with rows of plain integers [k, k + 1]; see `affectkit.evaluation.prediction.Metric`."""

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """The matrix of predictions."""
        return self.from_counts(confusion(predictions, labels), labels)

    def from_counts(self, counts: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
        """The matrix of counts [k, k + 1] that are there already."""
        return {"labels": list(labels), "columns": [*labels, "(invalid)"], "rows": counts.tolist()}


def build(settings: Settings) -> ConfusionMatrix:
    """A metric that gives the matrix instead of a number."""
    return ConfusionMatrix()


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "confusion", Settings, build)]
