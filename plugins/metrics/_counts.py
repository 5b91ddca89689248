"""Metrics that depend on the confusion counts only. torchmetrics counts; the ratios are taken in float64.

torchmetrics itself divides in float32, which is wrong from the eighth digit on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affectkit.evaluation.prediction import Prediction

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class CountMetric:
    """A metric of confusion counts: callable on predictions, and on many confusion matrices at once."""

    from_confusions: Callable[[np.ndarray], np.ndarray]
    """[..., k, k + 1] counts (rows truth; columns answer, the last one invalid) to float64 [...]."""

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`{"value": float}`, None where there is nothing to count."""
        import math

        value = float(self.from_confusions(confusion(predictions, labels)))
        return {"value": value if math.isfinite(value) else None}


def confusion(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """int64 [k, k + 1]: invalid answers get a column of their own, where they can only be wrong."""
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    from affectkit.evaluation.bootstrap import indices

    truth, answer = (torch.from_numpy(side) for side in indices(predictions, labels))
    counts = multiclass_confusion_matrix(answer, truth, num_classes=len(labels) + 1)
    return counts[: len(labels)].numpy()


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom in float64, NaN where both are 0."""
    import numpy as np

    top, bottom = np.broadcast_arrays(np.asarray(top, float), np.asarray(bottom, float))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)


def hits(counts: np.ndarray) -> np.ndarray:
    """[..., k] right answers of each class."""
    return counts.diagonal(axis1=-2, axis2=-1)


def f1(counts: np.ndarray) -> np.ndarray:
    """[..., k] F1 of each class, 2 TP / (2 TP + FP + FN); NaN for a class in neither truth nor answers."""
    answered = counts[..., :-1].sum(-2)
    return ratio(2 * hits(counts), counts.sum(-1) + answered)


def mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where all is."""
    import numpy as np

    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(-1), known.sum(-1))
