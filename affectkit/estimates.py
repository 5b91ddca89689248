"""What steps estimate of a sample: asked of a module, checked, and read back from the cache."""

from __future__ import annotations

import json
from collections.abc import Mapping

from affectkit.blocks import Block
from affectkit.cache import Entry
from affectkit.errors import InputError, Problem
from affectkit.sample import Fact
from affectkit.steps import Steps

Estimates = list[dict[str, Fact]]
"""One dict a row."""


def estimate(steps: Steps, address: str, blocks: Mapping[str, Block]) -> Estimates:
    """The facts that a step estimates from its own blocks, one dict a row; empty where it estimates none.

    Raises InputError where it gives anything else, or a value that cannot be kept.
    """
    ask = getattr(steps.module(address), "facts", None)
    if ask is None:
        return []
    own = {n.split(".")[-1]: b for n, b in blocks.items() if n.startswith(f"{address}.")}
    given = ask(own)
    wrong = _wrong(given, next((len(b.mask) for b in own.values()), None))
    if wrong:
        piece = steps.graph.steps[address].piece
        what = f"`facts` of the {piece.kind} {piece.name!r} gave {wrong}"
        fix = 'return list[dict[str, Fact]], one dict a row: [{"age": Fact("20-29", "estimate", 0.8)}, …]'
        raise InputError(Problem(f"streams.{address.replace('.', '.steps.', 1)}", what, fix))
    return list(given)


def _wrong(given: object, rows: int | None) -> str:
    """What is wrong with the facts that a module gave for so many rows, in words."""
    if not isinstance(given, list | tuple) or not all(isinstance(row, Mapping) for row in given):
        return f"{_short(given)}, not a list of dicts"
    if rows is not None and len(given) != rows:
        return f"{len(given)} dicts for {rows} rows"
    for row in given:
        for name, fact in row.items():
            if not isinstance(fact, Fact):
                return f"{_short(fact)} for {name!r}, not a Fact"
            try:
                json.dumps([fact.value, fact.probability])
            except (TypeError, ValueError):
                return f"{_short(fact)} for {name!r}; only words, numbers and lists of them can be kept"
    return ""


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:59]}…"


def facts_of(entry: Entry) -> dict[str, Fact]:
    """Estimated facts of a cache entry."""
    return {n: Fact(v, "estimate" if v is not None else "missing", p) for n, (v, p) in entry.facts.items()}
