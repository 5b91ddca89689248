"""Figures of ratings that are functions of means over samples, so that intervals and paired differences cost no calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affectkit_plugins.metrics._counts import mean, ratio

from affectkit.errors import InputError, unknown
from affectkit.evaluation.prediction import Prediction
from affectkit.sample import NUMBERS

if TYPE_CHECKING:
    import numpy as np

ROUNDING = 1e-13
"""A variance below this share of the mean square is that of equal values, but for rounding."""


@dataclass(frozen=True)
class RatingSettings:
    """What metrics of ratings have in common."""

    numbers: tuple[str, ...] = ()
    """The ratings that are scored; by default all that the samples have. The value is their mean."""

    def asks(self) -> tuple[str, str]:
        """Answers in numbers, found as the recipe finds them."""
        return NUMBERS, ""


@dataclass(frozen=True)
class RatingFigure:
    """A figure of truths and answers by means over samples."""

    columns: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """Truth [n] and answer [n], NaN where there is none, to float64 [n, m]; NaN rows are in no mean."""
    of_means: Callable[[np.ndarray], np.ndarray]
    """Means [..., m] to the figure [...]; NaN where it has none."""

    @property
    def width(self) -> int:
        """The number m of columns."""
        import numpy as np

        return int(self.columns(np.empty(0), np.empty(0)).shape[1])


def pairs(predictions: Sequence[Prediction], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Truth and answer, float64 [n] each, of one rating; NaN where there is none or it is not finite."""
    import numpy as np

    sides = ([one.get(name) for one in side] for side in zip(*_sides(predictions), strict=True))
    truth, answer = (
        (np.array([np.nan if v is None else v for v in side], float) for side in sides)
        if predictions
        else (np.empty((2, 0)))
    )
    return np.where(np.isfinite(truth), truth, np.nan), np.where(np.isfinite(answer), answer, np.nan)


def _sides(predictions: Sequence[Prediction]) -> list[tuple[Any, Any]]:
    return [(p.true_numbers, p.numbers if p.state == "scored" else {}) for p in predictions]


def apart(truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """[n, 1]: answer less truth."""
    return (answer - truth)[:, None]


def moments(truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """[n, 6]: truth, answer, their squares and product, each less the middle of its range, and truth - answer as it is."""
    import numpy as np

    known = np.isfinite(truth) & np.isfinite(answer)
    t, p = (np.where(known, side - _middle(side[known]), np.nan) for side in (truth, answer))
    return np.stack([t, p, t * t, p * p, t * p, np.where(known, truth - answer, np.nan)], 1)


def _middle(values: np.ndarray) -> float:
    return float(values.min() + values.max()) / 2 if values.size else 0.0


def _spread(means: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Population variances of truth and answer, and their covariance, [...] each; exactly 0 where a side is constant."""
    import numpy as np

    t, p, tt, pp, tp = (means[..., i] for i in range(5))
    first, second = (np.where(q - m * m <= ROUNDING * q, np.where(np.isnan(q), np.nan, 0.0), q - m * m)
                     for m, q in ((t, tt), (p, pp)))  # fmt: skip
    return first, second, np.where((first == 0) | (second == 0), 0.0, tp - t * p)


def concordance(means: np.ndarray) -> np.ndarray:
    """CCC [...] of the means of `moments` [..., 6]; 0 where a side is constant, NaN where there is nothing."""
    import numpy as np

    truth, answer, both = _spread(means)
    whole = truth + answer + means[..., 5] ** 2
    return np.where(whole == 0, 0.0, 2 * both / np.where(whole == 0, 1.0, whole))


def correlation(means: np.ndarray) -> np.ndarray:
    """Pearson's r [...] of the means of `moments` [..., 6]; NaN where a side is constant."""
    import numpy as np

    truth, answer, both = _spread(means)
    return np.clip(ratio(both, np.sqrt(truth * answer)), -1, 1)


def first(means: np.ndarray) -> np.ndarray:
    """The mean itself, [..., 1] to [...]."""
    return means[..., 0]


def _errors(truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    return abs(apart(truth, answer))


def _squares(truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    return apart(truth, answer) ** 2


def _root(means: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.sqrt(means[..., 0])


CCC, PEARSON = RatingFigure(moments, concordance), RatingFigure(moments, correlation)
MAE, RMSE = RatingFigure(_errors, first), RatingFigure(_squares, _root)


@dataclass(frozen=True)
class RatingMetric:
    """A figure of each rating, and the mean of these; see `affectkit.evaluation.prediction.Metric`."""

    figure: RatingFigure
    about: str
    """What it is, in words."""
    numbers: tuple[str, ...] = ()
    higher_is_better: bool = True
    constant: str = ""
    """What becomes of it where truths or answers are all the same, in words; empty for errors."""

    def names(self, predictions: Sequence[Prediction]) -> tuple[str, ...]:
        """The ratings that are scored. Raises InputError for one that no sample has."""
        there = sorted({name for p in predictions for name in p.true_numbers})
        for name in self.numbers if predictions else ():
            if name not in there:
                raise InputError(unknown("metric", "rating", name, there))
        return self.numbers or tuple(there)

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, ratings * m]: the columns of each rating."""
        import numpy as np

        found = [self.figure.columns(*pairs(predictions, name)) for name in self.names(predictions)]
        return np.hstack(found) if found else np.empty((len(predictions), 0))

    def parts_from_means(self, means: np.ndarray) -> np.ndarray:
        """[r, ratings] of means [r, ratings * m]."""
        return self.figure.of_means(means.reshape(len(means), -1, self.figure.width))

    def from_means(self, means: np.ndarray) -> np.ndarray:
        """The mean over ratings [r]; those without a figure are left out."""
        return mean(self.parts_from_means(means))

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value`, and `parts` with each rating: its figure, how many samples it is of (`used`), how many answers hold no
        such number (`unreadable`, in no mean) and how many truths are exactly 0 (`zeros`)."""
        names, rows = self.names(predictions), self.per_sample(predictions, labels)
        values: Any = self.parts_from_means(means_of(rows)[None])[0] if names else []
        parts, notes, most = {}, [], 0.0
        for name, value in zip(names, values, strict=True):
            truth, answer = pairs(predictions, name)
            parts[name] = {"value": number(value), **tally(truth, answer)}
            notes += self._notes(name, truth, answer)
            most = max(most, span(truth))
        found = number(mean(values)) if names else None
        scale = (-1.0, 1.0) if self.constant else (0.0, most or 1.0)
        said = f"{self.about}{', mean of ' + ', '.join(names) if len(names) > 1 else ''}"
        return {"value": found, "parts": parts, "scale": list(scale), "higher_is_better": self.higher_is_better,
                "protocol": "; ".join([said, *notes])}  # fmt: skip

    def _notes(self, name: str, truth: np.ndarray, answer: np.ndarray) -> list[str]:
        """What to know of a rating, in words."""
        notes, known = [], ~_missing(truth) & ~_missing(answer)
        lost = tally(truth, answer)["unreadable"]
        if lost:
            notes.append(f"{name}: {lost} answers without a number are left out, and count in no mean")
        for what, side in (("truths", truth), ("answers", answer)):
            if self.constant and known.any() and span(side[known]) == 0:
                notes.append(f"{name}: all {what} are the same, so {self.constant}")
        return notes


def _missing(values: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.isnan(values)


def tally(truth: np.ndarray, answer: np.ndarray) -> dict[str, int]:
    """How many pairs there are, answers that cannot be read, and truths that are exactly 0."""
    known, read = ~_missing(truth), ~_missing(answer)
    return {
        "used": int((known & read).sum()),
        "unreadable": int((known & ~read).sum()),
        "zeros": int((truth == 0).sum()),
    }


def span(values: np.ndarray) -> float:
    """Largest less smallest of what is not NaN."""
    known = values[~_missing(values)]
    return float(known.max() - known.min()) if known.size else 0.0


def means_of(rows: np.ndarray) -> np.ndarray:
    """Means [m] of columns [n, m] over what is not NaN, whatever the order of rows; NaN for nothing."""
    import math

    import numpy as np

    known = np.isfinite(rows)
    sums = np.array([math.fsum(column) for column in np.where(known, rows, 0.0).T])
    return ratio(sums, known.sum(0))


def number(value: Any) -> float | None:
    """A float, or None for what is not finite."""
    import math

    return float(value) if math.isfinite(value) else None
