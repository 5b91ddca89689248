"""Trained runs asked about several data sets: every cell of the matrix, its answers and the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from affectkit.api import Loaded, load
from affectkit.data.splits import face_problems
from affectkit.encode.cache import Cache, Memo
from affectkit.errors import InputError, Problem
from affectkit.evaluation import protocol as protocols
from affectkit.evaluation.answer import Question, blank, predict
from affectkit.evaluation.bias import FIELDS, Estimates, Known, OfSet, Trial, estimates, group_figures, known, over_sets
from affectkit.evaluation.groups import Scoring
from affectkit.evaluation.prediction import Metric, Prediction
from affectkit.evaluation.sensitivity import label_metrics
from affectkit.files import read_json, write_json_atomic
from affectkit.plan.check import check
from affectkit.plan.metrics import LABEL
from affectkit.plan.plan import Plan
from affectkit.plan.use import Use
from affectkit.registry import Registry
from affectkit.report.page import counted
from affectkit.sample import Fact, Sample, labels_in
from affectkit.studies import cross_page as cross_pages
from affectkit.studies.cross import (
    NO_LABEL,
    Column,
    Row,
    Shared,
    about_column,
    cell,
    check_given,
    columns_on,
    elsewhere,
    opened,
    own_columns,
)
from affectkit.studies.cross_cells import Hashes, Kept, of_data, of_run
from affectkit.studies.suite import parted
from affectkit.train.run_folder import Run, evaluated, open_run

Say = Callable[[str], None]


@dataclass(frozen=True)
class How:
    """What a user says beside runs and data sets."""

    given: Mapping[str, str] | None = None
    """Labels of data sets to those of runs, where names do not tell."""
    plugins: tuple[Sequence[str | Path], bool] = ((), False)
    """Plugin files, and whether those that recipes name are loaded too."""
    again: bool = False
    """Whether cells that are done are asked again."""
    by_people: bool = False
    """Whether to add figures by age, gender and race."""
    say: Say = print


class LazyRun:
    """A run of the matrix; it is loaded when the first of its cells has to be asked."""

    def __init__(self, name: str, path: str | Path, overrides: Sequence[str], how: How) -> None:
        self.name, self.path, self.overrides, self.how = name, path, overrides, how
        self.run: Run = open_run(path)
        self.plan: Plan = check(self.run.recipe, overrides, *how.plugins)
        self.labels: tuple[str, ...] = tuple(read_json(self.run.about).get("labels") or ())
        self.metrics: dict[str, Metric] = label_metrics(self.plan, name)

    @property
    def data(self) -> Use:
        """The data that it was trained on."""
        assert self.plan.data is not None
        return self.plan.data

    @cached_property
    def loaded(self) -> Loaded:
        """The run as a model."""
        return load(self.path, self.overrides, *self.how.plugins)

    @cached_property
    def cache(self) -> Cache:
        """The feature cache."""
        return Cache(self.plan.cache_folder)

    def estimate(self, samples: Sequence[Sample]) -> Callable[[], Estimates] | None:
        """What its steps estimate of people, when called; None where no step does."""
        if not self.plan.reads:
            return None
        return lambda: estimates(Trial(self.loaded.model, samples, self.cache, self.how.say))

    def forget(self) -> None:
        """Let go of the model: the next run needs the memory."""
        self.__dict__.pop("loaded", None)
        self.__dict__.pop("cache", None)

    @cached_property
    def hashes(self) -> Hashes:
        """Contents of files."""
        return Hashes(Memo(self.plan.cache_folder))

    @cached_property
    def hangs_on(self) -> dict[str, str]:
        """What all its cells hang on."""
        return of_run(self.plan, evaluated(self.run), self.hashes)


def cross(
    runs: Sequence[str | Path],
    out: str | Path,
    on: Sequence[str] = (),
    overrides: Sequence[str] = (),
    split: str = "test",
    how: How | None = None,
) -> dict[str, Any]:
    """Ask every run about every data set of `on`, or about the data of all runs where it is empty; returns the matrix.

    Writes the page to `out` (.html) with .md and .json beside it, and the answers of each cell to a folder of that name. What
    is done there stays done, while the run, the data and the labels that both share are the same.

    Raises InputError for a run, a data set or a label of `how.given` that is wrong, where no data set is there, and where a
    view must find faces, names no detector, and clips have no boxes.
    """
    how = how or How()
    registry = Registry.load(how.plugins[0])
    others = parted(overrides)[1]
    ours = [LazyRun(name, run, others, how) for name, run in zip(_names(runs), runs, strict=True)]
    if not on and parted(overrides)[0]:
        raise InputError(Problem(f"override {parted(overrides)[0][0]!r}", "is for a suite", "name it with --on"))
    data = [(one.name, one.data) for one in ours]
    columns = columns_on(on, overrides, split, registry) if on else own_columns(data, split)
    samples, missing = opened(columns)
    for name, why in missing.items():
        how.say(f"{name} is not there: {why}")
    if not samples:
        raise InputError(
            [Problem(name, why) for name, why in missing.items()] or [Problem("--on", "names no data set")]
        )
    theirs = [labels_in(s) for s in samples.values()]
    check_given(how.given or {}, [one.labels for one in ours], theirs, whole=not missing)
    shares = [_shared(one, samples) for one in ours]
    problems = [p for one, shared in zip(ours, shares, strict=True) for p in face_problems(one.plan, _asked(shared))]
    if problems:
        raise InputError(problems)
    there = [c for c in columns if c.name in samples]
    begun = time.monotonic()
    rows = []
    for one, shared in zip(ours, shares, strict=True):
        rows.append(_row(one, there, shared, Path(out).with_suffix("")))
        one.forget()
    shown = [name for name in ours[0].metrics if all(_has(row, name) for row in rows)]
    told = _told(rows, there, samples, shown, missing)
    told["seconds"] = round(time.monotonic() - begun, 2)
    write_json_atomic(Path(out).with_suffix(".json"), told)
    cross_pages.write(told, Path(out))
    return told


def _shared(one: LazyRun, samples: Mapping[str, Sequence[Sample]]) -> dict[str, Shared]:
    """By data set, the samples of labels that it shares with a run."""
    return {name: Shared(every, one.labels or labels_in(every), one.how.given) for name, every in samples.items()}


def _asked(shares: Mapping[str, Shared]) -> dict[str, Shared]:
    """Those that a run is asked about: they share two labels or more."""
    return {name: shared for name, shared in shares.items() if len(shared.labels) > 1}


def _names(runs: Sequence[str | Path]) -> list[str]:
    """Folder names, or paths where two are the same."""
    names = [open_run(run).folder.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def _row(one: LazyRun, columns: Sequence[Column], shares: Mapping[str, Shared], folder: Path) -> Row:
    """One run on every data set."""
    plan = one.plan
    of_people: dict[str, OfSet] = {}
    row = Row(one.name, str(one.run.folder), one.data.piece.name, one.labels)
    for place, column in enumerate(columns):
        shared = shares[column.name]
        kept = Kept(folder, one.name, column.name)
        answers = _cell(one, shared, column.name, kept)
        scoring = Scoring(one.metrics, shared.labels, plan.run.seed + place, plan.score.resamples)
        about, draws = cell(shared, answers, scoring.metrics, scoring.resamples, scoring.seed)
        row.cells[column.name] = {"own": one.data.block() == column.data.block(), **about}
        if draws:
            row.draws[column.name] = draws
        if draws and one.how.by_people:
            of_people[column.name] = OfSet(answers, people(kept, shared, one.estimate(shared)), scoring)
    if one.how.by_people:
        row.bias = of_row(of_people, [c.name for c in columns])
    return row


def _cell(one: LazyRun, shared: Shared, column: str, kept: Kept) -> list[Prediction]:
    """The answers of a cell: those that are there, or asked now and written."""
    name = f"{one.name} on {column}"
    hangs = {**one.hangs_on, **of_data(shared, one.hashes)}
    answers, why = (None, "") if one.how.again else kept.read(hangs)
    if answers is not None:
        one.how.say(f"{name}: done before")
        return answers
    again = f", asked again: {why}" if why else ""
    one.how.say(f"{name}: {counted(len(shared), 'sample')}, {counted(len(shared.labels), 'label')}{again}")
    answers = _answers(one.loaded, shared, one.cache)
    kept.write(answers, hangs)
    return answers


def _answers(loaded: Loaded, shared: Shared, cache: Cache) -> list[Prediction]:
    """What became of every sample: those of strange labels are skipped."""
    s = loaded.plan.score
    question = Question(LABEL, s.method, s.batch, s.strict, s.most_tokens)
    found: list[Prediction] = []
    if len(shared) and len(shared.labels) > 1:
        found = [protocols.settled(p) for p in predict(loaded.model, shared, shared.labels, cache, question)]
    elif len(shared):
        found = [_skipped(x, question, "the run shares fewer than two labels with the data set") for x in shared]
    why = "the run does not know its label {}"
    return found + [_skipped(x, question, why.format(repr(x.label) if x.label else NO_LABEL)) for x in shared.left]


def _skipped(sample: Sample, question: Question, why: str) -> Prediction:
    return replace(blank(sample, question), state="skipped", truth=None, error=why)


def _has(row: Row, metric: str) -> bool:
    """Whether every cell that has figures has this one."""
    return all(metric in row.cells[c] for c in row.draws)


def _told(
    rows: Sequence[Row],
    columns: Sequence[Column],
    samples: Mapping[str, Sequence[Sample]],
    metrics: Sequence[str],
    missing: Mapping[str, str],
) -> dict[str, Any]:
    """What the .json holds: `rows`, `columns`, `metrics`, `cells` by row and column, `elsewhere` by row, `missing`;
    `bias` by row, where it was asked for."""
    return {
        "rows": [{"name": r.name, "run": r.folder, "trained_on": r.trained_on, "labels": list(r.labels)} for r in rows],
        "columns": [about_column(c, samples[c.name]) for c in columns],
        "metrics": list(metrics),
        "cells": {r.name: r.cells for r in rows},
        "elsewhere": {r.name: elsewhere(r, metrics) for r in rows},
        "missing": dict(missing),
        **({"bias": {r.name: r.bias for r in rows}} if any(r.bias for r in rows) else {}),
    }


def people(kept: Kept, samples: Sequence[Sample], estimate: Callable[[], Estimates] | None) -> Known:
    """Who is in a cell: labels, and for fields without any what the run's steps estimate (None: it has no such steps), which
    is kept beside the answers."""
    labelled = known(samples, {})
    if estimate is None or all(field in labelled.words for field in FIELDS):
        return labelled
    words = kept.estimates()
    if words is None:
        words = {
            i: {n: str(f.value) for n, f in facts.items() if f.origin == "estimate" and not f.per_frame}
            for i, facts in estimate().items()
        }
        kept.note_estimates(words)
    return known(
        samples, {i: {name: Fact(word, "estimate") for name, word in facts.items()} for i, facts in words.items()}
    )


def of_row(cells: Mapping[str, OfSet], columns: Sequence[str]) -> dict[str, Any]:
    """`sets` (groups of each data set), `over` all of them, and `without`, those that have no figure."""
    return {
        "sets": {name: group_figures(one.answers, one.people, one.how) for name, one in cells.items()},
        "over": over_sets(cells),
        "without": {name: "has no figure" for name in columns if name not in cells},
    }
