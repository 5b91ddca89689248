"""Template files, filled in: pages, model cards, new distributions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(folder: Path, html: bool = False) -> Environment:
    """The templates of a folder; those of `html` escape all that is filled in, and `cell` does for tables of Markdown.

    A name that a template asks for and is not given raises jinja2.UndefinedError.
    """
    # Not at the top: a command that writes no page starts without it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["cell"] = lambda text: str(text).replace("|", "\\|")
    return made
