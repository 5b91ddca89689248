"""Trained runs asked about several data sets: every cell of the matrix, its answers and the page."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from affectkit import cross_pages, protocols
from affectkit.answer import Question, blank, predict
from affectkit.cache import Cache
from affectkit.crossing import (
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
from affectkit.errors import InputError, Problem
from affectkit.evaluation import cache_folder
from affectkit.files import read_json, write_json_atomic
from affectkit.loading import Loaded, load
from affectkit.plan import check
from affectkit.registry import Registry
from affectkit.runs import open_run
from affectkit.sample import Sample
from affectkit.score import Metric, Prediction, write_predictions
from affectkit.sensitivity import label_metrics
from affectkit.suites import parted
from affectkit.uses import Use
from affectkit.wanted import LABEL

Say = Callable[[str], None]


def cross(
    runs: Sequence[str | Path],
    out: str | Path,
    on: Sequence[str] = (),
    overrides: Sequence[str] = (),
    split: str = "test",
    given: Mapping[str, str] | None = None,
    plugins: tuple[Sequence[str | Path], bool] = ((), False),
    say: Say = print,
) -> dict[str, Any]:
    """Ask every run about every data set of `on`, or about the data of all runs where it is empty; returns the matrix.

    Writes the page to `out` (.html) with .md and .json beside it, and the answers of each cell to a folder of that name.
    `given` maps labels of data sets to those of runs, where names do not tell; `plugins` are files and whether those that
    recipes name are loaded too.

    Raises InputError for a run, a data set or a label of `given` that is wrong, and where no data set is there.
    """
    registry = Registry.load(plugins[0])
    others = parted(overrides)[1]
    named = _names(runs)
    data = {name: _data(open_run(run).recipe, others, plugins) for name, run in zip(named, runs, strict=True)}
    if not on and parted(overrides)[0]:
        raise InputError(Problem(f"override {parted(overrides)[0][0]!r}", "is for a suite", "name it with --on"))
    columns = columns_on(on, overrides, split, registry) if on else own_columns(list(data.items()), split)
    samples, missing = opened(columns)
    for name, why in missing.items():
        say(f"{name} is not there: {why}")
    if not samples:
        raise InputError(
            [Problem(name, why) for name, why in missing.items()] or [Problem("--on", "names no data set")]
        )
    ours = [read_json(open_run(run).about).get("labels") or () for run in runs]
    check_given(given or {}, ours, [getattr(s, "labels", ()) for s in samples.values()], whole=not missing)
    there = [c for c in columns if c.name in samples]
    folder = Path(out).with_suffix("")
    begun = time.monotonic()
    rows: list[Row] = []
    metrics: tuple[str, ...] = ()
    for name, run in zip(named, runs, strict=True):
        loaded = load(run, others, *plugins)
        own = label_metrics(loaded.plan, str(run))
        metrics = metrics or tuple(own)
        rows.append(_row(name, loaded, data[name], there, samples, given, folder, say))
    told = _told(rows, there, samples, [n for n in metrics if all(_has(r, n) for r in rows)], missing)
    told["seconds"] = round(time.monotonic() - begun, 2)
    write_json_atomic(Path(out).with_suffix(".json"), told)
    cross_pages.write(told, Path(out))
    return told


def _names(runs: Sequence[str | Path]) -> list[str]:
    """Folder names, or paths where two are the same."""
    names = [open_run(run).folder.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def _data(recipe: Path, overrides: Sequence[str], plugins: tuple[Sequence[str | Path], bool]) -> Use:
    """The data that a run was trained on."""
    plan = check(recipe, overrides, *plugins)
    assert plan.data is not None
    return plan.data


def _row(
    name: str,
    loaded: Loaded,
    data: Use,
    columns: Sequence[Column],
    samples: Mapping[str, Sequence[Sample]],
    given: Mapping[str, str] | None,
    folder: Path,
    say: Say,
) -> Row:
    """One run on every data set."""
    metrics = label_metrics(loaded.plan, name)
    s = loaded.plan.score
    row = Row(name, str(loaded.run.folder), data.piece.name, loaded.labels)
    cache = Cache(cache_folder(loaded.plan))
    for place, column in enumerate(columns):
        theirs = samples[column.name]
        shared = Shared(theirs, loaded.labels or tuple(getattr(theirs, "labels", ())), given)
        say(f"{name} on {column.name}: {len(shared)} samples, {len(shared.labels)} labels")
        answers = _answers(loaded, shared, cache)
        folder.mkdir(parents=True, exist_ok=True)
        write_predictions(folder / f"{_plain(name)}--{_plain(column.name)}.jsonl", answers)
        about, draws = cell(shared, answers, _of_counts(metrics), s.resamples, loaded.plan.run.seed + place)
        row.cells[column.name] = {"own": data.block() == column.data.block(), **about}
        if draws:
            row.draws[column.name] = draws
    return row


def _of_counts(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    return {n: m for n, m in metrics.items() if hasattr(m, "from_confusions")}


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


def _plain(name: str) -> str:
    """A name as part of a file's."""
    return re.sub(r"[^\w.-]+", "-", name)


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
    """What the .json holds: `rows`, `columns`, `metrics`, `cells` by row and column, `elsewhere` by row, `missing`."""
    return {
        "rows": [{"name": r.name, "run": r.folder, "trained_on": r.trained_on, "labels": list(r.labels)} for r in rows],
        "columns": [about_column(c, samples[c.name]) for c in columns],
        "metrics": list(metrics),
        "cells": {r.name: r.cells for r in rows},
        "elsewhere": {r.name: elsewhere(r, metrics) for r in rows},
        "missing": dict(missing),
    }
