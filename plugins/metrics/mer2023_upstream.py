"""MER2023-SEMI as Emotion-LLaMA's published evaluation computes it, quirks included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affectkit_plugins.metrics._counts import hits, ratio

from affectkit.errors import InputError, Problem
from affectkit.evaluation.prediction import Prediction
from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Settings:
    """Weighted F1 on MER2023-SEMI by the published protocol: the last word of a greedy answer, all else is neutral.

    The answer is generated, its last blank-separated word is the label, and a word outside the set becomes `otherwise`:
    an answer that is no label is credited on neutral clips. Accuracy and weighted precision and recall stand beside, as
    scikit-learn defines them (0 for 0 / 0). The published figure, 0.9036 on 834 clips, offers nine labels in the
    question. Not comparable with the honest protocol, in which such answers are wrong.
    """

    labels: tuple[str, ...] = ("neutral", "angry", "happy", "sad", "worried", "surprise")
    """The labels that count."""
    otherwise: str = "neutral"
    """What an answer becomes whose last word is none of them."""

    def asks(self) -> tuple[str, str]:
        """Labels, generated as text."""
        return "label", "generate"

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return [] if self.otherwise in self.labels else [("otherwise", f"{self.otherwise!r} is not among `labels`")]


class Upstream:
    """The protocol as a metric; see `affectkit.evaluation.prediction.Metric`."""

    def __init__(self, settings: Settings) -> None:
        self.labels, self.otherwise = settings.labels, settings.otherwise

    def last_word(self, prediction: Prediction) -> str:
        """The last blank-separated word of the answer; case and marks are left as they are."""
        return (prediction.text or prediction.label or "").strip().split(" ")[-1]

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value` is weighted F1; `turned` counts the answers that became `otherwise`, `credited` those on such clips.

        Raises InputError for a truth outside the settings' labels.
        """
        import numpy as np

        turned = [p for p in predictions if self.last_word(p) not in self.labels]
        credited = sum(p.truth == self.otherwise for p in turned)
        counts = self._one_hot(predictions).sum(0).reshape(1, len(self.labels), len(self.labels))
        names = ("value", "accuracy", "weighted_precision", "weighted_recall")
        figures = dict(zip(names, (f[0] for f in weighted(counts)), strict=True)) if predictions else {"value": None}
        return {
            **{name: None if value is None else float(value) for name, value in figures.items()},
            "turned": len(turned),
            "credited": int(credited),
            "confusion": np.asarray(counts[0], int).tolist(),
            "confusion_labels": list(self.labels),
            "protocol": f"as published for MER2023-SEMI: last word of a generated answer; {len(turned)} of "
            f"{len(predictions)} were none of the {len(self.labels)} labels and count as {self.otherwise}, "
            f"{credited} of them on {self.otherwise} clips",
        }

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, k * k]: which cell of the confusion matrix each sample is in."""
        return self._one_hot(predictions)

    def from_means(self, means: np.ndarray) -> np.ndarray:
        """Weighted F1 of many confusion matrices [r, k * k]."""
        return weighted(means.reshape(len(means), len(self.labels), len(self.labels)))[0]

    def _one_hot(self, predictions: Sequence[Prediction]) -> np.ndarray:
        import numpy as np

        place = {label: i for i, label in enumerate(self.labels)}
        cells = np.zeros((len(predictions), len(place) ** 2))
        for row, p in enumerate(predictions):
            if p.truth not in place:
                what = f"its truth {p.truth!r} is none of the protocol's labels"
                raise InputError(Problem(f"sample {p.id}", what, known=self.labels))
            word = self.last_word(p)
            cells[row, place[p.truth] * len(place) + place[word if word in place else self.otherwise]] = 1
        return cells


def weighted(counts: np.ndarray) -> tuple[np.ndarray, ...]:
    """Weighted F1, accuracy, weighted precision and recall [r] of square confusion matrices [r, k, k], rows truth.

    The definitions of scikit-learn's `f1_score` and its like with `average="weighted"` and `zero_division=0`.
    """
    right, support, answered = hits(counts), counts.sum(-1), counts.sum(-2)
    total = support.sum(-1)

    def average(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
        import numpy as np

        return ratio((np.nan_to_num(ratio(top, bottom)) * support).sum(-1), total)

    accuracy = ratio(right.sum(-1), total)
    return average(2 * right, support + answered), accuracy, average(right, answered), average(right, support)


def build(settings: Settings) -> Upstream:
    """The metric."""
    return Upstream(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "mer2023_upstream", Settings, build, tiny={"labels": ["neutral", "happy", "sad"]})]
