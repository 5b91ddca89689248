"""How figures vary with the prompt, for people to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from affectkit.report.page import Bar, Block, Grid, Heading, Words

SPAN = (-1.0, 1.0)


def blocks(found: Mapping[str, Any], title: Callable[[str], str]) -> Iterator[Block]:
    """The tables of a report; `title` writes a metric's name as papers do."""
    if not found:
        return
    yield Heading("Asked in other ways", 3)
    told = "Same weights, another way to ask. Differences are paired, against the recipe's own way; 95 % intervals."
    yield Words(told, "quiet")
    for kind, one in found.items():
        names = list(one["spread"])
        rows = []
        for row in one["variants"]:
            figures = tuple(str(_bar(row[n])) for n in names)
            apart = (row.get("apart") or {}).get(names[0])
            rows.append((row["name"], *figures, _bar(apart, SPAN) if apart else None))
        spread = tuple(None if one["spread"][n] is None else round(one["spread"][n], 4) for n in names)
        head = (f"{kind}: {one['about']}", *map(title, names), f"difference in {title(names[0])}")
        yield Grid(head, (*rows, ("largest less smallest", *spread, None)))


def _bar(one: Mapping[str, Any], span: tuple[float, float] = (0.0, 1.0)) -> Bar:
    marks = (("none", 0.0),) if span == SPAN else ()
    return Bar(one["value"], one["low"], one["high"], marks, span)


def variant_rows(found: Mapping[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """(title, columns, rows) of each kind for the terminal."""
    for kind, one in found.items():
        names = list(one["spread"])
        table = [[row["name"], *(str(_bar(row[n])) for n in names)] for row in one["variants"]]
        spread = ["–" if one["spread"][n] is None else f"{one['spread'][n]:.3f}" for n in names]
        yield f"{kind}: {one['about']}", ["", *names], [*table, ["largest less smallest", *spread]]
