"""How figures vary with the prompt, for people to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from affectkit.evaluation.figures import Variation, digits
from affectkit.report.bars import SPAN, bar
from affectkit.report.page import Grid, Heading, PageBlock, Paragraph


def blocks(found: Mapping[str, Variation], title: Callable[[str], str]) -> Iterator[PageBlock]:
    """The tables of a report; `title` writes a metric's name as papers do."""
    if not found:
        return
    yield Heading("Asked in other ways", 3)
    told = "Same weights, another way to ask. Differences are paired, against the recipe's own way; 95 % intervals."
    yield Paragraph(told, "quiet")
    for kind, one in found.items():
        names = list(one.spread)
        rows = []
        for row in one.variants:
            apart = (row.apart or {}).get(names[0])
            rows.append((row.name, *(str(bar(row.metrics[n])) for n in names), bar(apart, SPAN) if apart else None))
        spread = tuple(None if value is None else round(value, 4) for value in one.spread.values())
        head = (f"{kind}: {one.about}", *map(title, names), f"difference in {title(names[0])}")
        yield Grid(head, (*rows, ("largest less smallest", *spread, None)))


def variant_rows(found: Mapping[str, Variation]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """(title, columns, rows) of each kind for the terminal."""
    for kind, one in found.items():
        names = list(one.spread)
        table = [[row.name, *(str(bar(row.metrics[n])) for n in names)] for row in one.variants]
        spread = [digits(value) for value in one.spread.values()]
        yield f"{kind}: {one.about}", ["", *names], [*table, ["largest less smallest", *spread]]
