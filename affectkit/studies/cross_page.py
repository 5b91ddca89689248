"""The matrix of runs and data sets for people to read: page, picture, terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from affectkit.evaluation.groups import SMALL
from affectkit.report import bias as bias_pages
from affectkit.report.page import (
    Cell,
    Fold,
    Grid,
    Heading,
    Page,
    PageBlock,
    Paragraph,
    Picture,
    count_text,
    side_by_side,
    text,
    title,
    write_page,
)
from affectkit.report.results import read_run
from affectkit.report.run import shared_warnings
from affectkit.report.terminal import print_blocks
from affectkit.studies.cross import AboutColumn, CrossFigures

ELSEWHERE = "mean elsewhere"


def write(told: CrossFigures, out: Path) -> None:
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
    rows = [r.name for r in told.rows]
    columns = [c.name for c in told.columns]
    found = told.cells
    figures = [[found[r][c].metrics.get(metric) for c in columns] for r in rows]
    values = [[one.value if one else None for one in row] for row in figures]
    return rows, columns, values, [[found[r][c].own for c in columns] for r in rows]


def _kind(column: AboutColumn) -> str:
    """Stills, clips or sound, or several of them."""
    counts = {"stills": column.stills, "clips": column.clips, "sounds": column.sounds}
    return ", ".join(kind for kind, count in counts.items() if count)
