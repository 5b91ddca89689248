"""How figures vary with the prompt, for people to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from affectkit.evaluation.figures import Variation
from affectkit.report.page import Grid, Heading, PageBlock, Paragraph, title


def blocks(found: Mapping[str, Variation]) -> Iterator[PageBlock]:
    """The tables of a report, and of the terminal."""
    if not found:
        return
    yield Heading("Asked in other ways", 3)
    told = "Same weights, another way to ask. Differences are paired, against the recipe's own way; 95 % intervals."
    yield Paragraph(told, "quiet")
    for kind, one in found.items():
        names = list(one.spread)
        rows = [
            (row.name, *(str(row.metrics[name]) for name in names), (row.apart or {}).get(names[0]))
            for row in one.variants
        ]
        spread = (None if value is None else round(value, 4) for value in one.spread.values())
        head = (f"{kind}: {one.about}", *map(title, names), f"difference in {title(names[0])}")
        yield Grid(head, (*rows, ("largest less smallest", *spread, None)))
