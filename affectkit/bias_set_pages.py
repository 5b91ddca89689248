"""The bias of a model over several data sets for people to read. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from affectkit.bias_draws import FEW
from affectkit.bias_pages import PERSONS, Table, Title, field_notes, group_table
from affectkit.pages import Bar, Block, Cell, Fold, Grid, Heading, Words, spoken
from affectkit.terminal import Told

ABOUT = (
    "Highest less lowest group of each data set, with their samples; small groups are in no gap, and the interval is of the "
    "difference between these two. Over all: groups by the plain mean of their figures in the data sets, for the groups that are "
    "large enough in each. Look at the last column: the share of random groupings, within each data set, with a gap as large."
)
HEADING = Heading("Bias over the data sets: age, gender, race", 3)
HEAD = ("people by", "data set", "metric", "between", "difference", "as large by accident")


def blocks(found: Mapping[str, Any], small: int, title: Title, heading: Heading = HEADING) -> Iterator[Block]:
    """The section of a page; `title` writes a metric's name as papers do."""
    if not found:
        return
    yield heading
    if any(found["sets"].values()):
        yield Words(ABOUT, "quiet")
        yield Grid(*gap_table(found, small, title))
    for line in notes(found):
        yield Words(line, "quiet")


def group_folds(found: Mapping[str, Any], small: int, title: Title) -> Iterator[Block]:
    """The groups of each data set, folded up: for pages that show them nowhere else."""
    for name, fields in found["sets"].items():
        parts: list[Block] = []
        for field, one in fields.items():
            parts += [Words(line, "quiet") for line in field_notes(field, one, small)]
            parts += [Grid(*group_table(field, one, title))] if one["groups"] else []
        if parts:
            yield Fold(f"Groups of {name}", tuple(parts))


def gap_table(found: Mapping[str, Any], small: int, title: Title) -> Table:
    """A row a field and data set, and one over all; each by its first metric."""
    every = [one for fields in (*found["sets"].values(), found["over"]) for one in fields.values() if one.get("gaps")]
    ends = [next(iter(one["gaps"].values()))[side] or 0 for one in every for side in ("low", "high")]
    end = max(1, math.ceil(10 * max(map(abs, ends), default=0))) / 10
    rows: list[tuple[Cell, ...]] = []
    for field in dict.fromkeys(f for one in found["sets"].values() for f in one):
        for name, fields in found["sets"].items():
            if field in fields:
                rows.append(_row(spoken(field), name, fields[field], small, title, end))
        over = found["over"].get(field, {})
        if over.get("gaps"):
            names = f"over all {len(over['sets'])}"
            rows.append(_row(spoken(field), names, over, small, title, end))
    return HEAD, tuple(rows)


def _row(field: str, name: str, one: Mapping[str, Any], small: int, title: Title, end: float) -> tuple[Cell, ...]:
    mark = " (estimated)" if one["origin"] == "estimate" else ""
    if not one["gaps"]:
        people = f" of {FEW} people" if one.get("by_person") else ""
        return (field + mark, name, "–", f"no two groups of {small} samples{people} or more", None, None)
    metric, gap = next(iter(one["gaps"].items()))
    pair = " over ".join(f"{g} ({one['groups'][g]['count']:,})" for g in (gap["highest"], gap["lowest"]))
    drawn = Bar(gap["value"], gap["low"], gap["high"], (("none", 0.0),), (-end, end))
    return (field + mark, name, title(metric), pair, drawn, gap["by_accident"])


def notes(found: Mapping[str, Any]) -> Iterator[str]:
    """Why there is nothing over all for a field, which sets it leaves out, and which have no figures by people."""
    if found["sets"] and not any(found["sets"].values()):
        yield "Nothing is known of anybody's age, gender, race or skin tone: there are no groups."
    if any(one.get("by_person") for fields in found["sets"].values() for one in fields.values()):
        yield PERSONS
    for field, one in found["over"].items():
        if one.get("note") and len(found["sets"]) > 1:
            yield f"By {spoken(field)} there is nothing over all: {one['note']}."
        if one.get("left_out"):
            yield f"By {spoken(field)}, over all is without {', '.join(one['left_out'])}."
    unknown = [name for name, fields in found["sets"].items() if not fields]
    if unknown and any(found["sets"].values()):
        yield f"Nothing is known of the people of {', '.join(unknown)}."
    for name, why in found.get("without", {}).items():
        yield f"{name} {why}: no figures by people."


def tables(found: Mapping[str, Any], small: int) -> Iterator[Told]:
    """The same for the terminal."""
    if not found:
        return
    lines = list(notes(found))
    if any(found["sets"].values()):
        yield ("bias over the data sets", *gap_table(found, small, str), lines)
    else:
        yield "", (), (), lines
