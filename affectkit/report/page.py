"""What a report page is made of. `affectkit.report.render` writes it, `affectkit.report.terminal` shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from affectkit.evaluation.figures import Figure

WRAPPED = 40
"""A column of tables with more letters than this in a cell is wrapped."""


@dataclass(frozen=True)
class Bar(Figure):
    """A figure on a scale of its own, or beside something that it is compared with."""

    low: float | None = None
    high: float | None = None
    marks: tuple[tuple[str, float | None], ...] = ()
    """What to compare it with, by name (`chance`, `majority`)."""
    span: tuple[float, float] = (0.0, 1.0)
    """The ends of the scale."""


Cell = str | int | float | Figure | None
"""A figure is drawn on its scale; its words alone are `str` of it."""


def bar(
    one: Figure | None,
    span: tuple[float, float] | None = None,
    marks: Sequence[tuple[str, float | None]] = (),
) -> Bar:
    """A figure on that scale instead of its own, beside `marks`; one that may be negative stands beside nothing but 0."""
    one = one or Bar(None)
    span = span or one.span
    return Bar(one.value, one.low, one.high, (("none", 0.0),) if span[0] < 0 else tuple(marks), span)


def side_by_side(figures: Sequence[Figure | None]) -> tuple[Cell, ...]:
    """Figures as cells of a row: a scale is drawn for the first only, as more would not fit."""
    return tuple(bar(one) if number == 0 else str(bar(one)) for number, one in enumerate(figures))


@dataclass(frozen=True)
class Heading:
    """A heading; level 2 opens a section."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str
    tone: str = ""
    """`warn`, `quiet`, or nothing."""


@dataclass(frozen=True)
class Grid:
    """A table."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    named: bool = False
    """Whether the first column holds names, each of which stays on one line."""

    @property
    def kinds(self) -> list[str]:
        """How each column is set: names, numbers and short words stay on one line, long ones get room to wrap in.

        Raises ValueError for rows of different lengths.
        """
        columns = [*zip(self.head, *self.rows, strict=True)]
        return ["name" if self.named and i == 0 else _kind(column[1:]) for i, column in enumerate(columns)]


@dataclass(frozen=True)
class Figures:
    """The headline figures."""

    items: tuple[tuple[str, Figure], ...]

    @property
    def others(self) -> list[str]:
        """The names of all that they are compared with."""
        return list(dict.fromkeys(name for _, one in self.items for name, _ in one.marks))


@dataclass(frozen=True)
class Picture:
    """A picture with the words for those who do not see it; Markdown leaves it out."""

    data: bytes
    alt: str

    @property
    def width(self) -> int | None:
        """Width on the page; None for other pictures than PNGs, which are shown as large as they are."""
        # Half the pixels there are, for sharp letters on fine screens and on paper.
        return int.from_bytes(self.data[16:20]) // 2 if self.data.startswith(b"\x89PNG") else None


@dataclass(frozen=True)
class Case:
    """One sample to look at."""

    title: str
    truth: str
    answer: str
    odds: tuple[tuple[str, float], ...] = ()
    """Probability by label, largest first."""
    words: str = ""
    chips: tuple[str, ...] = ()
    pictures: tuple[bytes, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Cases:
    """Samples to look at, side by side."""

    items: tuple[Case, ...]


@dataclass(frozen=True)
class Code:
    """Text as it stands in a file."""

    text: str
    language: str = ""

    @property
    def fence(self) -> str:
        """What Markdown sets around it: backticks, more than the text holds in a row."""
        fence = "```"
        while fence in self.text:
            fence += "`"
        return fence


@dataclass(frozen=True)
class Fold:
    """A part that is closed at first."""

    title: str
    blocks: tuple[PageBlock, ...]
    bare: bool = False
    """Whether Markdown, which closes nothing, leaves the title out."""


@dataclass(frozen=True)
class SideBySide:
    """Columns side by side where the page is wide enough; Markdown puts them one below the other."""

    columns: tuple[tuple[PageBlock, ...], ...]


PageBlock = SideBySide | Heading | Paragraph | Grid | Figures | Picture | Cases | Code | Fold


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    about: str
    blocks: tuple[PageBlock, ...]


def _kind(column: tuple[Cell, ...]) -> str:
    words = [len(cell) for cell in column if isinstance(cell, str)]
    if not words:
        return "number"
    return "long" if max(words) > WRAPPED else "short"
