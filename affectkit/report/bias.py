"""The bias of a model for people to read: in reports and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from affectkit.evaluation.figures import Bias, BiasOverSets, Condition, FieldFigures, FieldOverSets, Flips
from affectkit.evaluation.groups import FEW
from affectkit.report.bars import SPAN, bar, bars
from affectkit.report.page import Cell, Fold, Grid, Heading, PageBlock, Paragraph, spoken_name
from affectkit.report.terminal import TerminalTable

SHOWN = 2
"""Metrics that pages show, the first of the recipe; metrics.json has all."""

ESTIMATED = "estimated by a network, not labelled: its errors are part of these figures"

PERSONS = "Some people have several samples, which are alike: intervals and random groupings draw people, not samples."

Title = Callable[[str], str]

Table = tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]


def blocks(found: Bias, title: Title) -> Iterator[PageBlock]:
    """The section of a report; `title` writes a metric's name as papers do."""
    yield Heading("Bias: age, gender, race", 3)
    groups, flips = found.groups, found.flips
    if not groups:
        yield Paragraph("Nothing is known of anybody's age, gender, race or skin tone: there are no groups.", "quiet")
    if any(one.by_person for one in groups.values()):
        yield Paragraph(PERSONS, "quiet")
    for field, one in groups.items():
        for line in field_notes(field, one, found.small):
            yield Paragraph(line, "warn" if one.origin == "estimate" and ESTIMATED in line else "quiet")
        if one.groups:
            yield Grid(*group_table(field, one, title))
    if any(one.gaps for one in groups.values()):
        yield Heading("Gaps between groups", 3)
        yield Paragraph(
            "Highest less lowest group, small ones left out; the interval is of the difference between these two. They are "
            "the extremes, so look at the last column: the share of random groupings with a gap as large, in which every "
            "group keeps its size and its classes, or its number of people.",
            "quiet",
        )
        yield Grid(*gap_table(groups, title))
    yield from _flip_blocks(flips, title)


def _flip_blocks(flips: Flips, title: Title) -> Iterator[PageBlock]:
    yield Heading("What is stated of a person: right, wrong, absent", 3)
    for line in flip_notes(flips):
        yield Paragraph(line, "quiet")
    if flips.conditions is not None:
        yield Grid(*flip_table(flips.conditions, title))
        parts = [row for row in flips.conditions if row.name in ("wrong", "absent") and row.by]
        tables = tuple(_by_group(row) for row in parts)
        if tables:
            yield Fold("Flips by group", tables)


def field_notes(field: str, one: FieldFigures, small: int) -> Iterator[str]:
    """What to know of a field's groups."""
    words = spoken_name(field)
    if one.origin == "estimate":
        yield f"By {words}: {ESTIMATED}."
    if one.without:
        yield f"{one.without} answered samples have no {words} and are in no group of it."
    if one.note:
        yield f"By {words}: {one.note}."
    few = [value for value, group in one.groups.items() if group.small]
    people = f" or {FEW} people" if one.by_person else ""
    if few:
        yield f"Marked * (fewer than {small} samples{people}, in no gap): {', '.join(few)}."


def flip_notes(flips: Flips) -> Iterator[str]:
    """How the conditions were made, or why there are none."""
    if flips.note:
        yield flips.note[:1].upper() + flips.note[1:] + "."
        return
    fields = flips.fields or {}
    guessed = [f for f, origin in fields.items() if origin == "estimate"]
    yield (
        f"Same weights, asked again about the {flips.samples} samples of whom something is known "
        f"({', '.join(fields)}). Flips and differences are against the right words; 95 % intervals."
    )
    if guessed:
        yield f"Of {', '.join(guessed)} there are estimates only: “right” is what the network said."
    if flips.one_word:
        yield f"All people have the same {', '.join(flips.one_word)}: it is never wrong here."


def group_table(field: str, one: FieldFigures, title: Title) -> Table:
    """A row a group."""
    names = list(next(iter(one.groups.values())).metrics)[:SHOWN]
    rows: list[tuple[Cell, ...]] = []
    for value, group in one.groups.items():
        counts = (group.count, group.people, group.classes) if one.by_person else (group.count, group.classes)
        rows.append((value + (" *" if group.small else ""), *counts, *bars([group.metrics[n] for n in names])))
    head = f"{spoken_name(field)} ({'estimated' if one.origin == 'estimate' else 'labels'})"
    return (head, "samples", *(("people",) if one.by_person else ()), "classes", *map(title, names)), tuple(rows)


def gap_table(groups: Mapping[str, FieldFigures], title: Title) -> Table:
    """A row a field and metric."""
    rows: list[tuple[Cell, ...]] = []
    for field, one in groups.items():
        for name, gap in list(one.gaps.items())[:SHOWN]:
            pair = f"{gap.highest} over {gap.lowest}"
            rows.append((f"{spoken_name(field)}, {title(name)}", pair, bar(gap, SPAN), gap.by_accident))
    return ("gap", "between", "difference", "as large by accident"), tuple(rows)


def flip_table(conditions: Sequence[Condition], title: Title, short: bool = False) -> Table:
    """A row a condition, with what is told in it unless it is to be short."""
    names = list(conditions[0].metrics)[:SHOWN]
    rows: list[tuple[Cell, ...]] = []
    for row in conditions:
        figures = [str(bar(row.metrics[n])) for n in names]
        name = row.name if short else f"{row.name}: {row.about}"
        difference = (row.apart or {}).get(names[0])
        apart = bar(difference, SPAN) if difference else None
        rows.append((name, *figures, apart, str(bar(row.flips)) if row.flips else None, row.lost, row.gained))
    change = f"difference in {title(names[0])}"
    head = ("told of the person", *map(title, names), change, "share of flips", "right to wrong", "wrong to right")
    return head, tuple(rows)


def _by_group(row: Condition) -> Grid:
    rows: list[tuple[Cell, ...]] = [
        (f"{spoken_name(field)}: {value}{' *' if one.small else ''}", one.count, bar(one))
        for field, groups in (row.by or {}).items()
        for value, one in groups.items()
    ]
    return Grid((f"flips when {row.name}", "samples", "share of flips"), tuple(rows))


def tables(found: Bias) -> Iterator[TerminalTable]:
    """The same for the terminal."""
    for field, one in found.groups.items():
        notes = list(field_notes(field, one, found.small))
        if one.groups:
            yield (f"by {spoken_name(field)}", *group_table(field, one, str), notes)
        elif notes:
            yield "", (), (), notes
    if any(one.gaps for one in found.groups.values()):
        told = [PERSONS] if any(one.by_person for one in found.groups.values()) else []
        yield ("gaps between groups", *gap_table(found.groups, str), told)
    notes = list(flip_notes(found.flips))
    if found.flips.conditions is not None:
        yield ("what is stated of a person", *flip_table(found.flips.conditions, str, short=True), notes)
    else:
        yield "", (), (), notes


SETS_ABOUT = (
    "Highest less lowest group of each data set, with their samples; small groups are in no gap, and the interval is of the "
    "difference between these two. Over all: groups by the plain mean of their figures in the data sets, for the groups that are "
    "large enough in each. Look at the last column: the share of random groupings, within each data set, with a gap as large."
)

SET_HEADING = Heading("Bias over the data sets: age, gender, race", 3)

SET_HEAD = ("people by", "data set", "metric", "between", "difference", "as large by accident")


def set_blocks(found: BiasOverSets, small: int, title: Title, heading: Heading = SET_HEADING) -> Iterator[PageBlock]:
    """The section of a page; `title` writes a metric's name as papers do."""
    yield heading
    if any(found.sets.values()):
        yield Paragraph(SETS_ABOUT, "quiet")
        yield Grid(*set_gap_table(found, small, title))
    for line in set_notes(found):
        yield Paragraph(line, "quiet")


def group_folds(found: BiasOverSets, small: int, title: Title) -> Iterator[PageBlock]:
    """The groups of each data set, folded up: for pages that show them nowhere else."""
    for name, fields in found.sets.items():
        parts: list[PageBlock] = []
        for field, one in fields.items():
            parts += [Paragraph(line, "quiet") for line in field_notes(field, one, small)]
            parts += [Grid(*group_table(field, one, title))] if one.groups else []
        if parts:
            yield Fold(f"Groups of {name}", tuple(parts))


def set_gap_table(found: BiasOverSets, small: int, title: Title) -> Table:
    """A row a field and data set, and one over all; each by its first metric."""
    groups: list[FieldFigures | FieldOverSets] = [one for fields in found.sets.values() for one in fields.values()]
    every = [one.gaps for one in (*groups, *found.over.values()) if one.gaps]
    firsts = [next(iter(gaps.values())) for gaps in every]
    end = (
        max(1, math.ceil(10 * max((abs(side or 0) for gap in firsts for side in (gap.low, gap.high)), default=0))) / 10
    )
    rows: list[tuple[Cell, ...]] = []
    for field in dict.fromkeys(f for one in found.sets.values() for f in one):
        for name, fields in found.sets.items():
            if field in fields:
                rows.append(_row(spoken_name(field), name, fields[field], small, title, end))
        over = found.over.get(field)
        if over and over.gaps:
            rows.append(_row(spoken_name(field), f"over all {len(over.sets or ())}", over, small, title, end))
    return SET_HEAD, tuple(rows)


def _row(
    field: str, name: str, one: FieldFigures | FieldOverSets, small: int, title: Title, end: float
) -> tuple[Cell, ...]:
    mark = " (estimated)" if one.origin == "estimate" else ""
    if not one.gaps:
        people = f" of {FEW} people" if isinstance(one, FieldFigures) and one.by_person else ""
        return (field + mark, name, "–", f"no two groups of {small} samples{people} or more", None, None)
    metric, gap = next(iter(one.gaps.items()))
    pair = " over ".join(f"{g} ({(one.groups or {})[g].count:,})" for g in (gap.highest, gap.lowest))
    return (field + mark, name, title(metric), pair, bar(gap, (-end, end)), gap.by_accident)


def set_notes(found: BiasOverSets) -> Iterator[str]:
    """Why there is nothing over all for a field, which sets it leaves out, and which have no figures by people."""
    if found.sets and not any(found.sets.values()):
        yield "Nothing is known of anybody's age, gender, race or skin tone: there are no groups."
    if any(one.by_person for fields in found.sets.values() for one in fields.values()):
        yield PERSONS
    for field, one in found.over.items():
        if one.note and len(found.sets) > 1:
            yield f"By {spoken_name(field)} there is nothing over all: {one.note}."
        if one.left_out:
            yield f"By {spoken_name(field)}, over all is without {', '.join(one.left_out)}."
    unknown = [name for name, fields in found.sets.items() if not fields]
    if unknown and any(found.sets.values()):
        yield f"Nothing is known of the people of {', '.join(unknown)}."
    for name, why in (found.without or {}).items():
        yield f"{name} {why}: no figures by people."


def set_tables(found: BiasOverSets, small: int) -> Iterator[TerminalTable]:
    """The same for the terminal."""
    lines = list(set_notes(found))
    if any(found.sets.values()):
        yield ("bias over the data sets", *set_gap_table(found, small, str), lines)
    else:
        yield "", (), (), lines
