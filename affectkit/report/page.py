"""What a report page is made of, and how it becomes a file of HTML, with styles and pictures inside, and one of Markdown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from affectkit.evaluation.figures import Figure, digits
from affectkit.files import write_text_atomic
from affectkit.templates import environment

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"

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


def write_page(page: Page, path: Path) -> Path:
    """Write a page to `path`, whose ending becomes .html, and beside it as .md; returns the former."""
    path = path.with_suffix(".html")
    write_text_atomic(path.with_suffix(".md"), to_markdown(page))
    write_text_atomic(path, to_html(page))
    return path


def to_html(page: Page) -> str:
    """The whole file, which opens from disk with no network."""
    return _templates("html").get_template("page.html").render(page=page)


def to_markdown(page: Page) -> str:
    """The page as Markdown, without its pictures."""
    return _templates("md").get_template("page.md").render(page=page)


def markdown(block: PageBlock) -> str:
    """One block as Markdown."""
    return str(_templates("md").filters["block"](block))


@cache
def _templates(kind: str) -> Environment:
    """The templates of files that end so; a block is drawn by the macro that bears its name."""
    templates = environment(TEMPLATES, html=kind == "html")

    def block(one: PageBlock) -> str:
        macro = getattr(templates.get_template(f"blocks.{kind}").module, type(one).__name__.lower())
        return macro(one)

    templates.filters.update(block=block, text=text, line=_line, cell=_cell, place=_place, uri=_uri, figure=digits)
    templates.tests["figure"] = lambda cell: isinstance(cell, Figure)
    return templates


def count_text(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def title(name: str) -> str:
    """A metric's name as papers write it: `uar` is UAR, `macro_f1` is macro F1."""
    return " ".join(word.upper() if len(word) <= 3 else word for word in name.split("_"))


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


def _place(one: Figure, value: float, width: float) -> float:
    """Where a value stands on the scale of a figure, drawn `width` wide; what lies beyond an end stands there."""
    start, end = one.span
    return round(4 + (width - 8) * min(1.0, max(0.0, (value - start) / (end - start))), 1)


def _uri(data: bytes) -> str:
    """A picture as a data address."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
