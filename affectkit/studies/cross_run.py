"""Trained runs asked about several data sets: every cell of the matrix, its answers and the page."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from affectkit.data.splits import face_problems
from affectkit.encode.cache import digest
from affectkit.errors import InputError, Problem
from affectkit.evaluation import protocol as protocols
from affectkit.evaluation.bias import (
    BiasProbe,
    Estimates,
    SetAnswers,
    estimates,
    group_figures,
    needs_labels,
    over_sets,
)
from affectkit.evaluation.over_sets import BiasOverSets
from affectkit.evaluation.predict import AnswerOptions, blank, predict
from affectkit.evaluation.prediction import CountMetric, Prediction
from affectkit.evaluation.score import Scoring
from affectkit.evaluation.sensitivity import label_metrics
from affectkit.files import write_json_atomic
from affectkit.plan.use import Use
from affectkit.registry import Registry
from affectkit.report.render import count_text
from affectkit.report.results import distinct_names
from affectkit.sample import LABEL, Sample, labels_in
from affectkit.studies import cross as crossing
from affectkit.studies.cells import CellStore, LazyRun, MatrixCell, of_samples
from affectkit.studies.matrix import CrossOptions, MatrixColumn, open_columns
from affectkit.studies.suite import split_overrides
from affectkit.train.run_folder import open_run


class CrossRun(LazyRun):
    """A run of the matrix: the metrics of labels that its recipe names, and what it came to, by data set."""

    def __init__(self, name: str, path: str | Path, overrides: Sequence[str], how: CrossOptions) -> None:
        super().__init__(name, path, overrides, how)
        needs_labels(self.plan, f"cross {name}")
        self.metrics: dict[str, CountMetric] = label_metrics(self.plan, f"cross {name}")
        self.shared: dict[str, crossing.SharedLabels] = {}
        """Samples of labels that both have."""
        self.cells: dict[str, crossing.CellFigures] = {}
        self.draws: dict[str, dict[str, np.ndarray]] = {}
        """Those of each metric, where there are figures."""
        self.bias: BiasOverSets | None = None

    @property
    def data(self) -> Use:
        """The data that it was trained on."""
        assert self.plan.data is not None
        return self.plan.data


def cross(
    runs: Sequence[str | Path],
    out: str | Path,
    on: Sequence[str] = (),
    overrides: Sequence[str] = (),
    split: str = "test",
    how: CrossOptions | None = None,
) -> crossing.CrossFigures:
    """Ask every run about every data set of `on`, or about the data of all runs where it is empty; returns the matrix.

    Writes the page to `out` (.html) with .md and .json beside it, and the answers of each cell to a folder of that name. What
    is done there stays done, while the run, the data and the labels that both share are the same.

    Raises InputError for a run, a data set or a label of `how.given` that is wrong, where no data set is there, and where a
    view must find faces, names no detector, and clips have no boxes.
    """
    how = how or CrossOptions()
    registry = Registry.load(how.plugins[0])
    of_suite, others = split_overrides(overrides)
    names = distinct_names([open_run(run).folder.name for run in runs], runs)
    ours = [CrossRun(name, run, others, how) for name, run in zip(names, runs, strict=True)]
    if not on and of_suite:
        raise InputError(Problem(f"override {of_suite[0]!r}", "is for a suite", "name it with --on"))
    data = [(one.name, one.data) for one in ours]
    columns = crossing.columns_on(on, overrides, split, registry) if on else crossing.own_columns(data, split)
    samples, missing = open_columns(columns)
    for name, why in missing.items():
        how.say(f"{name} is not there: {why}")
    if not samples:
        raise InputError(
            [Problem(name, why) for name, why in missing.items()] or [Problem("--on", "names no data set")]
        )
    _share(ours, samples, how, whole=not missing)
    there = [c for c in columns if c.name in samples]
    begun = time.monotonic()
    for one in ours:
        _fill(one, there, Path(out).with_suffix(""))
        one.forget()
    shown = [
        metric for metric in ours[0].metrics if all(metric in one.cells[c].metrics for one in ours for c in one.draws)
    ]
    told = crossing.CrossFigures(
        rows=tuple(crossing.AboutRow(one.name, str(one.run.folder), one.data.piece.name, one.labels) for one in ours),
        columns=tuple(crossing.about_column(column, samples[column.name]) for column in there),
        metrics=tuple(shown),
        cells={one.name: one.cells for one in ours},
        elsewhere={one.name: crossing.elsewhere(one.cells, one.draws, shown) for one in ours},
        missing=missing,
        seconds=round(time.monotonic() - begun, 2),
        bias={one.name: one.bias for one in ours if one.bias} or None,
    )
    write_json_atomic(Path(out).with_suffix(".json"), told.to_dict())
    crossing.write_matrix(told, Path(out))
    return told


def _share(ours: Sequence[CrossRun], samples: Mapping[str, Sequence[Sample]], how: CrossOptions, whole: bool) -> None:
    """Find what each run shares with each data set; `whole`: no data set is missing. Raises InputError as `cross` does."""
    theirs = [labels_in(every) for every in samples.values()]
    crossing.check_given(how.given or {}, [one.labels for one in ours], theirs, whole)
    problems: list[Problem] = []
    for one in ours:
        one.shared = {
            n: crossing.SharedLabels(every, one.labels or labels_in(every), how.given) for n, every in samples.items()
        }
        problems += face_problems(one.plan, {n: shared for n, shared in one.shared.items() if len(shared.labels) > 1})
    if problems:
        raise InputError(problems)


def _fill(one: CrossRun, columns: Sequence[MatrixColumn], folder: Path) -> None:
    """One run on every data set."""
    plan, how = one.plan, one.how
    of_people: dict[str, SetAnswers] = {}
    of_run = one.fingerprint()
    for place, column in enumerate(columns):
        shared, store = one.shared[column.name], CellStore(folder, one.name, column.name)
        fingerprint = {
            **of_run,
            "labels": digest(shared.labels, sorted(shared.names.items())),
            "data": of_samples((*shared.matched, *shared.unmatched), one.hashes),
        }
        answers = MatrixCell(f"{one.name} on {column.name}", store, fingerprint, how).filled(
            f"{count_text(len(shared), 'sample')}, {count_text(len(shared.labels), 'label')}",
            partial(_answers, one, shared),
        )
        scoring = Scoring(one.metrics, shared.labels, plan.run.seed + place, plan.score.resamples)
        about, draws = crossing.cell(shared, answers, scoring.metrics, scoring.resamples, scoring.seed)
        one.cells[column.name] = replace(about, own=one.data.block() == column.data.block())
        one.draws |= {column.name: draws} if draws else {}
        if draws and how.by_people:
            people = store.people(shared, partial(_estimates, one, shared) if plan.reads else None)
            of_people[column.name] = SetAnswers(answers, people, scoring)
    if how.by_people:
        sets = {name: group_figures(of.answers, of.people, of.how) for name, of in of_people.items()}
        without = {c.name: "has no figure" for c in columns if c.name not in of_people}
        one.bias = BiasOverSets(sets, over_sets(of_people), without)


def _answers(one: CrossRun, shared: crossing.SharedLabels) -> list[Prediction]:
    """What became of every sample: those of strange labels are skipped."""
    options = AnswerOptions.of(one.plan.score, LABEL, one.plan.method(LABEL))
    found: list[Prediction] = []
    if len(shared) and len(shared.labels) > 1:
        asked = predict(one.loaded.model, shared, shared.labels, one.cache, options)
        found = [protocols.finalise(p) for p in asked]
    elif len(shared):
        found = [_skipped(x, options, "the run shares fewer than two labels with the data set") for x in shared]
    why = "the run does not know its label {}"
    return found + [
        _skipped(x, options, why.format(repr(x.label) if x.label else crossing.NO_LABEL)) for x in shared.unmatched
    ]


def _estimates(one: CrossRun, samples: Sequence[Sample]) -> Estimates:
    """What the run's steps estimate of people."""
    return estimates(BiasProbe(one.loaded.model, samples, one.cache, one.how.say))


def _skipped(sample: Sample, options: AnswerOptions, why: str) -> Prediction:
    return replace(blank(sample, options), state="skipped", truth=None, error=why)
