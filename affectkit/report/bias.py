"""The bias of a model for people to read: in reports and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from affectkit.evaluation.figures import Bias, Condition, FieldFigures, Flips
from affectkit.evaluation.groups import FEW
from affectkit.evaluation.over_sets import BiasOverSets, FieldOverSets
from affectkit.report.page import Cell, Fold, Grid, Heading, PageBlock, Paragraph, bar, side_by_side
from affectkit.report.render import spoken_name, title

SHOWN = 2
"""Metrics that pages show, the first of the recipe; metrics.json has all."""

ESTIMATED = "estimated by a network, not labelled: its errors are part of these figures"

NOBODY = "Nothing is known of anybody's age, gender, race or skin tone: there are no groups."

PERSONS = "Some people have several samples, which are alike: intervals and random groupings draw people, not samples."

GAPS_ABOUT = (
    "Highest less lowest group, small ones left out; the interval is of the difference between these two. They are "
    "the extremes, so look at the last column: the share of random groupings with a gap as large, in which every "
    "group keeps its size and its classes, or its number of people."
)


def blocks(found: Bias) -> Iterator[PageBlock]:
    """The section of a report, and of the terminal."""
    yield Heading("Bias: age, gender, race", 3)
    groups, flips = found.groups, found.flips
    if not groups:
        yield Paragraph(NOBODY, "quiet")
    if any(one.by_person for one in groups.values()):
        yield Paragraph(PERSONS, "quiet")
    for field, one in groups.items():
        for line in field_notes(field, one, found.small):
            yield Paragraph(line, "warn" if one.origin == "estimate" and ESTIMATED in line else "quiet")
        if one.groups:
            yield group_grid(field, one)
    if any(one.gaps for one in groups.values()):
        yield Heading("Gaps between groups", 3)
        yield Paragraph(GAPS_ABOUT, "quiet")
        yield _gap_grid(groups)
    yield Heading("What is stated of a person: right, wrong, absent", 3)
    for line in flip_notes(flips):
        yield Paragraph(line, "quiet")
    if flips.conditions is not None:
        yield _flip_grid(flips.conditions)
        parts = tuple(_by_group(row) for row in flips.conditions if row.name in ("wrong", "absent") and row.by)
        if parts:
            yield Fold("Flips by group", parts)


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


def group_grid(field: str, one: FieldFigures) -> Grid:
    """A row a group."""
    names = list(next(iter(one.groups.values())).metrics)[:SHOWN]
    rows: list[tuple[Cell, ...]] = []
    for value, group in one.groups.items():
        counts = (group.count, group.people, group.classes) if one.by_person else (group.count, group.classes)
        rows.append((_marked(value, group.small), *counts, *side_by_side([group.metrics[n] for n in names])))
    head = f"{spoken_name(field)} ({'estimated' if one.origin == 'estimate' else 'labels'})"
    people = ("people",) if one.by_person else ()
    return Grid((head, "samples", *people, "classes", *map(title, names)), tuple(rows))


def _gap_grid(groups: Mapping[str, FieldFigures]) -> Grid:
    """A row a field and metric."""
    rows = tuple(
        (f"{spoken_name(field)}, {title(name)}", f"{gap.highest} over {gap.lowest}", gap, gap.by_accident)
        for field, one in groups.items()
        for name, gap in list(one.gaps.items())[:SHOWN]
    )
    return Grid(("gap", "between", "difference", "as large by accident"), rows)


def _flip_grid(conditions: Sequence[Condition]) -> Grid:
    """A row a condition."""
    names = list(conditions[0].metrics)[:SHOWN]
    rows: list[tuple[Cell, ...]] = []
    for row in conditions:
        figures = (str(row.metrics[name]) for name in names)
        flips = str(row.flips) if row.flips else None
        apart = (row.apart or {}).get(names[0])
        rows.append((f"{row.name}: {row.about}", *figures, apart, flips, row.lost, row.gained))
    change = f"difference in {title(names[0])}"
    head = ("told of the person", *map(title, names), change, "share of flips", "right to wrong", "wrong to right")
    return Grid(head, tuple(rows))


def _by_group(row: Condition) -> Grid:
    rows = tuple(
        (_marked(f"{spoken_name(field)}: {value}", one.small), one.count, one)
        for field, groups in (row.by or {}).items()
        for value, one in groups.items()
    )
    return Grid((f"flips when {row.name}", "samples", "share of flips"), rows)


def _marked(name: str, small: bool | None) -> str:
    return f"{name} *" if small else name


SETS_ABOUT = (
    "Highest less lowest group of each data set, with their samples; small groups are in no gap, and the interval is of the "
    "difference between these two. Over all: groups by the plain mean of their figures in the data sets, for the groups that are "
    "large enough in each. Look at the last column: the share of random groupings, within each data set, with a gap as large."
)

SET_HEADING = Heading("Bias over the data sets: age, gender, race", 3)


def set_blocks(found: BiasOverSets, small: int, heading: Heading = SET_HEADING) -> Iterator[PageBlock]:
    """The section of a page, and of the terminal, on several data sets."""
    yield heading
    if any(found.sets.values()):
        yield Paragraph(SETS_ABOUT, "quiet")
        yield set_gap_grid(found, small)
    for line in set_notes(found):
        yield Paragraph(line, "quiet")


def group_folds(found: BiasOverSets, small: int) -> Iterator[PageBlock]:
    """The groups of each data set, folded up: for pages that show them nowhere else."""
    for name, fields in found.sets.items():
        parts: list[PageBlock] = []
        for field, one in fields.items():
            parts += [Paragraph(line, "quiet") for line in field_notes(field, one, small)]
            parts += [group_grid(field, one)] if one.groups else []
        if parts:
            yield Fold(f"Groups of {name}", tuple(parts))


def set_gap_grid(found: BiasOverSets, small: int) -> Grid:
    """A row a field and data set, and one over all; each by its first metric, on a scale that all of them fit on."""
    lines: list[tuple[str, str, FieldFigures | FieldOverSets]] = []
    for field in dict.fromkeys(name for fields in found.sets.values() for name in fields):
        lines += [(field, name, fields[field]) for name, fields in found.sets.items() if field in fields]
        over = found.over.get(field)
        if over and over.gaps:
            lines.append((field, f"over all {len(over.sets or ())}", over))
    firsts = [next(iter(one.gaps.values())) for _, _, one in lines if one.gaps]
    widest = max((abs(side or 0) for gap in firsts for side in (gap.low, gap.high)), default=0)
    end = max(1, math.ceil(10 * widest)) / 10
    rows: list[tuple[Cell, ...]] = []
    for field, name, one in lines:
        start = (spoken_name(field) + (" (estimated)" if one.origin == "estimate" else ""), name)
        if one.gaps:
            metric, gap = next(iter(one.gaps.items()))
            pair = " over ".join(
                f"{group} ({(one.groups or {})[group].count:,})" for group in (gap.highest, gap.lowest)
            )
            rows.append((*start, title(metric), pair, bar(gap, (-end, end)), gap.by_accident))
        else:
            people = f" of {FEW} people" if isinstance(one, FieldFigures) and one.by_person else ""
            rows.append((*start, "–", f"no two groups of {small} samples{people} or more", None, None))
    return Grid(("people by", "data set", "metric", "between", "difference", "as large by accident"), tuple(rows))


def set_notes(found: BiasOverSets) -> Iterator[str]:
    """Why there is nothing over all for a field, which sets it leaves out, and which have no figures by people."""
    if found.sets and not any(found.sets.values()):
        yield NOBODY
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
