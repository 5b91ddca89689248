"""The table of a suite: a figure a set, the overall one with its interval, and best of k as a figure apart. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import Figure, SplitFigures
from affectkit.evaluation.over_sets import BiasOverSets
from affectkit.evaluation.prediction import Metric, Prediction
from affectkit.plan.metrics import Query
from affectkit.report import suite as pages
from affectkit.studies.matrix import mean_over
from affectkit.studies.suite import Suite


@dataclass
class CheckpointAnswers:
    """What one checkpoint gave."""

    name: str
    run: str
    source: int = 0
    """Which of the runs that were named, from 0."""
    answers: dict[str, dict[Query, list[Prediction]]] = field(default_factory=dict)
    figures: dict[str, SplitFigures] = field(default_factory=dict)
    sets: dict[str, pages.SetFigures] = field(default_factory=dict)
    """Each set's primary metric."""
    draws: dict[str, np.ndarray] = field(default_factory=dict)
    """Bootstrap draws of it, where it has a value."""
    handed_in: list[Prediction] = field(default_factory=list)
    bias: BiasOverSets | None = None
    """By people over the sets, where it was asked for."""


BEST = "best of {k} checkpoints, chosen for each data set on its test data: not a figure to report"

MOST_CALLS = 200


def further(
    metric: Metric,
    titles: Mapping[str, str],
    predictions: Sequence[Prediction],
    labels: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, Figure]:
    """Further figures of a metric's result (title to its name there), each with an interval from at most 200 draws: every
    draw costs a call."""
    if not titles or not predictions:
        return {}
    labels = tuple(labels)
    drawn = list(bootstrap.results(metric, predictions, labels, seed, resamples=min(resamples, MOST_CALLS)))
    found = metric(predictions, labels)
    return {
        title: bootstrap.figure(
            found.get(key), np.array([np.nan if d.get(key) is None else d[key] for d in drawn], float)
        )
        for title, key in titles.items()
    }


def summary(
    suite: Suite,
    figure: CheckpointAnswers,
    done: Sequence[CheckpointAnswers],
    missing: Mapping[str, str],
    encodings: pages.Encodings,
    seconds: float,
    submission: pages.HandedIn | None = None,
) -> pages.SuiteFigures:
    """What suite.json holds: columns, THE figure with intervals, every checkpoint, best of k, published rows, what is missing."""
    rows = [_row(suite, one) for one in done]
    main = _row(suite, figure)
    columns = (
        pages.SuiteColumn(
            name, entry.column, entry.primary, entry.settings.split, entry.settings.task, name not in missing
        )
        for name, entry in suite.sets.items()
    )
    return pages.SuiteFigures(
        suite=suite.name,
        about=suite.about,
        file=suite.recipe.source,
        columns=tuple(columns),
        overall=pages.OverallColumn(suite.show.overall, suite.show.column),
        percent=suite.show.percent,
        missing=missing,
        figure=main,
        checkpoints=tuple(rows),
        published=tuple(_published(suite, key, main) for key in suite.published),
        encodings=encodings,
        seconds=seconds,
        best_of=_best(suite, rows, main) if len(done) > 1 else None,
        bias=figure.bias,
        submission=submission,
    )


def _row(suite: Suite, one: CheckpointAnswers) -> pages.PointFigures:
    """A checkpoint: its figure of each set, and the overall one over those that have a value."""
    values = {name: figure.value for name, figure in one.sets.items() if figure.value is not None}
    overall = None
    if suite.show.overall == "average" and values:
        mean = mean_over(list(values.values()), [one.draws[name] for name in values])
        overall = pages.Overall(mean.value, mean.low, mean.high, len(values), len(suite.sets))
    return pages.PointFigures(one.name, one.run, one.sets, overall)


def _best(suite: Suite, rows: Sequence[pages.PointFigures], figure: pages.PointFigures) -> pages.Best:
    """The best checkpoint of each set by its test figure, their mean, and how far that lies above THE figure."""
    sets = {}
    for name in suite.sets:
        known = [(v, r) for r in rows if name in r.sets and (v := r.sets[name].value) is not None]
        if known:
            value, row = max(known, key=lambda one: one[0])
            sets[name] = pages.BestOfSet(value, row.run, row.checkpoint)
    mean = float(np.mean([s.value for s in sets.values()])) if suite.show.overall == "average" and sets else None
    own = figure.overall.value if figure.overall else None
    above = None if mean is None or own is None else mean - own
    return pages.Best(BEST.format(k=len(rows)), len(rows), sets, mean, above)


def _published(suite: Suite, key: str, figure: pages.PointFigures) -> pages.PublishedRow:
    """A published row, with its mean over the sets that have a figure here; None where it lacks one of them."""
    row = suite.published[key]
    here = [row.values.get(name) for name, s in figure.sets.items() if s.value is not None]
    same = float(np.mean([v for v in here if v is not None])) if here and None not in here else None
    return pages.PublishedRow(row.name or key, row.source, dict(row.values), row.overall, same)
