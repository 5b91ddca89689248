"""Models on data sets as a matrix: its columns, what is said of it, and how figures of cells are put together.

A suite fills rows of it that are checkpoints, `cross` rows that are runs; folds are a row whose cells are runs of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affectkit.errors import AffectkitError, InputError
from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import Figure
from affectkit.files import Say
from affectkit.plan.use import Use
from affectkit.sample import Sample


@dataclass(frozen=True)
class CrossOptions:
    """What a user says beside models and data sets."""

    given: Mapping[str, str] | None = None
    """Labels of data sets to those of runs, where names do not tell (`cross`)."""
    plugins: tuple[Sequence[str | Path], bool] = ((), False)
    """Plugin files, and whether those that recipes name are loaded too."""
    again: bool = False
    """Whether cells that are done are asked again."""
    by_people: bool = False
    """Whether to add figures by age, gender and race."""
    say: Say = print
    checkpoints: str = ""
    """Checkpoints of each run: `all`, names with commas, or empty for each run's own (suites)."""
    submission: str | Path | None = None
    """A file to hand in (suites)."""


@dataclass(frozen=True)
class Mean(Figure):
    """A mean over seeds or folds."""

    deviation: float | None
    """The standard deviation between them; None for one of them."""


@dataclass(frozen=True)
class MatrixColumn:
    """A data set of the matrix."""

    name: str
    data: Use
    split: str = "test"


def open_columns(columns: Iterable[MatrixColumn]) -> tuple[dict[str, Sequence[Sample]], dict[str, str]]:
    """The samples of every data set that is there, and of every other why it is not. Decodes nothing.

    A copy that is broken counts as missing, with what is wrong.
    """
    found: dict[str, Sequence[Sample]] = {}
    missing: dict[str, str] = {}
    for column in columns:
        try:
            samples: Sequence[Sample] = column.data.piece.build(column.data.settings, column.split)
        except InputError as error:
            missing[column.name] = _first(error)
        except AffectkitError as error:
            missing[column.name] = str(error)
        else:
            if len(samples):
                found[column.name] = samples
            else:
                missing[column.name] = f"the split {column.split!r} is empty"
    return found, missing


def _first(error: InputError) -> str:
    """The first problem of a copy in one line, and how many more there are."""
    first, more = error.problems[0], len(error.problems) - 1
    told = "; ".join(t for t in (f"{first.place}: {first.what}" if first.place else first.what, first.fix) if t)
    return f"{told} (and {more} more problems)" if more else told


def mean_over(values: Sequence[float] | np.ndarray, draws: Sequence[np.ndarray]) -> Figure:
    """The plain mean of a metric over columns, with the interval of the mean of their draws [r].

    It has no interval where columns were drawn a different number of times.
    """
    even = all(len(one) == len(draws[0]) for one in draws)
    return bootstrap.figure(np.mean(values), np.mean(draws, axis=0) if even else np.array([]))
