"""Report pages as files: one of HTML with styles and pictures inside, one of Markdown."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from affectkit.files import write_text_atomic
from affectkit.report.page import TEMPLATES, Bar, Page, PageBlock, draw, text, to_markdown
from affectkit.templates import environment

if TYPE_CHECKING:
    from jinja2 import Environment


def write_page(page: Page, path: Path) -> Path:
    """Write a page to `path`, whose ending becomes .html, and beside it as .md; returns the former."""
    path = path.with_suffix(".html")
    write_text_atomic(path.with_suffix(".md"), to_markdown(page))
    write_text_atomic(path, to_html(page))
    return path


def to_html(page: Page) -> str:
    """The whole file, which opens from disk with no network."""
    return _templates().get_template("page.html").render(page=page)


@cache
def _templates() -> Environment:
    templates = environment(TEMPLATES, html=True)
    templates.filters.update(block=_block, text=text, figure=_figure, uri=_uri)
    templates.tests["bar"] = lambda cell: isinstance(cell, Bar)
    return templates


def _block(block: PageBlock) -> str:
    return draw(_templates(), "blocks.html", block)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _uri(data: bytes) -> str:
    """A picture as a data address."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
