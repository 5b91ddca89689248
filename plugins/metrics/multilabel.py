"""Metrics of answers that are sets of labels: F1 by four averages, Jaccard index, exact match, Hamming loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.metrics._counts import mean, ratio
from affectkit_plugins.metrics._label_sets import LabelSets, LabelSetSettings, counts_of, label_sets, notes_of
from affectkit_plugins.metrics._ratings import means_of, number

from affectkit.evaluation.prediction import Prediction
from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import numpy as np

AVERAGES = ("micro", "macro", "samples", "weighted")


@dataclass(frozen=True)
class F1Settings(LabelSetSettings):
    """F1 of answers of several labels, by the averages of scikit-learn; `parts` has each class.

    Micro is over all labels of all samples, macro over the classes of the set (a class in neither truths nor answers is 0
    there, as in scikit-learn; `macro_present` leaves it out), samples over samples, weighted over classes by their truths.
    A label outside the set is a false alarm in micro and samples, and of no class.
    """

    average: Literal["micro", "macro", "samples", "weighted"] = "micro"
    """The average that is the value; the result has all four."""


@dataclass(frozen=True)
class JaccardSettings(LabelSetSettings):
    """Jaccard index of answers of several labels, mean over samples: labels in both over labels in either."""

    epsilon: float = 0.0
    """What is added to the labels in either; 1e-6 as Emotion-LLaMA v2's scorer does."""


@dataclass(frozen=True)
class ExactMatchSettings(LabelSetSettings):
    """The share of samples whose labels were all answered, and no other."""


@dataclass(frozen=True)
class HammingSettings(LabelSetSettings):
    """Hamming loss: the share of labels of the set that are wrong, missed or too many; lower is better.

    A label outside the set is no part of it, and counted beside.
    """


@dataclass(frozen=True)
class F1:
    """F1 by four averages; see `affectkit.evaluation.prediction.Metric`."""

    settings: F1Settings

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, 3 k + 2]: right, false and missed labels of each class, those outside the set, F1 of the sample."""
        import numpy as np

        found = label_sets(predictions, labels, self.settings)
        both = found.truth & found.answer
        sizes = found.truth.sum(1) + found.answer.sum(1)
        foreign = found.foreign * (self.settings.outside == "wrong")
        own = np.nan_to_num(ratio(2 * both.sum(1), sizes + foreign))
        return np.hstack([both, found.answer & ~both, found.truth & ~both, foreign[:, None], own[:, None]]).astype(
            float
        )

    def averages(self, means: np.ndarray) -> dict[str, np.ndarray]:
        """Each average [r] of means [r, 3 k + 2]; `macro_present` is over classes that truths or answers name."""
        import numpy as np

        right, false, missed = self._cells(means)
        each, whole = self.parts_from_means(means), right.sum(1)
        foreign, samples = means[:, -2], means[:, -1]
        support = right + missed
        return {
            "micro": np.nan_to_num(ratio(2 * whole, 2 * whole + false.sum(1) + foreign + missed.sum(1))),
            "macro": np.nan_to_num(each).mean(1),
            "samples": samples,
            "weighted": np.nan_to_num(ratio((np.nan_to_num(each) * support).sum(1), support.sum(1))),
            "macro_present": mean(each),
        }

    def _cells(self, means: np.ndarray) -> tuple[np.ndarray, ...]:
        """Means of right, false and missed labels, [r, k] each."""
        import numpy as np

        return tuple(np.split(means[:, :-2], 3, axis=1))

    def parts_from_means(self, means: np.ndarray) -> np.ndarray:
        """F1 of each class, [r, k]; NaN for one in neither truths nor answers."""
        right, false, missed = self._cells(means)
        return ratio(2 * right, 2 * right + false + missed)

    def from_means(self, means: np.ndarray) -> np.ndarray:
        """The chosen average [r]."""
        return self.averages(means)[self.settings.average]

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value`, every average by its name, and `parts` with F1, precision, recall and truths of each class."""
        counts = counts_of(predictions, labels)
        how = {"wrong": "each a false alarm in micro and samples", "dropped": "left out, as published scorers do"}
        said = f"{self.settings.average} average{notes_of(counts, how[self.settings.outside])}"
        if not predictions or not labels:
            return {"value": None, "protocol": said}
        rows = self.per_sample(predictions, labels)
        means = means_of(rows)[None]
        every = {name: number(value[0]) for name, value in self.averages(means).items()}
        right, false, missed = (cells[0] for cells in self._cells(means))
        precision, recall = ratio(right, right + false), ratio(right, right + missed)
        parts = {
            label: {"value": number(value), "precision": number(precision[i]), "recall": number(recall[i]),
                    "samples": round(float(right[i] + missed[i]) * len(rows))}
            for i, (label, value) in enumerate(zip(labels, self.parts_from_means(means)[0], strict=True))
        }  # fmt: skip
        return {"value": every[self.settings.average], **every, "parts": parts, **counts, "protocol": said}


@dataclass(frozen=True)
class SetMean:
    """The mean over samples of a figure of their sets; see `affectkit.evaluation.prediction.Metric`."""

    settings: LabelSetSettings
    of_sets: Callable[[LabelSets], np.ndarray]
    """The figure of each sample, float64 [n]."""
    higher_is_better: bool = True
    outside: str = "counted as wrong"
    """What becomes of answered labels outside the set, unless they are dropped."""

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, 1]."""
        from dataclasses import replace

        found = label_sets(predictions, labels, self.settings)
        if self.settings.outside == "dropped":
            found = replace(found, foreign=found.foreign * 0)
        return self.of_sets(found)[:, None]

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value`, and how many answers hold no label or one outside the set."""
        counts = counts_of(predictions, labels)
        value = number(means_of(self.per_sample(predictions, labels))[0]) if predictions and labels else None
        notes = notes_of(counts, {"wrong": self.outside, "dropped": "left out"}[self.settings.outside])
        said = {"protocol": f"mean over samples{notes}"} if notes else {}
        return {"value": value, **counts, "higher_is_better": self.higher_is_better, **said}


def build_f1(settings: F1Settings) -> F1:
    """A metric on predictions with true labels."""
    return F1(settings)


def build_jaccard(settings: JaccardSettings) -> SetMean:
    """A metric on predictions with true labels."""
    import numpy as np

    def jaccard(found: LabelSets) -> np.ndarray:
        either = (found.truth | found.answer).sum(1) + found.foreign + settings.epsilon
        return np.nan_to_num(ratio((found.truth & found.answer).sum(1), either))

    return SetMean(settings, jaccard)


def build_exact_match(settings: ExactMatchSettings) -> SetMean:
    """A metric on predictions with true labels."""
    return SetMean(settings, lambda f: ((f.truth == f.answer).all(1) & (f.foreign == 0)).astype(float))


def build_hamming(settings: HammingSettings) -> SetMean:
    """A metric on predictions with true labels."""
    none = "which this loss over the set's own labels cannot count"
    return SetMean(settings, lambda found: (found.truth != found.answer).mean(1), higher_is_better=False, outside=none)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [
        Piece("metric", "multilabel_f1", F1Settings, build_f1),
        Piece("metric", "jaccard", JaccardSettings, build_jaccard),
        Piece("metric", "exact_match", ExactMatchSettings, build_exact_match),
        Piece("metric", "hamming_loss", HammingSettings, build_hamming),
    ]
