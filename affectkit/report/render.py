"""How pages read: the words of names and cells, a file of HTML with styles and pictures inside, and one of Markdown."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from affectkit.evaluation.figures import Figure, digits
from affectkit.files import write_text_atomic
from affectkit.report.page import Cell, Page, PageBlock
from affectkit.templates import environment

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


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
