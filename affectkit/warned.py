"""What is to be known of several runs, told once on a page that shows them together. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from affectkit.pages import Words
from affectkit.report import warnings
from affectkit.results import Results


def warned(runs: Sequence[tuple[str, Results]]) -> Iterator[Words]:
    """The warnings of all runs, each once, with the names that it is about, or those that it is not about if these are fewer."""
    names = list(dict.fromkeys(name for name, _ in runs))
    found: dict[Words, list[str]] = {}
    for name, results in runs:
        for words in warnings(results):
            found.setdefault(words, []).append(name)
    for words, about in found.items():
        others = [name for name in names if name not in about]
        whose = (
            f"All but {', '.join(others)}"
            if len(others) < len(names) - len(others)
            else ", ".join(dict.fromkeys(about))
        )
        yield replace(words, text=f"{whose}: {words.text}") if others else words
