"""What a report page is made of, and how it reads as Markdown. The same blocks become HTML in `pages_html`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch


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


Cell = str | int | float | Bar | None


@dataclass(frozen=True)
class Heading:
    """A heading; level 2 opens a section."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Words:
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


@dataclass(frozen=True)
class Figures:
    """The headline figures."""

    items: tuple[tuple[str, Bar], ...]


@dataclass(frozen=True)
class Picture:
    """A picture with the words for those who do not see it; Markdown leaves it out."""

    data: bytes
    alt: str


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


@dataclass(frozen=True)
class Fold:
    """A part that is closed at first."""

    title: str
    blocks: tuple[Block, ...]
    bare: bool = False
    """Whether Markdown, which closes nothing, leaves the title out."""


@dataclass(frozen=True)
class Side:
    """Columns side by side where the page is wide enough; Markdown puts them one below the other."""

    columns: tuple[tuple[Block, ...], ...]


Block = Side | Heading | Words | Grid | Figures | Picture | Cases | Code | Fold


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    about: str
    blocks: tuple[Block, ...]


def to_markdown(page: Page) -> str:
    """The page as Markdown, without its pictures."""
    parts = [f"# {_line(page.title)}", _line(page.about), *(markdown(block) for block in page.blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


@singledispatch
def markdown(block: object) -> str:
    """One block as Markdown."""
    raise TypeError(f"no Markdown for {type(block).__name__}")


@markdown.register
def _(block: Heading) -> str:
    return f"{'#' * block.level} {_line(block.text)}"


@markdown.register
def _(block: Words) -> str:
    return f"> **{_line(block.text)}**" if block.tone == "warn" else _line(block.text)


@markdown.register
def _(block: Grid) -> str:
    lines = [_row(block.head), _row(tuple("---" for _ in block.head))]
    return "\n".join(lines + [_row(row) for row in block.rows])


@markdown.register
def _(block: Figures) -> str:
    others = list(dict.fromkeys(name for _, bar in block.items for name, _ in bar.marks))
    rows = tuple((name, str(bar), *(text(dict(bar.marks).get(other)) for other in others)) for name, bar in block.items)
    return markdown(Grid(("", "value [95 % interval]", *others), rows))


@markdown.register
def _(block: Picture) -> str:
    return ""


@markdown.register
def _(block: Cases) -> str:
    rows = tuple(
        (
            case.title,
            case.truth,
            case.answer,
            ", ".join(f"{name} {share:.2f}" for name, share in case.odds[:3]),
            case.words,
            ", ".join(case.chips),
        )
        for case in block.items
    )
    return markdown(Grid(("sample", "truth", "answer", "probabilities", "subtitle", "facts"), rows))


@markdown.register
def _(block: Code) -> str:
    fence = "```"
    while fence in block.text:
        fence += "`"
    return f"{fence}{block.language}\n{block.text.rstrip()}\n{fence}"


@markdown.register
def _(block: Fold) -> str:
    head = [] if block.bare else [f"### {_line(block.title)}"]
    return "\n\n".join([*head, *(markdown(b) for b in block.blocks)])


@markdown.register
def _(block: Side) -> str:
    return "\n\n".join(found for column in block.columns for b in column if (found := markdown(b)))


def counted(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def spoken(name: str) -> str:
    """The name of a fact as people write it: `skin_tone` is skin tone."""
    return name.replace("_", " ")


def text(cell: Cell) -> str:
    """A cell as words: three decimals, a dash for what is not known."""
    if cell is None:
        return "–"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _row(cells: tuple[Cell, ...]) -> str:
    return "| " + " | ".join(_line(text(cell)).replace("|", "\\|") for cell in cells) + " |"


def _line(words: str) -> str:
    return " ".join(str(words).split())
