"""Figures with their intervals as cells of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from affectkit.evaluation.figures import ClassFigures, Figure
from affectkit.report.page import Bar, Cell, Grid

SPAN = (-1.0, 1.0)
"""The scale on which differences are drawn."""


def bar(
    one: Figure | None, span: tuple[float, float] = (0.0, 1.0), marks: Sequence[tuple[str, float | None]] = ()
) -> Bar:
    """A figure on a scale, beside `marks` to compare it with; one that may be negative is a difference, beside none."""
    if one is None:
        return Bar(None)
    return Bar(one.value, one.low, one.high, (("none", 0.0),) if span[0] < 0 else tuple(marks), span)


def bars(figures: Sequence[Figure | None]) -> tuple[Cell, ...]:
    """Figures side by side: a scale is drawn for the first only, as more would not fit."""
    return tuple(bar(one) if number == 0 else str(bar(one)) for number, one in enumerate(figures))


def class_grid(classes: Mapping[str, ClassFigures], recall: str = "recall") -> Grid:
    """A row a class; `recall` heads its column."""
    rows = tuple(
        (label, c.support, c.precision, Bar(c.recall, c.recall_low, c.recall_high), c.f1)
        for label, c in classes.items()
    )
    return Grid(("class", "samples", "precision", recall, "F1"), rows)
