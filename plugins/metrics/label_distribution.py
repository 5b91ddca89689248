"""Distances between distributions over labels, such as votes of annotators and the probabilities of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.metrics._counts import ratio
from affectkit_plugins.metrics._label_sets import AsksLabels, scores, weights
from affectkit_plugins.metrics._ratings import means_of, number

from affectkit.evaluation.prediction import Prediction
from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import numpy as np

HIGHER = ("cosine", "intersection", "top1")
"""Figures that are higher for the better system."""
FIGURES = ("kullback_leibler", "cross_entropy", "chebyshev", "clark", "canberra", *HIGHER)
ENDLESS = 2
"""The first so many figures are infinite where the answer excludes what is true."""


@dataclass(frozen=True)
class Settings(AsksLabels):
    """Distances of answers from true weights of labels, mean over samples (Geng, TKDE 2016): `parts` has them all.

    With truth p and answer q, each divided by its sum: Kullback-Leibler sum p ln(p/q), cross-entropy - sum p ln q, Chebyshev
    max |p - q|, Clark sqrt(sum ((p - q)/(p + q))²), Canberra sum |p - q|/(p + q), with 0/0 = 0: lower is better; cosine,
    intersection sum min(p, q), top1 (the same likeliest label): higher is better. Clark and Canberra grow with the number of
    labels. An answer without probabilities is left out and counted.
    """

    figure: Literal[
        "kullback_leibler", "cross_entropy", "chebyshev", "clark", "canberra", "cosine", "intersection", "top1"
    ] = "kullback_leibler"
    """The part that is the value."""
    floor: float = 1e-12
    """The least that a probability counts in Kullback-Leibler and cross-entropy, told where it was used; with 0 they are
    infinite where the answer excludes what is true, and then have no value."""


def distances(truth: np.ndarray, answer: np.ndarray, floor: float) -> np.ndarray:
    """float64 [n, 8] of distributions [n, k] each: `FIGURES`, infinite where so."""
    import numpy as np

    apart, both = abs(truth - answer), truth + answer
    share = np.nan_to_num(ratio(apart, both))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(truth > 0, truth * np.log(np.maximum(answer, floor)), 0.0)
        own = np.where(truth > 0, truth * np.log(truth), 0.0)
    long = np.sqrt((truth**2).sum(1) * (answer**2).sum(1))
    return np.stack(
        [
            (own - logs).sum(1),
            -logs.sum(1),
            apart.max(1),
            np.sqrt((share**2).sum(1)),
            share.sum(1),
            ratio((truth * answer).sum(1), long),
            np.minimum(truth, answer).sum(1),
            (truth.argmax(1) == answer.argmax(1)).astype(float),
        ],
        1,
    )


@dataclass(frozen=True)
class LabelDistribution:
    """The distances; see `affectkit.evaluation.prediction.Metric`."""

    settings: Settings

    @property
    def higher_is_better(self) -> bool:
        """Whether the chosen figure is a likeness, not a distance."""
        return self.settings.figure in HIGHER

    def sides(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Truth and answer [n, k], each row of sum 1; NaN where there is none."""
        truth, answer = weights(predictions, labels), scores(predictions, labels)
        return ratio(truth, truth.sum(1, keepdims=True)), ratio(answer, answer.sum(1, keepdims=True))

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, 9]: the distances, 0 where infinite, and whether they are; NaN where a side is missing."""
        import numpy as np

        truth, answer = self.sides(predictions, labels)
        known = np.isfinite(truth).all(1) & np.isfinite(answer).all(1)
        out = np.full((len(truth), len(FIGURES) + 1), np.nan)
        found = distances(truth[known], answer[known], self.settings.floor)
        endless = np.isinf(found).any(1, keepdims=True)
        out[known] = np.hstack([np.where(np.isinf(found), 0.0, found), endless])
        return out

    def parts_from_means(self, means: np.ndarray) -> np.ndarray:
        """[r, 8] of means [r, 9]."""
        import numpy as np

        found = means[:, :-1].copy()
        found[:, :ENDLESS][means[:, -1] > 0] = np.inf
        return found

    def from_means(self, means: np.ndarray) -> np.ndarray:
        """The chosen figure [r]."""
        return self.parts_from_means(means)[:, FIGURES.index(self.settings.figure)]

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value` is the chosen figure, `parts` has each; `unreadable` counts answers without probabilities."""
        import numpy as np

        chosen = self.settings.figure
        if not predictions or not labels:
            return {"value": None, "protocol": chosen.replace("_", " ")}
        rows, (truth, answer) = self.per_sample(predictions, labels), self.sides(predictions, labels)
        found = dict(zip(FIGURES, map(number, self.parts_from_means(means_of(rows)[None])[0]), strict=True))
        low, lost = int(((answer < self.settings.floor) & (truth > 0)).any(1).sum()), int(np.isnan(rows[:, 0]).sum())
        notes = (
            [f"{low} answers exclude what is true: there a probability counts {self.settings.floor:g}"] if low else []
        )
        endless = int(np.nansum(rows[:, -1]))
        notes += [f"infinite for {endless} answers, which exclude what is true"] if endless else []
        notes += [f"{lost} answers without probabilities are left out"] if lost else []
        most = (
            1.0
            if chosen in (*HIGHER, "chebyshev")
            else {"clark": len(labels) ** 0.5, "canberra": float(len(labels))}.get(
                chosen, max(float(np.log(len(labels))), 1.0)
            )
        )
        return {
            "value": found[chosen],
            "parts": {name: {"value": value} for name, value in found.items()},
            "used": len(rows) - lost,
            "unreadable": lost,
            "scale": [0.0, most],
            "higher_is_better": self.higher_is_better,
            "protocol": "; ".join([f"{chosen.replace('_', ' ')}, mean over samples", *notes]),
        }


def build(settings: Settings) -> LabelDistribution:
    """A metric on predictions with true labels."""
    return LabelDistribution(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "label_distribution", Settings, build)]
