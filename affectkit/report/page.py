"""What a report page is made of, and how it reads as Markdown. The same blocks become HTML in `affectkit.report.html`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from affectkit.templates import environment

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"

WRAPPED = 40
"""A column of tables with more letters than this in a cell is wrapped."""


@dataclass(frozen=True)
class Bar:
    """A figure with its interval, drawn on a scale."""

    value: float | None
    low: float | None = None
    high: float | None = None
    marks: tuple[tuple[str, float | None], ...] = ()
    """What to compare it with, by name (`chance`, `majority`)."""
    span: tuple[float, float] = (0.0, 1.0)
    """The ends of the scale."""

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        sign = "+" if self.span[0] < 0 else ""
        head = format(self.value, f"{sign}.3f")
        if self.low is None or self.high is None:
            return head
        return f"{head} [{format(self.low, f'{sign}.3f')}, {format(self.high, f'{sign}.3f')}]"

    def place(self, value: float, width: float) -> float:
        """Where a value stands on the scale, drawn `width` wide; what lies beyond an end stands there."""
        start, end = self.span
        return round(4 + (width - 8) * min(1.0, max(0.0, (value - start) / (end - start))), 1)


Cell = str | int | float | Bar | None


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

    items: tuple[tuple[str, Bar], ...]

    @property
    def others(self) -> list[str]:
        """The names of all that they are compared with."""
        return list(dict.fromkeys(name for _, bar in self.items for name, _ in bar.marks))


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


def to_markdown(page: Page) -> str:
    """The page as Markdown, without its pictures."""
    return str(_templates().get_template("page.md").render(page=page))


def markdown(block: PageBlock) -> str:
    """One block as Markdown."""
    return draw(_templates(), "blocks.md", block)


def draw(templates: Environment, file: str, block: PageBlock) -> str:
    """One block by the macro of that file that bears its name."""
    macro = getattr(templates.get_template(file).module, type(block).__name__.lower())
    return macro(block)


@cache
def _templates() -> Environment:
    templates = environment(TEMPLATES)
    templates.filters.update(block=markdown, line=_line, cell=_cell)
    return templates


def count_text(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def spoken_name(name: str) -> str:
    """The name of a fact as people write it: `skin_tone` is skin tone."""
    return name.replace("_", " ")


def text(cell: Cell) -> str:
    """A cell as words: three decimals, a dash for what is not known."""
    if cell is None:
        return "–"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _kind(column: tuple[Cell, ...]) -> str:
    words = [len(cell) for cell in column if isinstance(cell, str)]
    if not words:
        return "number"
    return "long" if max(words) > WRAPPED else "short"


def _cell(cell: Cell) -> str:
    return _line(text(cell)).replace("|", "\\|")


def _line(words: str) -> str:
    return " ".join(str(words).split())
