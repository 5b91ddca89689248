"""Metrics of the scores of several labels: mean average precision and mean area under the ROC curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.metrics._counts import mean, ratio
from affectkit_plugins.metrics._label_sets import AsksLabels, LabelSetSettings, label_sets, scores, weights
from affectkit_plugins.metrics._ratings import number

from affectkit.evaluation.prediction import Prediction
from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import numpy as np

ByClass = Callable[["np.ndarray", "np.ndarray", "np.ndarray"], "np.ndarray"]
"""True labels bool [n], scores [n] and how often each sample is drawn [r, n], to the figure [r]; NaN where undefined."""


@dataclass(frozen=True)
class RankSettings(AsksLabels):
    """What metrics of scores have in common."""

    true_above: float = 0.0
    """A label is true whose weight is above this."""


@dataclass(frozen=True)
class MapSettings(RankSettings):
    """Mean over classes of average precision, by the scores of labels: sum over ranks of gained recall times precision.

    As in scikit-learn equal scores share a threshold and a class without positives is 0 in the mean; `over_present` is the
    mean without such classes. An answer without scores ranks last in each class.
    """

    scores: Literal["probabilities", "answers"] = "probabilities"
    """What ranks: probabilities, or 1 for an answered label and 0 for the others, as some published scorers have it; that knows
    two thresholds only and is not comparable with figures from probabilities."""


@dataclass(frozen=True)
class AucSettings(RankSettings):
    """Mean over classes of the area under the ROC curve, by the scores of labels; equal scores count half.

    Classes of which all samples, or none, are positive have none: they are left out and counted. An answer without scores
    ranks last in each class.
    """


@dataclass(frozen=True)
class RankMetric:
    """The mean over classes of a figure of ranks; see `affectkit.evaluation.prediction.Metric`."""

    settings: RankSettings
    by_class: ByClass
    about: str
    absent: float | None
    """What a class without a figure counts in the mean; None: it is left out."""
    hard: bool = False
    """Whether answers rank, not probabilities."""

    def per_class(self, predictions: Sequence[Prediction], labels: Sequence[str], often: np.ndarray) -> np.ndarray:
        """[r, k]: the figure of each class where each sample is drawn so often [r, n]."""
        import numpy as np

        truth = weights(predictions, labels) > self.settings.true_above
        if self.hard:
            found = label_sets(predictions, labels, LabelSetSettings()).answer.astype(float)
        else:
            found = np.nan_to_num(scores(predictions, labels, whole=False), nan=-np.inf)
        return np.stack([self.by_class(truth[:, i], found[:, i], often) for i in range(len(labels))], 1)

    def from_draws(self, predictions: Sequence[Prediction], labels: Sequence[str], often: np.ndarray) -> np.ndarray:
        """The value [r] where each sample is drawn so often [r, n]."""
        return self._mean(self.per_class(predictions, labels, often))

    def _mean(self, each: np.ndarray) -> np.ndarray:
        import numpy as np

        return mean(each) if self.absent is None else np.nan_to_num(each, nan=self.absent).mean(-1)

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value`, `over_present`, and `parts` with each class; `undefined` counts the classes that have no figure."""
        import numpy as np

        if not predictions or not labels:
            return {"value": None, "protocol": self.about}
        each = self.per_class(predictions, labels, np.ones((1, len(predictions))))[0]
        positives = (weights(predictions, labels) > self.settings.true_above).sum(0)
        unknown = np.isnan(scores(predictions, labels, whole=False)) & (not self.hard)
        lost = int(unknown.any(1).sum())
        never = [label for label, none in zip(labels, unknown.all(0), strict=True) if none]
        lacking = [label for label, value in zip(labels, each, strict=True) if np.isnan(value)]
        notes = [f"{len(lacking)} classes have none ({', '.join(lacking)})"] if lacking else []
        if never and len(never) < len(labels):
            notes.append(f"no answer has a score for {', '.join(never)}: all samples are alike there")
        notes += [f"{lost} answers rank last in labels that they have no score for"] if lost else []
        parts = {
            label: {"value": number(value), "samples": int(n)}
            for label, value, n in zip(labels, each, positives, strict=True)
        }
        return {
            "value": number(self._mean(each[None])[0]),
            "over_present": number(mean(each)),
            "parts": parts,
            "undefined": len(lacking),
            "unreadable": lost,
            "protocol": "; ".join([self.about, *notes]),
        }


def _groups(truth: np.ndarray, score: np.ndarray, often: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives and negatives [r, groups] of equal score, the highest first."""
    import numpy as np

    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    drawn, own = often[:, order].astype(float), truth[order]
    return np.add.reduceat(drawn * own, starts, axis=1), np.add.reduceat(drawn * ~own, starts, axis=1)


def average_precision(truth: np.ndarray, score: np.ndarray, often: np.ndarray) -> np.ndarray:
    """[r]: sum of gained recall times precision; NaN without positives."""
    import numpy as np

    right, wrong = (np.cumsum(side, axis=1) for side in _groups(truth, score, often))
    gained = np.diff(right, axis=1, prepend=0.0)
    return ratio((gained * np.nan_to_num(ratio(right, right + wrong))).sum(1), right[:, -1])


def area_under_roc(truth: np.ndarray, score: np.ndarray, often: np.ndarray) -> np.ndarray:
    """[r]: how often a positive ranks above a negative, ties half; NaN where one of them is missing."""
    import numpy as np

    right, wrong = _groups(truth, score, often)
    below = wrong.sum(1, keepdims=True) - np.cumsum(wrong, axis=1)
    return ratio((right * (below + wrong / 2)).sum(1), right.sum(1) * wrong.sum(1))


def build_map(settings: MapSettings) -> RankMetric:
    """A metric on predictions with true labels."""
    hard = settings.scores == "answers"
    about = "mean over all classes, one without positives is 0" + (
        "; ranked by answers, which knows two thresholds: not comparable with figures from probabilities"
        if hard
        else ""
    )
    return RankMetric(settings, average_precision, about, 0.0, hard)


def build_auc(settings: AucSettings) -> RankMetric:
    """A metric on predictions with true labels."""
    return RankMetric(settings, area_under_roc, "mean over classes that have one", None)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [
        Piece("metric", "mean_average_precision", MapSettings, build_map),
        Piece("metric", "mean_auc", AucSettings, build_auc),
    ]
