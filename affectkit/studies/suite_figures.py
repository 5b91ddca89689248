"""The table of a suite: a figure a set, the overall one with its interval, and best of k as a figure apart. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import BiasOverSets, Figure, SplitFigures
from affectkit.evaluation.prediction import Metric, Prediction
from affectkit.plan.metrics import Asked
from affectkit.studies.matrix import mean_over
from affectkit.studies.suite import Suite


@dataclass
class Answered:
    """What one checkpoint gave."""

    name: str
    run: str
    source: int = 0
    """Which of the runs that were named, from 0."""
    answers: dict[str, dict[Asked, list[Prediction]]] = field(default_factory=dict)
    figures: dict[str, SplitFigures] = field(default_factory=dict)
    draws: dict[str, np.ndarray] = field(default_factory=dict)
    """Bootstrap draws of each set's primary metric."""
    also: dict[str, dict[str, Figure]] = field(default_factory=dict)
    """Further figures of each set's primary metric, with intervals."""
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


def summary(suite: Suite, figure: Answered, done: Sequence[Answered], missing: Mapping[str, str]) -> dict[str, Any]:
    """What suite.json holds: columns, THE figure with intervals, every checkpoint, best of k, published rows, what is missing.

    `published` rows have `same`: their mean over the sets that this evaluation has a figure of, to compare with.
    """
    columns = [
        {
            "set": name,
            "column": entry.column,
            "metric": entry.primary,
            "split": entry.settings.split,
            "task": entry.settings.task,
            "there": name not in missing,
        }
        for name, entry in suite.sets.items()
    ]
    rows = [_row(suite, one) for one in done]
    main = _row(suite, figure)
    told: dict[str, Any] = {
        "suite": suite.name,
        "about": suite.about,
        "file": suite.recipe.source,
        "columns": columns,
        "overall": {"how": suite.show.overall, "column": suite.show.column},
        "percent": suite.show.percent,
        "missing": dict(missing),
        "figure": main,
        "checkpoints": rows,
    }
    if len(done) > 1:
        told["best_of"] = _best(suite, rows, main)
    told["published"] = [_published(suite, key, main) for key in suite.published]
    return told


def _row(suite: Suite, one: Answered) -> dict[str, Any]:
    """A checkpoint: `sets` by name with value, interval and further figures, `overall` over those that have a value."""
    sets: dict[str, Any] = {}
    for name, figures in one.figures.items():
        entry = suite.sets[name]
        found = figures.metrics[entry.primary]
        sets[name] = {
            **Figure(found.value, found.low, found.high).to_dict(),
            "count": figures.count,
            "protocol": found.protocol,
            "also": {title: figure.to_dict() for title, figure in one.also.get(name, {}).items()},
            **({"error": found.error} if found.error else {}),
        }
    values = {name: s["value"] for name, s in sets.items() if s["value"] is not None}
    row: dict[str, Any] = {"checkpoint": one.name, "run": one.run, "sets": sets}
    if suite.show.overall == "average" and values:
        overall = mean_over(list(values.values()), [one.draws[name] for name in values])
        row["overall"] = {**overall.to_dict(), "sets": len(values), "of": len(suite.sets)}
    return row


def _best(suite: Suite, rows: Sequence[Mapping[str, Any]], figure: Mapping[str, Any]) -> dict[str, Any]:
    """The best checkpoint of each set by its test figure, their mean, and how far that lies above THE figure."""
    sets: dict[str, Any] = {}
    for name in suite.sets:
        values = [(r["sets"][name]["value"], r["run"], r["checkpoint"]) for r in rows if name in r["sets"]]
        known = [v for v in values if v[0] is not None]
        if known:
            value, run, point = max(known, key=lambda v: v[0])
            sets[name] = {"value": value, "run": run, "checkpoint": point}
    best: dict[str, Any] = {"name": BEST.format(k=len(rows)), "k": len(rows), "sets": sets}
    if suite.show.overall == "average" and sets:
        mean = float(np.mean([s["value"] for s in sets.values()]))
        best |= {"overall": mean, "above": mean - figure["overall"]["value"]}
    return best


def _published(suite: Suite, key: str, figure: Mapping[str, Any]) -> dict[str, Any]:
    """A published row, with its mean over the sets that have a figure here; None where it lacks one of them."""
    row = suite.published[key]
    here = [row.values.get(name) for name, s in figure["sets"].items() if s["value"] is not None]
    same = float(np.mean([v for v in here if v is not None])) if here and None not in here else None
    return {
        "name": row.name or key,
        "source": row.source,
        "values": dict(row.values),
        "overall": row.overall,
        "same": same,
    }
