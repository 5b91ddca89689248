"""Tables in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from affectkit.report.page import Cell, Grid, Heading, PageBlock, Paragraph
from affectkit.report.render import text


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]], named: bool = False) -> None:
    """A table in the terminal, as wide as it needs; `named`: the first column holds names, which stay on one line.

    Cells are shown as they are: words in brackets, such as a list of labels, are no markup.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(
        title=Text(title) if title else None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
    )
    for number, column in enumerate(columns):
        made.add_column(Text(column), overflow="fold", no_wrap=named and number == 0)
    for row in rows:
        made.add_row(*(Text(text(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(made)


def print_blocks(blocks: Iterable[PageBlock], say: Callable[[str], None], whose: str = "") -> None:
    """Parts of a page: paragraphs as lines, tables under the heading that is the last before them. What a page folds up or
    shows as pictures is left out. `whose` (a run, a split) stands before headings and lines."""
    heading = ""
    for block in blocks:
        if isinstance(block, Heading):
            heading = block.text
        elif isinstance(block, Grid):
            table(f"{whose}, {heading}" if whose else heading, block.head, block.rows, block.named)
        elif isinstance(block, Paragraph):
            say(f"{whose}: {block.text}" if whose else block.text)
