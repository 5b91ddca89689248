"""Runs on data sets as a matrix: what is asked, its figures, and how they read on a page and in the terminal.

Label sets differ, so a cell is over the labels that run and data set share: the run is asked with its own words for them, and
samples with another label are left out and counted. Both sides are cut alike, which is fair to the run and makes cells of
one row comparable only where their labels are the same: every cell says which they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from affectkit.errors import InputError, Problem, unknown
from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import Figure, Ledger, Record, beside
from affectkit.evaluation.groups import SMALL
from affectkit.evaluation.over_sets import BiasOverSets
from affectkit.evaluation.prediction import ANSWERED, Metric, Prediction
from affectkit.evaluation.score import count, ledger
from affectkit.plan.use import Checker, Use
from affectkit.recipe.load import SUITES, find_in, read_file, shipped_folder, shipped_in
from affectkit.registry import Registry
from affectkit.report import bias as bias_pages
from affectkit.report.page import Cell, Fold, Grid, Heading, Page, PageBlock, Paragraph, Picture, side_by_side
from affectkit.report.render import count_text, text, title, write_page
from affectkit.report.results import read_run
from affectkit.report.run import shared_warnings
from affectkit.report.terminal import print_blocks
from affectkit.sample import LABEL, Sample, labels_in
from affectkit.studies.matrix import MatrixColumn, mean_over
from affectkit.studies.suite import load_suite, split_overrides

NO_LABEL = "(no label)"

ELSEWHERE = "mean elsewhere"


class SharedLabels(Sequence[Sample]):
    """The samples of a split whose label a run knows, with the run's word for it; `labels` are those words."""

    def __init__(self, samples: Sequence[Sample], ours: Sequence[str], given: Mapping[str, str] | None = None) -> None:
        every = [samples[i] for i in range(len(samples))]
        theirs = labels_in(samples) or tuple(sorted({s.label for s in every if s.label}))
        self.names = map_labels(theirs, ours, given)
        """Label of the data set to the run's word."""
        self.labels = tuple(label for label in ours if label in self.names.values())
        self.matched = [s for s in every if s.label in self.names]
        self.unmatched = [s for s in every if s.label not in self.names]
        """Samples whose label the run does not know."""
        self.strange = tuple(label for label in ours if label not in self.labels)
        """Labels that the run knows and the data set does not have."""

    def __len__(self) -> int:
        return len(self.matched)

    def __getitem__(self, index: Any) -> Any:
        sample = self.matched[index]
        return replace(sample, label=self.names[sample.label])


@dataclass(frozen=True)
class CellFigures(Record):
    """One run on one data set."""

    count: int
    """Answered samples."""
    labels: tuple[str, ...]
    """Those that both share."""
    mapped: Mapping[str, str]
    """Labels of the data set that are called otherwise by the run."""
    left_out: Mapping[str, int]
    """Samples by label that the run does not know."""
    strange: tuple[str, ...]
    """Labels of the run that the data set lacks."""
    ledger: Ledger
    own: bool = False
    """Whether the run was trained on this data."""
    why: str | None = None
    """Why there is no figure."""
    metrics: Mapping[str, Figure] = beside()


@dataclass(frozen=True)
class Elsewhere(Figure):
    """The mean of a metric over the data sets that are not the run's own."""

    sets: int


@dataclass(frozen=True)
class AboutRow(Record):
    """A run."""

    name: str
    run: str
    trained_on: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class AboutColumn(Record):
    """A data set: its reader, split, size, and how many samples are stills, clips and sound."""

    name: str
    reader: str
    split: str
    samples: int
    stills: int
    clips: int
    sounds: int
    labels: tuple[str, ...]


@dataclass(frozen=True)
class CrossFigures(Record):
    """What the .json of the matrix holds."""

    rows: tuple[AboutRow, ...]
    columns: tuple[AboutColumn, ...]
    metrics: tuple[str, ...]
    cells: Mapping[str, Mapping[str, CellFigures]]
    """By row and column."""
    elsewhere: Mapping[str, Mapping[str, Elsewhere]]
    """By row and metric."""
    missing: Mapping[str, str]
    """Data sets that are not there, and why."""
    seconds: float
    bias: Mapping[str, BiasOverSets] | None = None
    """By row, where it was asked for."""


def columns_on(on: Sequence[str], overrides: Sequence[str], split: str, registry: Registry) -> list[MatrixColumn]:
    """The data sets of `--on`: a suite by name or file, a recipe, a run folder, or a file with a block `data`.

    Raises InputError for what is none of these, for mistakes in them, and for a name that occurs twice.
    """
    own = split_overrides(overrides)[0]
    found: list[MatrixColumn] = []
    suites = 0
    for source in on:
        path = _file(source)
        recipe = read_file(path, source)
        if recipe.get("sets") is not None or path.parent == shipped_folder() / SUITES:
            suites += 1
            suite = load_suite(source, own, registry)
            asked = [e for e in suite.sets.values() if not e.settings.choices]
            found += [MatrixColumn(e.name, e.data, e.settings.split) for e in asked]
            continue
        if recipe.problems:
            raise InputError(recipe.in_order(recipe.problems))
        problems: list[Problem] = []
        block = Checker(recipe, registry, problems).block(("data",), "dataset")
        if problems or block is None:
            raise InputError(problems)
        name = path.parent.name if Path(source).is_dir() else str(recipe.get("name") or path.stem)
        found.append(MatrixColumn(name, block, split))
    if own and not suites:
        what = "is an override of a suite, and `--on` names none"
        raise InputError(Problem(f"override {own[0]!r}", what, "change the file itself"))
    twice = [name for name, times in Counter(c.name for c in found).items() if times > 1]
    if twice:
        raise InputError(
            Problem("--on", f"two data sets are called {twice[0]!r}", "give one of the files another name")
        )
    return found


def _file(source: str) -> Path:
    """The YAML file that `source` names."""
    if Path(source).is_dir() and (Path(source) / "recipe.yaml").is_file():
        return Path(source) / "recipe.yaml"
    path = find_in(SUITES, source)
    if path is None:
        also = "give a suite, a recipe, a run folder or a file with a block `data`"
        raise InputError(unknown("--on", "data set", source, shipped_in(SUITES), also))
    return path


def own_columns(rows: Sequence[tuple[str, Use]], split: str) -> list[MatrixColumn]:
    """The runs' own data, each once, called like its reader, or like its run where two readers are the same."""
    distinct: list[tuple[str, Use]] = []
    for name, use in rows:
        if all(use.block() != other.block() for _, other in distinct):
            distinct.append((name, use))
    readers = Counter(use.piece.name for _, use in distinct)
    return [
        MatrixColumn(use.piece.name if readers[use.piece.name] == 1 else name, use, split) for name, use in distinct
    ]


def check_given(
    given: Mapping[str, str], ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]], whole: bool
) -> None:
    """Raises InputError where `--map` names a label that no data set has (asked if all of them are there: `whole`), or maps
    one to a label that no run has; a run or data set without a list of labels may have any."""
    run_labels, set_labels = ({n for labels in side for n in labels} for side in (ours, theirs))
    found = []
    for label, choice in given.items():
        if whole and all(theirs) and label not in set_labels:
            found.append(unknown("--map", "label of the data sets", label, set_labels))
        if choice and all(ours) and choice not in run_labels:
            found.append(unknown("--map", "label of the runs", choice, run_labels))
    if found:
        raise InputError(found)


def about_column(column: MatrixColumn, samples: Sequence[Sample]) -> AboutColumn:
    """What a data set is."""
    every = [samples[i] for i in range(len(samples))]
    stills = sum(s.image is not None and s.video is None for s in every)
    clips = sum(s.video is not None for s in every)
    return AboutColumn(
        column.name,
        column.data.piece.name,
        column.split,
        samples=len(every),
        stills=stills,
        clips=clips,
        sounds=len(every) - stills - clips,
        labels=tuple(labels_in(samples)),
    )


def cell(
    shared: SharedLabels, predictions: Sequence[Prediction], metrics: Mapping[str, Metric], resamples: int, seed: int
) -> tuple[CellFigures, dict[str, np.ndarray]]:
    """Figures of one run on one data set, and the draws of each metric. Metrics are empty where nothing is shared."""
    answered = [p for p in predictions if p.task == LABEL and p.truth is not None and p.state in ANSWERED]
    about = CellFigures(
        len(answered),
        shared.labels,
        mapped={theirs: ours for theirs, ours in shared.names.items() if theirs != ours},
        left_out=dict(Counter(s.label or NO_LABEL for s in shared.unmatched).most_common()),
        strange=shared.strange,
        ledger=ledger(predictions),
    )
    if not answered or len(shared.labels) < 2:
        why = "fewer than two labels are shared" if len(shared.labels) < 2 else "no sample was answered"
        return replace(about, why=why), {}
    draws = {n: bootstrap.draws(m, answered, shared.labels, seed, None, resamples) for n, m in metrics.items()}
    found = bootstrap.of_counts(metrics, count(answered, shared.labels), resamples, seed)
    return replace(about, metrics=found), draws


def elsewhere(
    cells: Mapping[str, CellFigures], draws: Mapping[str, Mapping[str, np.ndarray]], metrics: Sequence[str]
) -> dict[str, Elsewhere]:
    """Each metric's mean over the data sets that are not the run's own, with its interval and how many they are."""
    others = [name for name, one in cells.items() if not one.own and name in draws]
    found = {}
    for metric in metrics if others else ():
        values = [v for name in others if (v := cells[name].metrics[metric].value) is not None]
        if len(values) == len(others):
            mean = mean_over(values, [draws[name][metric] for name in others])
            found[metric] = Elsewhere(mean.value, mean.low, mean.high, len(others))
    return found


FAMILIES = (
    ("neutral", "neutrality", "none", "calm", "no emotion"),
    ("happy", "happiness", "joy", "joyful"),
    ("sad", "sadness"),
    ("angry", "anger"),
    ("fear", "fearful", "afraid", "scared"),
    ("surprise", "surprised"),
    ("disgust", "disgusted"),
    ("contempt", "contemptuous"),
    ("worried", "worry"),
    ("anxiety", "anxious"),
    ("helplessness", "helpless"),
    ("disappointment", "disappointed"),
    ("frustration", "frustrated"),
    ("excitement", "excited"),
)
"""Names that data sets of expressions have for one class. Nothing else is taken for the same: fear is not worry."""

_HEADS = {name: family[0] for family in FAMILIES for name in family}


def key(label: str) -> str:
    """What labels that mean the same have in common: case, blanks and the form of the word are not it."""
    plain = re.sub(r"[\s_\-]+", " ", label.strip().casefold())
    return _HEADS.get(plain, plain)


def map_labels(theirs: Sequence[str], ours: Sequence[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Their label to ours, for those that have one: as `given` says, else the same word, else one that means the same.

    Where several of ours mean the same, the first counts. A label that `given` maps to the empty string has none.
    """
    alike = {key(label): label for label in reversed(ours)}
    found = {}
    for label in theirs:
        if given and label in given:
            choice = given[label] if given[label] in ours else ""
        else:
            choice = label if label in ours else alike.get(key(label), "")
        if choice:
            found[label] = choice
    return found


def write_matrix(told: CrossFigures, out: Path) -> None:
    """Write the page as .html and .md."""
    about = f"{count_text(len(told.rows), 'run')} on {count_text(len(told.columns), 'data set')}"
    write_page(Page("Across data sets", about, tuple(_blocks(told))), out)


def _blocks(told: CrossFigures) -> Iterator[PageBlock]:
    from affectkit.report.pictures import matrix_picture

    yield from shared_warnings([(row.name, read_run(row.run)) for row in told.rows])
    for name, why in told.missing.items():
        yield Paragraph(f"{name} is missing: {why}", "warn")
    for number, metric in enumerate(told.metrics):
        yield Heading(title(metric))
        if number == 0:
            mean = "; the mean elsewhere is over the other data sets" if any(told.elsewhere.values()) else ""
            yield Paragraph(
                "Rows are runs, columns data sets; * is a run's own data. A cell is over the labels that both share. "
                f"95 % bootstrap intervals over samples{mean}.",
                "quiet",
            )
            yield Picture(
                matrix_picture(*_values(told, metric)), f"{title(metric)} of runs on data sets, as in the table"
            )
        yield matrix(told, metric)
    yield Heading("Every run on every data set")
    yield cells(told)
    for line in notes(told):
        yield Paragraph(line, "quiet")
    for run, found in (told.bias or {}).items():
        yield from bias_pages.set_blocks(found, SMALL, Heading(f"Bias of {run}: age, gender, race"))
        yield from bias_pages.group_folds(found, SMALL)
    rows = tuple((c.name, c.reader, c.split, c.samples, c.stills, c.clips, ", ".join(c.labels)) for c in told.columns)
    yield Fold("Data sets", (Grid(("data set", "reader", "split", "samples", "stills", "clips", "labels"), rows),))


def matrix(told: CrossFigures, metric: str) -> Grid:
    """One metric: a row a run, a column a data set."""
    names = [c.name for c in told.columns]
    mean = any(metric in one for one in told.elsewhere.values())
    rows: list[tuple[Cell, ...]] = []
    for row in told.rows:
        found = told.cells[row.name]
        figures = [text(found[n].metrics.get(metric)) + ("\u00a0*" if found[n].own else "") for n in names]
        rest = (text(told.elsewhere[row.name].get(metric)),) if mean else ()
        rows.append((row.name, row.trained_on, *figures, *rest))
    return Grid(("run", "trained on", *names, *((ELSEWHERE,) if mean else ())), tuple(rows), named=True)


def cells(told: CrossFigures) -> Grid:
    """One table over all: a row a cell, a column a metric."""
    rows: list[tuple[Cell, ...]] = []
    kinds = {c.name: _kind(c) for c in told.columns}
    for run, found in told.cells.items():
        for name, one in found.items():
            figures = side_by_side([one.metrics.get(m) for m in told.metrics])
            left = sum(one.left_out.values())
            mark = " *" if one.own else ""
            rows.append((run, name + mark, kinds[name], one.count, left, len(one.labels), *figures))
    head = ("run", "data set", "media", "samples", "left out", "labels", *map(title, told.metrics))
    return Grid(head, tuple(rows), named=True)


def notes(told: CrossFigures) -> Iterator[str]:
    """What was mapped by name, and what could not be."""
    for run, found in told.cells.items():
        for name, one in found.items():
            parts = []
            if one.mapped:
                parts.append("taken for the same: " + ", ".join(f"{a} = {b}" for a, b in one.mapped.items()))
            if one.left_out:
                parts.append("left out: " + ", ".join(f"{n} {label}" for label, n in one.left_out.items()))
            if one.strange:
                parts.append("not offered, since no label of the data set is taken for it: " + ", ".join(one.strange))
            if one.why:
                parts.append(f"no figure: {one.why}")
            if parts:
                yield f"{run} on {name}: {'; '.join(parts)}."


def print_matrix(results: CrossFigures, say: Callable[[str], None]) -> None:
    """The same in the terminal."""
    for metric in results.metrics:
        print_blocks((Heading(title(metric)), matrix(results, metric)), say)
    for line in notes(results):
        say(line)
    for run, found in (results.bias or {}).items():
        print_blocks(bias_pages.set_blocks(found, SMALL), say, run)


def _values(told: CrossFigures, metric: str) -> tuple[list[str], list[str], list[list[float | None]], list[list[bool]]]:
    columns = [c.name for c in told.columns]
    cells = [[told.cells[row.name][c] for c in columns] for row in told.rows]
    values = [[one.value if (one := cell.metrics.get(metric)) else None for cell in row] for row in cells]
    return [row.name for row in told.rows], columns, values, [[cell.own for cell in row] for row in cells]


def _kind(column: AboutColumn) -> str:
    """Stills, clips or sound, or several of them."""
    counts = {"stills": column.stills, "clips": column.clips, "sounds": column.sounds}
    return ", ".join(kind for kind, count in counts.items() if count)
