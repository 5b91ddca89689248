"""The table of a suite for people: in the terminal and in reports, from RUN/suite.json alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from affectkit.evaluation.figures import Figure, Record, digits
from affectkit.evaluation.groups import SMALL
from affectkit.evaluation.over_sets import BiasOverSets
from affectkit.files import read_object
from affectkit.report import bias as bias_pages
from affectkit.report.page import Fold, Grid, Heading, PageBlock, Paragraph
from affectkit.report.terminal import print_blocks

FILE = "suite.json"
NONE = "–"
NOT_COMPARABLE = "NOT comparable"
"""What a metric's protocol says where it scored with tables of ours."""


@dataclass(frozen=True)
class SetFigures(Figure):
    """The primary metric of a data set."""

    count: int | None
    protocol: str
    also: Mapping[str, Figure]
    """Further figures of the metric, by title."""
    error: str | None = None
    """Why there is no value."""


@dataclass(frozen=True)
class Overall(Figure):
    """The mean over the data sets that have a value."""

    sets: int
    of: int
    """How many the suite has."""


@dataclass(frozen=True)
class PointFigures(Record):
    """A checkpoint."""

    checkpoint: str
    run: str
    sets: Mapping[str, SetFigures]
    overall: Overall | None = None


@dataclass(frozen=True)
class BestOfSet(Record):
    """The checkpoint with the largest figure of a data set."""

    value: float
    run: str
    checkpoint: str


@dataclass(frozen=True)
class Best(Record):
    """The best of k checkpoints on each data set."""

    name: str
    k: int
    sets: Mapping[str, BestOfSet]
    overall: float | None = None
    above: float | None = None
    """How far their mean lies above THE figure."""


@dataclass(frozen=True)
class SuiteColumn(Record):
    """A data set of the suite."""

    set: str
    column: str
    metric: str
    split: str
    task: str
    there: bool


@dataclass(frozen=True)
class OverallColumn(Record):
    """What stands in the last column."""

    how: str
    column: str


@dataclass(frozen=True)
class PublishedRow(Record):
    """Figures of a publication."""

    name: str
    source: str
    values: Mapping[str, float | None]
    overall: float | None
    same: float | None
    """Their mean over the sets that this evaluation has a figure of, to compare with."""


@dataclass(frozen=True)
class Encodings(Record):
    """How often clips were decoded and encoded in this evaluation; 0 for those that the cache had before."""

    clips: int
    encoded: int
    per_clip: float
    most: int


@dataclass(frozen=True)
class HandedIn(Record):
    """A file to hand in."""

    file: str
    rows: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SuiteFigures(Record):
    """What suite.json holds."""

    suite: str
    about: str
    file: str
    columns: tuple[SuiteColumn, ...]
    overall: OverallColumn
    percent: bool
    missing: Mapping[str, str]
    figure: PointFigures
    """THE figure: that of the first run's last checkpoint."""
    checkpoints: tuple[PointFigures, ...]
    published: tuple[PublishedRow, ...]
    encodings: Encodings
    seconds: float
    best_of: Best | None = None
    bias: BiasOverSets | None = None
    submission: HandedIn | None = None


def read_suite(folder: Path) -> SuiteFigures | None:
    """What an evaluation of a suite wrote; None for other runs."""
    return SuiteFigures.from_dict(read_object(folder / FILE)) if (folder / FILE).is_file() else None


def blocks(folder: Path) -> Iterator[PageBlock]:
    """The section of a report."""
    found = read_suite(folder)
    if not found:
        return
    yield Heading(f"Suite {found.suite}")
    if found.about:
        yield Paragraph(found.about, "quiet")
    yield _table(found)
    for line in notes(found):
        yield Paragraph(line, "quiet")
    if found.bias:
        yield from bias_pages.set_blocks(found.bias, SMALL)
    if found.best_of:
        yield Fold("All checkpoints, and the best of them on test data", (_checkpoints(found, found.best_of),))


def print_suite(folder: Path, say: Callable[[str], None]) -> None:
    """The same in the terminal, with the table of all checkpoints."""
    opened = ((Heading(one.title), *one.blocks) if isinstance(one, Fold) else (one,) for one in blocks(folder))
    print_blocks(chain.from_iterable(opened), say)


def notes(found: SuiteFigures) -> Iterator[str]:
    """What a reader has to know beside the table."""
    figure, overall = found.figure, found.figure.overall
    yield f"The figure is that of one checkpoint, {_point(figure)}, which no test data chose."
    if overall and overall.sets < overall.of:
        yield (
            f"{found.overall.column} is over {overall.sets} of {overall.of} data sets and not comparable with a "
            "published one over all; “same sets” is the mean of published figures over those that are here."
        )
    apart = [name for name, one in figure.sets.items() if NOT_COMPARABLE in one.protocol]
    if apart:
        yield f"NOT comparable with published figures, as their protocols below say: {', '.join(apart)}."
    for name, why in found.missing.items():
        yield f"{name} is missing: {why}"
    for name, one in figure.sets.items():
        if one.error:
            yield f"{name} has no figure: {one.error}"
    best = found.best_of
    if best:
        above = "" if best.above is None else f"; {_number(best.above, found)} above the figure"
        yield f"Apart from that, {best.name}{above}."
    counts, asked = found.encodings, len(found.checkpoints)
    many = f"{counts.encoded} times ({counts.per_clip:g} a clip)"
    yield f"{counts.clips} clips, decoded and encoded {many} for {asked} checkpoint{'s' if asked > 1 else ''}."
    for row in found.published:
        if row.source:
            yield f"{row.name}: {row.source}"
    handed_in = found.submission
    if handed_in:
        told = "; ".join(handed_in.notes)
        yield f"To hand in: {handed_in.file}, {handed_in.rows} rows" + (f" ({told})" if told else "")


def _table(found: SuiteFigures) -> Grid:
    """In published column order: this checkpoint, its intervals, further figures, published rows."""
    figure, mean = found.figure, found.overall.how != "none"
    part = mean and figure.overall is not None and figure.overall.sets < figure.overall.of
    head = (*_head(found), *(("same sets",) if part and found.published else ()))
    sets = [figure.sets.get(column.set) for column in found.columns]
    rows = [["this run", *_values(found, figure)], ["95 %", *(_span(one, found) for one in _columns(found, figure))]]
    for title in dict.fromkeys(title for one in figure.sets.values() for title in one.also):
        more = [one.also.get(title) if one else None for one in sets]
        rows.append([title, *(_number(one.value if one else None, found) for one in more)])
        rows.append([f"95 % of {title}", *(_span(one, found) for one in more)])
    rows.append(["metric", *(column.metric for column in found.columns)])
    rows.append(["samples", *(NONE if one is None or one.count is None else str(one.count) for one in sets)])
    for row in found.published:
        values = [row.values.get(column.set) for column in found.columns]
        values += ([row.overall] if mean else []) + ([row.same] if part else [])
        rows.append([row.name, *(digits(value, 2) for value in values)])
    return Grid(head, tuple((*row, *[""] * (len(head) - len(row))) for row in rows))


def _checkpoints(found: SuiteFigures, best: Best) -> Grid:
    """Every checkpoint, and what the best of each column would give."""
    rows = [(_point(one), *_values(found, one)) for one in found.checkpoints]
    values = [best.sets[column.set].value if column.set in best.sets else None for column in found.columns]
    values += [best.overall] if found.overall.how != "none" else []
    return Grid(_head(found), (*rows, (f"best of {best.k} on test", *(_number(value, found) for value in values))))


def _head(found: SuiteFigures) -> tuple[str, ...]:
    return ("", *(c.column for c in found.columns), *((found.overall.column,) if found.overall.how != "none" else ()))


def _columns(found: SuiteFigures, row: PointFigures) -> list[Figure | None]:
    """A checkpoint's figure of each data set, and the overall one where there is such a column."""
    return [*(row.sets.get(c.set) for c in found.columns), *([row.overall] if found.overall.how != "none" else [])]


def _values(found: SuiteFigures, row: PointFigures) -> list[str]:
    return [_number(one.value if one else None, found) for one in _columns(found, row)]


def _span(one: Figure | None, found: SuiteFigures) -> str:
    if one is None or one.low is None or one.high is None:
        return NONE
    return f"{100 * one.low:.1f}–{100 * one.high:.1f}" if found.percent else f"{one.low:.3f}–{one.high:.3f}"


def _point(row: PointFigures) -> str:
    return f"{row.checkpoint} of {row.run}"


def _number(value: float | None, found: SuiteFigures) -> str:
    if value is None:
        return NONE
    return f"{100 * value:.2f}" if found.percent else f"{value:.4f}"
