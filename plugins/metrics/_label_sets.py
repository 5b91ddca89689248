"""Truths and answers of several labels as tables, and what the metrics of them have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit.errors import InputError, unknown
from affectkit.evaluation.prediction import Prediction
from affectkit.sample import LABELS

if TYPE_CHECKING:
    import numpy as np


class AsksLabels:
    """Settings of a metric that scores answers of several labels."""

    def asks(self) -> tuple[str, str]:
        """Answers of several labels, found as the recipe finds them."""
        return LABELS, ""


@dataclass(frozen=True)
class LabelSetSettings(AsksLabels):
    """What metrics of sets of labels have in common."""

    threshold: float | None = None
    """Labels at least as likely as this are the answer (0.5, say); by default those that were answered."""
    outside: Literal["wrong", "dropped"] = "wrong"
    """What a label outside the set is: a false alarm of no class, or nothing, as in published scorers; it is counted in
    either case."""
    true_above: float = 0.0
    """A label is true whose weight is above this: with votes as weights, the share that makes it so."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        right = self.threshold is None or 0 < self.threshold <= 1
        found = [] if right else [("threshold", f"must be above 0 and at most 1, got {self.threshold}")]
        return found + ([] if self.true_above >= 0 else [("true_above", f"must be at least 0, got {self.true_above}")])


@dataclass(frozen=True)
class LabelSets:
    """Truth and answer bool [n, k] each, and how many labels outside the set each answer names, int [n]."""

    truth: np.ndarray
    answer: np.ndarray
    foreign: np.ndarray


def label_sets(predictions: Sequence[Prediction], labels: Sequence[str], settings: LabelSetSettings) -> LabelSets:
    """The tables; an answer that is not scored is the empty set. Raises InputError for a truth outside the label set."""
    import numpy as np

    truth = weights(predictions, labels) > settings.true_above
    place = {label: i for i, label in enumerate(labels)}
    answer, foreign = np.zeros(truth.shape, bool), np.zeros(len(predictions), int)
    for row, p in enumerate(predictions):
        named = _answer(p, settings.threshold)
        answer[row, [place[name] for name in named if name in place]] = True
        foreign[row] = sum(name not in place for name in named)
    return LabelSets(truth, answer, foreign)


def _answer(prediction: Prediction, threshold: float | None) -> set[str]:
    if prediction.state != "scored":
        return set()
    if threshold is None:
        return set(prediction.labels)
    return {name for name, value in prediction.probabilities.items() if value >= threshold}


def weights(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """The true weights, float64 [n, k]. Raises InputError for a true label that is not in the label set."""
    import numpy as np

    found = np.zeros((len(predictions), len(labels)))
    place = {label: i for i, label in enumerate(labels)}
    for row, p in enumerate(predictions):
        for name, weight in p.true_labels.items():
            if name not in place:
                raise InputError(unknown(f"sample {p.id}", "true label", name, labels))
            found[row, place[name]] = weight
    return found


def scores(predictions: Sequence[Prediction], labels: Sequence[str], whole: bool = True) -> np.ndarray:
    """The probability of each label, float64 [n, k]; NaN for what an answer lacks, or for all its labels where it lacks one and
    must be `whole`."""
    import numpy as np

    found = np.array([[p.probabilities.get(name, np.nan) for name in labels] for p in predictions], float)
    found = found.reshape(len(predictions), len(labels))
    known = np.isfinite(found)
    return np.where(known.all(1, keepdims=True) if whole else known, found, np.nan)


def counts_of(predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
    """What to know of answers: labels outside the set, answers that name one, and answers without a label."""
    there = set(labels)
    foreign = [[n for n in p.labels if n not in there] for p in predictions if p.state == "scored"]
    return {
        "outside": sum(map(len, foreign)),
        "outside_answers": sum(map(bool, foreign)),
        "unreadable": sum(p.state != "scored" for p in predictions),
    }


def notes_of(counts: dict[str, Any], outside: str) -> str:
    """The counts in words, to follow a sentence; empty where there is nothing to know."""
    out = f"; {counts['outside']} answered labels outside the set, {outside}" if counts["outside"] else ""
    return out + (f"; {counts['unreadable']} answers without a label" if counts["unreadable"] else "")
