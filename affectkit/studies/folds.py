"""Runs on the folds of one data set as one row of a matrix: each fold, their mean with its interval, all samples pooled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from affectkit.errors import InputError, Problem
from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import ClassFigures, Draws, Figure, Record, beside
from affectkit.evaluation.prediction import ANSWERED, Metric, Prediction, count_metrics, has_truth
from affectkit.evaluation.score import count, figures_of
from affectkit.files import write_json_atomic
from affectkit.report.compare import metrics_of
from affectkit.report.page import Cell, Grid, Heading, Page, PageBlock, Paragraph
from affectkit.report.render import title, write_page
from affectkit.report.results import RunFiles, distinct_names, read_run
from affectkit.report.run import class_grid, warnings
from affectkit.sample import LABEL, LABELS, NUMBERS
from affectkit.studies.matrix import Mean, mean_over

RESAMPLES = 1000
SEED = 0


@dataclass(frozen=True)
class FoldRow(Record):
    """One fold."""

    run: str
    count: int
    metrics: Mapping[str, Figure] = beside()


@dataclass(frozen=True)
class FoldFigures(Record):
    """All folds. Pooled figures count all samples as one test set; for a mean of recalls over unequal folds that is another
    number, and published tables mean the mean."""

    split: str
    labels: tuple[str, ...]
    count: int
    folds: tuple[FoldRow, ...]
    average: Mapping[str, Mean]
    pooled: Mapping[str, Figure]
    per_class: Mapping[str, ClassFigures]
    bootstrap: Draws


def fold_report(runs: Sequence[str | Path], out: str | Path) -> tuple[Path, FoldFigures]:
    """Write the table of folds to `out` (.html), beside it as .md and .json; returns the page and the figures.

    Raises InputError for fewer than two runs, runs without a common evaluated split or of other labels, and where a
    sample is tested in two folds.
    """
    results = [read_run(run) for run in runs]
    if len(results) < 2:
        raise InputError(Problem("report --folds", "a table of folds needs two runs", "name the runs of all folds"))
    splits = [s for s in results[0].metrics if all(s in r.metrics for r in results)]
    if not splits:
        raise InputError(Problem("report --folds", "the runs have no evaluated split in common", "evaluate them first"))
    if len({r.folder.resolve() for r in results}) < len(results):
        raise InputError(Problem("report --folds", "a run is named twice", "name one run of each fold"))
    names = distinct_names([r.folder.name for r in results], [r.folder for r in results])
    figures = fold_figures(dict(zip(names, results, strict=True)), splits[0])
    about = f"{len(runs)} folds, split {figures.split}, {figures.count} samples"
    page = Page("Folds", about, tuple(_blocks(results, figures)))
    write_json_atomic(Path(out).with_suffix(".json"), figures.to_dict())
    return write_page(page, Path(out)), figures


def fold_figures(folds: Mapping[str, RunFiles], split: str) -> FoldFigures:
    """Each fold, their mean, and all samples pooled. The interval of the mean resamples the samples of each fold by itself."""
    first, *_ = folds.values()
    labels = first.metrics[split].labels
    metrics = _metrics(first)
    answers = {task: _answers(folds, split, labels, task) for task in metrics}
    whole = {task: [p for one in sides for p in one] for task, sides in answers.items()}

    def told(sides: Mapping[str, Sequence[Prediction]]) -> dict[str, Figure]:
        each = (figures_of(own, sides[task], labels, SEED, RESAMPLES) for task, own in metrics.items())
        return {name: figure for found in each for name, figure in found.items()}

    main = next(iter(metrics))
    rows = tuple(
        FoldRow(name, len(answers[main][i]), told({task: sides[i] for task, sides in answers.items()}))
        for i, name in enumerate(folds)
    )
    average = {}
    for task, name in ((task, name) for task, own in metrics.items() for name in own):
        values = np.array([row.metrics[name].value for row in rows], float)
        sides = enumerate(answers[task])
        drawn = [bootstrap.draws(metrics[task][name], one, labels, SEED + i, None, RESAMPLES) for i, one in sides]
        mean = mean_over(values, drawn)
        average[name] = Mean(mean.value, mean.low, mean.high, bootstrap.number(values.std(ddof=1)))
    counts = count(whole[LABEL], labels) if LABEL in whole else None
    return FoldFigures(
        split=split,
        labels=labels,
        count=len(whole[main]),
        folds=rows,
        average=average,
        pooled=told(whole),
        per_class=bootstrap.per_class(counts, labels, RESAMPLES, SEED) if counts is not None else {},
        bootstrap=Draws(RESAMPLES, SEED, bootstrap.LEVEL),
    )


def _metrics(run: RunFiles) -> dict[str, dict[str, Metric]]:
    """By task the run's metrics that are told of: of labels the quick ones, of several and of ratings all. Raises InputError
    where it has none."""
    built = {task: metrics_of(run, task) for task in (LABEL, LABELS, NUMBERS)}
    built[LABEL] = dict(count_metrics(built[LABEL]))
    found = {task: own for task, own in built.items() if own}
    if not found:
        what = "the runs have no metric of labels or ratings"
        raise InputError(Problem("report --folds", what, "add uar, multilabel_f1 or ccc to score.metrics"))
    return found


def _answers(folds: Mapping[str, RunFiles], split: str, labels: Sequence[str], task: str) -> list[list[Prediction]]:
    """The answers of each fold that metrics look at. Raises InputError for other labels, and for a sample in two folds."""
    answers = []
    seen: dict[str, str] = {}
    for name, results in folds.items():
        if set(results.metrics[split].labels) != set(labels):
            what = f"run {name} has other labels than {next(iter(folds))}"
            raise InputError(Problem("report --folds", what, known=tuple(labels)))
        tested = [p for p in results.predictions if p.split == split and p.task == task and has_truth(p)]
        twice = next((p.id for p in tested if p.id in seen), None)
        if twice is not None:
            what = f"sample {twice} is tested in {seen[twice]} and in {name}: these are no folds"
            raise InputError(Problem("report --folds", what, "name one run of each fold"))
        seen |= {p.id: name for p in tested}
        answers.append([p for p in tested if p.state in ANSWERED])
    return answers


def fold_table(figures: FoldFigures) -> Grid:
    """A row a fold, then their mean, the deviation between them, and all samples pooled."""
    means = figures.average
    rows: list[tuple[Cell, ...]] = [
        (f"{i}: {fold.run}", fold.count, *(fold.metrics[n] for n in means)) for i, fold in enumerate(figures.folds, 1)
    ]
    deviations = (None if one.deviation is None else round(one.deviation, 4) for one in means.values())
    rows.append(("mean of folds", figures.count, *means.values()))
    rows.append(("deviation between folds", None, *deviations))
    rows.append(("all samples pooled", figures.count, *(figures.pooled[n] for n in means)))
    return Grid(("fold", "samples", *map(title, means)), tuple(rows))


def _blocks(results: Sequence[RunFiles], figures: FoldFigures) -> Iterator[PageBlock]:
    yield from dict.fromkeys(w for r in results for w in warnings(r))
    yield fold_table(figures)
    yield Paragraph(
        "Published five-fold figures are the mean of folds; figures of one fold are not comparable with them. Intervals: "
        "95 % bootstrap, samples drawn within each fold.",
        "quiet",
    )
    if figures.per_class:
        yield Heading("By class, all folds pooled", 3)
        yield class_grid(figures.per_class)
