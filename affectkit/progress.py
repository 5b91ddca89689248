"""A progress bar for anything over two seconds. Imports no torch."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 2.0
"""Seconds before a bar appears."""


def track(items: Sequence[T], what: str) -> Iterator[T]:
    """The items, with a bar on stderr once they take longer than two seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=not sys.stderr.isatty())
    task = progress.add_task(what, total=len(items))
    begun = time.monotonic()
    shown = False
    try:
        for item in items:
            yield item
            if not shown and time.monotonic() - begun > PATIENCE:
                progress.start()
                shown = True
            progress.advance(task)
    finally:
        if shown:
            progress.stop()
