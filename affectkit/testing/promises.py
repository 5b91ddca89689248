"""The promises that each kind of piece must keep, for the tests of plugin authors.

    from affectkit.testing import keeps_its_promises

    def test_contract():
        for piece in my_plugin.affectkit_pieces():
            keeps_its_promises(piece)

What is checked stands in `record` (settings and the record itself), `light` (no torch before it is needed), `steps`,
`text` (prompts and metrics), `readers`, `media` (data sets and detectors), `others` (clients and converters) and `backbone`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from affectkit.errors import InputError, Problem, raised_at
from affectkit.pieces import Piece, Shape
from affectkit.recipe import settings as reading
from affectkit.testing import light as looks
from affectkit.testing import record

Promises = Sequence[Callable[[Any], Iterator[str]]]
"""Checks, each of which yields what is wrong; the promise in words is its docstring as far as a colon."""


class BrokenPromise(AssertionError):
    """A piece does not do what its kind promises; `broken` holds (promise, what was seen)."""

    def __init__(self, piece: Piece, broken: list[tuple[str, str]]) -> None:
        self.broken = broken
        lines = [f"{piece.kind} {piece.name!r} breaks {len(broken)} of the promises of its kind:"]
        lines += [f"{i}. {promise}: {what}" for i, (promise, what) in enumerate(broken, 1)]
        super().__init__("\n".join(lines))


def missing(piece: Piece) -> list[str]:
    """The packages in `needs` that are not installed: without them a piece cannot be tested."""
    return [name for name in piece.needs if importlib.util.find_spec(name) is None]


def keeps_its_promises(
    piece: Piece,
    *,
    settings: Mapping[str, object] | None = None,
    inputs: Mapping[str, Shape] | None = None,
    idle: Mapping[str, str] | None = None,
    light: bool = True,
) -> tuple[str, ...]:
    """Check everything that a piece of this kind promises, on its `tiny` settings; returns the promises, in words.

    `settings` are laid over `tiny` (for a path that only the test knows); `inputs` maps ports to the shapes that a step
    is tried on, where the usual ones do not fit it; `idle` maps patterns of names of parameters whose gradient is zero
    to the reason. `light=False` leaves out the check that nothing heavy is imported too early, which starts a process.

    Raises BrokenPromise (an AssertionError) naming every promise that is broken, with figures; InputError where a
    package that the piece needs is not installed.
    """
    absent = missing(piece)
    if absent:
        raise InputError(Problem(f"{piece.kind} {piece.name}", f"needs {', '.join(absent)}", "install it to test it"))
    values = {**piece.tiny, **(settings or {})}
    kept = _check(piece, record.PROMISES, (piece, values))
    make, promises = _of_kind(piece.kind)
    made, _ = reading.read(piece.settings, values, str)
    try:
        subject = make(piece, made, dict(inputs or {}), dict(idle or {}))
    except Exception as error:
        raise BrokenPromise(piece, [("can be built with its tiny settings", _error_text(error))]) from error
    kept += _check(piece, promises, subject)
    # Last: a piece that raises is named by the promise of its kind that it breaks, not by a process that ended.
    return (*kept, *(_check(piece, looks.PROMISES, (piece, values, dict(inputs or {}))) if light else ()))


KITS = {
    "dataset": "media",
    "detector": "media",
    "head": "heads",
    "objective": "objectives",
    "prompt": "text",
    "metric": "text",
    "reader": "readers",
    "annotator": "annotators",
    "backbone": "backbone",
    "client": "others",
    "converter": "others",
}
"""Kinds and the modules that hold their promises; those of all others, the kinds of steps, are in `steps`."""


def _of_kind(kind: str) -> tuple[Callable[..., Any], Promises]:
    """What makes the thing that the promises of a kind are checked on, and the promises. Most of them need torch."""
    kits = importlib.import_module(f"affectkit.testing.{KITS.get(kind, 'steps')}").KITS
    make, promises = kits[kind]
    return make, promises


def _check(piece: Piece, promises: Promises, subject: object) -> list[str]:
    """The promises, all of them kept. Raises BrokenPromise."""
    kept: list[str] = []
    broken: list[tuple[str, str]] = []
    raised: dict[str, list[str]] = {}
    for check in promises:
        words = (check.__doc__ or check.__name__).partition(":")[0].rstrip(".")
        promise = words[0].lower() + words[1:]
        try:
            wrong = list(check(subject))
        except Exception as error:
            what = _error_text(error)
            # One mistake in what a piece runs would else be told once a promise.
            broken += [] if what in raised else [(promise, what)]
            raised.setdefault(what, []).append(promise)
            continue
        kept += [] if wrong else [promise]
        broken += [(promise, what) for what in wrong]
    others = {what: f"; so {len(n) - 1} other promises could not be looked at" for what, n in raised.items() if n[1:]}
    if broken:
        raise BrokenPromise(piece, [(promise, what + others.get(what, "")) for promise, what in broken])
    return kept


def _error_text(error: Exception) -> str:
    """An exception, the last line outside the frame and installed packages that it came through, and its end."""
    line = raised_at(error)
    where = f" (at {Path(line.filename).name}:{line.lineno} `{line.line}`)" if line else ""
    return f"{type(error).__name__}: {error}{where}"
