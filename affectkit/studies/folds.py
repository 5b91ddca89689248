"""Runs on the folds of one data set as one row of a matrix: each fold, their mean with its interval, all samples pooled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from affectkit.errors import InputError, Problem
from affectkit.evaluation import bootstrap
from affectkit.evaluation.prediction import ANSWERED, Metric, Prediction
from affectkit.evaluation.score import count
from affectkit.files import Json, write_json_atomic, write_text_atomic
from affectkit.plan.metrics import LABEL
from affectkit.report.compare import metrics_of
from affectkit.report.page import Bar, Block, Cell, Grid, Heading, Page, Words, to_markdown
from affectkit.report.results import Results, read_run
from affectkit.report.run import title, warnings
from affectkit.studies.matrix import distinct_names, mean_over

RESAMPLES = 1000
SEED = 0


@dataclass(frozen=True)
class Folds:
    """The same split of several runs, each on a fold of its own."""

    split: str
    labels: tuple[str, ...]
    names: tuple[str, ...]
    answers: tuple[Sequence[Prediction], ...]
    """The answers of each fold that metrics look at."""
    metrics: Mapping[str, Metric]


def fold_report(runs: Sequence[str | Path], out: str | Path) -> tuple[Path, dict[str, Any]]:
    """Write the table of folds to `out` (.html), beside it as .md and .json; returns the page and the figures.

    Raises InputError for fewer than two runs, runs without a common evaluated split or of other labels, and where a
    sample is tested in two folds.
    """
    from affectkit.report.html import to_html

    results = [read_run(run) for run in runs]
    folds = gather(results)
    figures = figures_of(folds)
    about = f"{len(runs)} folds, split {folds.split}, {figures['count']} samples"
    page = Page("Folds", about, tuple(_blocks(results, folds, figures)))
    path = Path(out).with_suffix(".html")
    write_json_atomic(path.with_suffix(".json"), figures)
    write_text_atomic(path.with_suffix(".md"), to_markdown(page))
    write_text_atomic(path, to_html(page))
    return path, figures


def gather(results: Sequence[Results]) -> Folds:
    """The answers of every fold."""
    if len(results) < 2:
        raise InputError(Problem("report --folds", "a table of folds needs two runs", "name the runs of all folds"))
    splits = [s for s in results[0].metrics if all(s in r.metrics for r in results)]
    if not splits:
        raise InputError(Problem("report --folds", "the runs have no evaluated split in common", "evaluate them first"))
    split = splits[0]
    labels = tuple(results[0].metrics[split].labels)
    seen: dict[str, str] = {}
    answers = []
    names = distinct_names([r.folder.name for r in results], [r.folder for r in results])
    for name, result in zip(names, results, strict=True):
        if set(result.metrics[split].labels) != set(labels):
            what = f"run {name} has other labels than {names[0]}"
            raise InputError(Problem("report --folds", what, known=labels))
        tested = [p for p in result.predictions if p.split == split and p.task == LABEL and p.truth is not None]
        twice = next((p.id for p in tested if p.id in seen), None)
        if twice is not None:
            what = f"sample {twice} is tested in {seen[twice]} and in {name}: these are no folds"
            raise InputError(Problem("report --folds", what, "name one run of each fold"))
        seen |= {p.id: name for p in tested}
        answers.append([p for p in tested if p.state in ANSWERED])
    metrics = {n: m for n, m in metrics_of(results[0]).items() if hasattr(m, "from_confusions")}
    if not metrics:
        raise InputError(Problem("report --folds", "the runs have no metric of labels", "add uar to score.metrics"))
    return Folds(split, labels, tuple(names), tuple(answers), metrics)


def figures_of(folds: Folds) -> dict[str, Any]:
    """`folds` (each metric with its interval), `average` over folds with interval and standard deviation, `pooled`.

    The interval of the mean resamples the samples of each fold by itself. Pooled figures count all samples as one test
    set; for a mean of recalls over unequal folds that is another number, and published tables mean the mean.
    """
    counts = [count(answers, folds.labels) for answers in folds.answers]
    each: list[dict[str, Any]] = [
        {"run": name, "count": int(c.sum()), **_of_counts(folds, c)}
        for name, c in zip(folds.names, counts, strict=True)
    ]
    mean: dict[str, Any] = {}
    for name, metric in folds.metrics.items():
        values = np.array([fold[name]["value"] for fold in each], np.float64)
        drawn = [
            bootstrap.draws(metric, a, folds.labels, SEED + i, None, RESAMPLES) for i, a in enumerate(folds.answers)
        ]
        mean[name] = {**mean_over(values, drawn).to_dict(), "deviation": float(values.std(ddof=1))}
    total = np.sum(counts, axis=0)
    classes = bootstrap.per_class(total, folds.labels, RESAMPLES, SEED)
    return {
        "split": folds.split,
        "labels": list(folds.labels),
        "count": int(total.sum()),
        "folds": each,
        "average": mean,
        "pooled": _of_counts(folds, total),
        "per_class": {name: one.to_dict() for name, one in classes.items()},
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED, "level": bootstrap.LEVEL},
    }


def _of_counts(folds: Folds, counts: np.ndarray) -> dict[str, Json]:
    found = bootstrap.of_counts(folds.metrics, counts, RESAMPLES, SEED)
    return {name: one.to_dict() for name, one in found.items()}


def table_rows(figures: Mapping[str, Any]) -> tuple[list[str], list[tuple[Cell, ...]]]:
    """Columns and rows: folds, mean, deviation, pooled."""
    names = list(figures["average"])
    rows: list[tuple[Cell, ...]] = [
        (f"{i}: {fold['run']}", fold["count"], *(_bar(fold[n]) for n in names))
        for i, fold in enumerate(figures["folds"], 1)
    ]
    rows.append(("mean of folds", figures["count"], *(_bar(figures["average"][n]) for n in names)))
    rows.append(("deviation between folds", None, *(round(figures["average"][n]["deviation"], 4) for n in names)))
    rows.append(("all samples pooled", figures["count"], *(_bar(figures["pooled"][n]) for n in names)))
    return ["fold", "samples", *map(title, names)], rows


def _bar(one: Mapping[str, Any]) -> Bar:
    return Bar(one["value"], one["low"], one["high"])


def _blocks(results: Sequence[Results], folds: Folds, figures: Mapping[str, Any]) -> Iterator[Block]:
    yield from dict.fromkeys(w for r in results for w in warnings(r))
    columns, rows = table_rows(figures)
    yield Grid(tuple(columns), tuple(rows))
    yield Words(
        "Published five-fold figures are the mean of folds; figures of one fold are not comparable with them. Intervals: "
        "95 % bootstrap, samples drawn within each fold.",
        "quiet",
    )
    yield Heading("By class, all folds pooled", 3)
    classes = figures["per_class"].items()
    grid = tuple(
        (n, c["support"], c["precision"], Bar(c["recall"], c["recall_low"], c["recall_high"]), c["f1"])
        for n, c in classes
    )
    yield Grid(("class", "samples", "precision", "recall", "F1"), grid)
