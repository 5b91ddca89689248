"""Sentiment as a number by the published conventions: accuracies on the sign and on rounded values, MAE, correlation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.metrics._counts import f1, hits, ratio
from affectkit_plugins.metrics._ratings import (
    CCC,
    MAE,
    PEARSON,
    RMSE,
    RatingFigure,
    first,
    means_of,
    number,
    pairs,
    tally,
)

from affectkit.errors import InputError, Problem, unknown
from affectkit.evaluation.prediction import Prediction
from affectkit.pieces import Piece, hookimpl
from affectkit.sample import NUMBERS

if TYPE_CHECKING:
    import numpy as np

Sides = Callable[["np.ndarray", "np.ndarray"], tuple["np.ndarray", "np.ndarray"]]

SIMS_EDGES = {2: (0.0,), 3: (-0.1, 0.1), 5: (-0.7, -0.1, 0.1, 0.7)}
"""Where CH-SIMS' classes end, each with its upper end, in MMSA's code."""

RULES = {
    "mosi": "MMSA's regression metrics of CMU-MOSI and CMU-MOSEI: Acc-7 and Acc-5 clip to 3 and 2 and round halves to even, "
    "Has0 is negative against the rest, Non0 leaves truths of 0 out and takes a predicted 0 for negative",
    "sims": "MMSA's regression metrics of CH-SIMS: both sides are clipped to [-1, 1] first, for MAE and Corr too, 0 is negative",
    "mertools": "MERTools' sign rule: above 0 against the rest, over truths that are not 0",
}


@dataclass(frozen=True)
class Settings:
    """Sentiment as a number, by a published convention: Acc-2 to Acc-7, F1, MAE, correlation (MMSA; Yu et al., ACL 2020).

    `parts` has each figure twice: as published (float32, rounded where the code rounds, over readable answers) and ours, not
    rounded and with an interval, in which an answer without a number is wrong in accuracies and F1, and left out of errors and
    correlations. CCC, RMSE, the share of equal signs and accuracies that round halves away from 0 stand beside.
    """

    convention: Literal["mosi", "sims", "mertools"] = "mosi"
    """Whose rules: of CMU-MOSI and CMU-MOSEI, of CH-SIMS (both as in MMSA), or MERTools' sign rule."""
    number: str = "sentiment"
    """The rating that is scored."""
    figure: str = ""
    """The part that is the value: `MAE`, `Corr`, `Acc-7`, `Non0 F1` …; by default the F1 of the sign."""

    def asks(self) -> tuple[str, str]:
        """Answers in numbers, found as the recipe finds them."""
        return NUMBERS, ""


def as_read(truth: np.ndarray, answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as they are."""
    return truth, answer


def clipped(truth: np.ndarray, answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides clipped to [-1, 1]."""
    import numpy as np

    return np.clip(truth, -1, 1), np.clip(answer, -1, 1)


def nearest_even(values: np.ndarray, most: float) -> np.ndarray:
    """Clipped and rounded, halves to even."""
    import numpy as np

    return np.round(np.clip(values, -most, most))


def nearest_away(values: np.ndarray, most: float) -> np.ndarray:
    """Clipped and rounded, halves away from 0."""
    import numpy as np

    inside = np.clip(values, -most, most)
    return np.copysign(np.floor(abs(inside) + 0.5), inside)


def bins(values: np.ndarray, count: int) -> np.ndarray:
    """The class of each value; an end belongs to the class below it, compared in float32 as published."""
    import numpy as np

    places = np.searchsorted(np.array(SIMS_EDGES[count], np.float32), values.astype(np.float32)).astype(float)
    return np.where(np.isnan(values), np.nan, places)


def agreement(classes: Callable[[np.ndarray], np.ndarray], truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """[n, 1]: whether both sides are of one class; an unreadable answer is wrong, NaN where there is no truth."""
    import numpy as np

    right = classes(truth) == classes(answer)
    return np.where(np.isnan(truth), np.nan, right.astype(float))[:, None]


def cells(at_zero: bool, keep_zero: bool, sides: Sides, truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """[n, 6]: which cell of the table negative, positive by negative, positive, unreadable it is. `at_zero`: 0 is positive;
    without `keep_zero` truths of 0 are left out."""
    import numpy as np

    truth, answer = sides(truth, answer)
    row, column = ((side >= 0 if at_zero else side > 0).astype(int) for side in (truth, answer))
    column = np.where(np.isnan(answer), 2, column)
    table = np.eye(6)[row * 3 + column]
    table[np.isnan(truth) | (~np.full(len(truth), keep_zero) & (truth == 0))] = np.nan
    return table.reshape(-1, 6)


def accuracy(means: np.ndarray) -> np.ndarray:
    """The share of right answers, [..., 6] cells to [...]."""
    table = means.reshape(*means.shape[:-1], 2, 3)
    return ratio(hits(table).sum(-1), table.sum((-2, -1)))


def weighted_f1(means: np.ndarray) -> np.ndarray:
    """F1 of both signs, weighted by their truths, [..., 6] cells to [...]."""
    import numpy as np

    table = means.reshape(*means.shape[:-1], 2, 3)
    support = table.sum(-1)
    return ratio((np.nan_to_num(f1(table)) * support).sum(-1), support.sum(-1))


def of_sides(figure: RatingFigure, sides: Sides) -> RatingFigure:
    """A figure of both sides, changed before."""
    return RatingFigure(lambda truth, answer: figure.columns(*sides(truth, answer)), figure.of_means)


def share(classes: Callable[[np.ndarray], np.ndarray]) -> RatingFigure:
    """The share of answers of the class of their truth."""
    return RatingFigure(partial(agreement, classes), first)


def signs(values: np.ndarray) -> np.ndarray:
    """-1, 0 or 1."""
    import numpy as np

    return np.sign(values)


def of_sign(name: str, at_zero: bool, keep_zero: bool, sides: Sides = as_read) -> dict[str, RatingFigure]:
    """Accuracy and weighted F1 on the sign."""
    table = partial(cells, at_zero, keep_zero, sides)
    return {f"{name} Acc-2": RatingFigure(table, accuracy), f"{name} F1": RatingFigure(table, weighted_f1)}


SIGN = share(signs)
PUBLISHED: Mapping[str, Mapping[str, RatingFigure]] = {
    "mosi": {
        **of_sign("Has0", True, True), **of_sign("Non0", False, False),
        "Acc-5": share(partial(nearest_even, most=2)), "Acc-7": share(partial(nearest_even, most=3)),
        "MAE": MAE, "Corr": PEARSON,
    },
    "sims": {
        "Acc-2": RatingFigure(partial(cells, False, True, clipped), accuracy),
        "F1": RatingFigure(partial(cells, False, True, clipped), weighted_f1),
        "Acc-3": share(lambda values: bins(clipped(values, values)[0], 3)),
        "Acc-5": share(lambda values: bins(clipped(values, values)[0], 5)),
        "MAE": of_sides(MAE, clipped), "Corr": of_sides(PEARSON, clipped),
    },
    "mertools": of_sign("Non0", False, False),
}  # fmt: skip
OWN: Mapping[str, Mapping[str, RatingFigure]] = {
    "mosi": {
        "Acc-5, halves away from 0": share(partial(nearest_away, most=2)),
        "Acc-7, halves away from 0": share(partial(nearest_away, most=3)),
        "CCC": CCC, "RMSE": RMSE, "same sign": SIGN,
    },
    "sims": {"MAE, not clipped": MAE, "CCC": CCC, "RMSE": RMSE, "same sign": SIGN},
    "mertools": {"MAE": MAE, "CCC": CCC, "same sign": SIGN},
}  # fmt: skip
FIRST = {"mosi": "Non0 F1", "sims": "F1", "mertools": "Non0 F1"}
"""The part that is the value, where nothing else is said."""
ERRORS = ("MAE", "MAE, not clipped", "RMSE")
"""Figures that are lower for the better system."""


@dataclass(frozen=True)
class SentimentRegression:
    """The figures of one rating by a convention; see `affectkit.evaluation.prediction.Metric`."""

    convention: str
    rating: str
    chosen: str

    @property
    def figures(self) -> dict[str, RatingFigure]:
        """Every figure, the published ones first."""
        return {**PUBLISHED[self.convention], **OWN[self.convention]}

    @property
    def higher_is_better(self) -> bool:
        """False for errors."""
        return self.chosen not in ERRORS

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, m]: the columns of each figure, one after the other."""
        import numpy as np

        truth, answer = pairs(predictions, self.rating)
        return np.hstack([figure.columns(truth, answer) for figure in self.figures.values()])

    def parts_from_means(self, means: np.ndarray) -> np.ndarray:
        """[r, figures] of means [r, m]."""
        import numpy as np

        ends = np.cumsum([figure.width for figure in self.figures.values()])
        split = np.split(means, ends[:-1], axis=1)
        return np.stack([f.of_means(own) for f, own in zip(self.figures.values(), split, strict=True)], 1)

    def from_means(self, means: np.ndarray) -> np.ndarray:
        """The chosen figure [r]."""
        return self.parts_from_means(means)[:, list(self.figures).index(self.chosen)]

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value` is the chosen figure; `parts` has each with `value` (ours) and `published`; `used`, `unreadable` and `zeros`
        count pairs, answers without a number and truths of exactly 0."""
        import numpy as np

        truth, answer = pairs(predictions, self.rating)
        if len(predictions) and np.isnan(truth).all():
            there = sorted({name for p in predictions for name in p.true_numbers})
            raise InputError(unknown("metric", "rating", self.rating, there))
        ours = self.parts_from_means(means_of(self.per_sample(predictions, labels))[None])[0]
        both = ~np.isnan(truth) & ~np.isnan(answer)
        theirs = self.published(truth[both].astype(np.float32), answer[both].astype(np.float32))
        parts = {
            name: {"value": number(value), "published": theirs.get(name)}
            for name, value in zip(self.figures, ours, strict=True)
        }
        counts = tally(truth, answer)
        unread, zeros = counts["unreadable"], counts["zeros"]
        lost = f"; {unread} answers without a number: wrong in accuracies, in no error" if unread else ""
        most = float(np.nanmax(truth) - np.nanmin(truth)) if both.any() else 1.0
        return {
            "value": parts[self.chosen]["value"],
            "parts": parts,
            **counts,
            "scale": [-1.0, 1.0]
            if self.chosen in ("Corr", "CCC")
            else [0.0, 1.0 if self.higher_is_better else most or 1.0],
            "higher_is_better": self.higher_is_better,
            "protocol": f"{self.chosen} of {self.rating}, by {RULES[self.convention]}; {zeros} truths are exactly 0{lost}",
        }

    def published(self, truth: np.ndarray, answer: np.ndarray) -> dict[str, float | None]:
        """The published figures of readable answers, float32 [n], to the digits that the published code gives."""
        if not len(truth):
            return {}
        found = {
            name: number(figure.of_means(means_of(figure.columns(truth, answer))))
            for name, figure in PUBLISHED[self.convention].items()
        }
        places = 4 if self.convention == "mosi" else None
        return {name: v if v is None or places is None else round(v, places) for name, v in found.items()}


def build(settings: Settings) -> SentimentRegression:
    """The metric. Raises InputError for a figure that the convention does not have."""
    made = SentimentRegression(settings.convention, settings.number, settings.figure or FIRST[settings.convention])
    if made.chosen not in made.figures:
        raise InputError(unknown("metric sentiment_regression", "figure", made.chosen, tuple(made.figures)))
    return made


@dataclass(frozen=True)
class ThreeWaySettings:
    """Sentiment as one of three labels, by MMSA's convention for classifiers: Acc-3, Has0 and Non0 accuracy and weighted F1.

    The label set is negative, neutral, positive in this order, and answers are scored labels: Has0 and Non0 ask which of
    negative and positive is likelier and leave the score of neutral aside. Neutral truths are negative in Has0 and left out of
    Non0. An answer without probabilities is wrong in all. In the published code no positive truth is ever right in Non0, as
    its number there is 2 and that of the answer 1: `parts` has the figure as published beside the one that is meant.
    """

    figure: Literal["Acc-3", "F1-3", "Has0 Acc-2", "Has0 F1", "Non0 Acc-2", "Non0 F1"] = "Acc-3"
    """The part that is the value."""


@dataclass(frozen=True)
class SentimentClasses:
    """The figures of three scored labels; see `affectkit.evaluation.prediction.Metric`."""

    chosen: str

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, 24]: the cells of the three labels by the answers and unreadable, [12], of Has0 and of Non0, [6] each."""
        import numpy as np

        if len(labels) != 3:
            what = f"wants three labels, negative, neutral and positive in this order, and there are {len(labels)}"
            raise InputError(Problem("metric sentiment_three_way", what, "name them in this order: --classes"))
        truth = np.array([labels.index(p.truth or "") for p in predictions], int)
        odds = np.array([[p.probabilities.get(n, np.nan) for n in labels] for p in predictions], float).reshape(-1, 3)
        lost = np.isnan(odds).any(1)
        whole = np.eye(12)[truth * 4 + np.where(lost, 3, np.nan_to_num(odds).argmax(1))]
        sign = np.where(lost, np.nan, np.where(odds[:, 2] > odds[:, 0], 1.0, -1.0))
        has0 = cells(False, True, as_read, truth - 1.0, sign)
        return np.hstack([whole, has0, cells(False, False, as_read, truth - 1.0, sign)])

    def parts_from_means(self, means: np.ndarray) -> np.ndarray:
        """[r, 6]: the figures, as the settings name them."""
        import numpy as np

        table = means[:, :12].reshape(-1, 3, 4)
        support = table.sum(-1)
        three = (np.nan_to_num(f1(table)) * support).sum(-1)
        found = [hits(table).sum(-1), three]
        for own in (means[:, 12:18], means[:, 18:]):
            found += [accuracy(own), weighted_f1(own)]
        return np.stack(found, 1)

    def from_means(self, means: np.ndarray) -> np.ndarray:
        """The chosen figure [r]."""
        return self.parts_from_means(means)[:, THREE.index(self.chosen)]

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value` is the chosen figure, `parts` has each."""
        said = (
            "sentiment in three classes by MMSA's convention: Has0 takes neutral truth for negative, Non0 leaves it out"
        )
        if not predictions:
            return {"value": None, "protocol": said}
        means = means_of(self.per_sample(predictions, labels))[None]
        found = {name: number(value) for name, value in zip(THREE, self.parts_from_means(means)[0], strict=True)}
        table = means[:, 18:].reshape(-1, 2, 3)
        negative = {"Non0 Acc-2": table[:, 0, 0], "Non0 F1": f1(table)[:, 0] * table[:, 0].sum(-1)}
        published = found | {name: number(ratio(value, table.sum((-2, -1)))[0]) for name, value in negative.items()}
        parts = {name: {"value": value, "published": published[name]} for name, value in found.items()}
        return {"value": found[self.chosen], "parts": parts, "protocol": f"{self.chosen}, {said}"}


THREE = ("Acc-3", "F1-3", "Has0 Acc-2", "Has0 F1", "Non0 Acc-2", "Non0 F1")
"""The figures of three labels."""


def build_three_way(settings: ThreeWaySettings) -> SentimentClasses:
    """The metric."""
    return SentimentClasses(settings.figure)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [
        Piece("metric", "sentiment_regression", Settings, build),
        Piece("metric", "sentiment_three_way", ThreeWaySettings, build_three_way),
    ]
