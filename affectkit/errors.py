"""Errors that say the place, what is wrong, what is known and the nearest fix."""

from __future__ import annotations

import difflib
import signal
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in the words a user needs to mend it."""

    place: str
    """Where: `recipes/a.yaml:12:5`, `streams.face.encoder`, a file, a sample id."""
    what: str
    """What is wrong, one sentence without a full stop."""
    fix: str = ""
    """The nearest fix, as an instruction."""
    known: tuple[str, ...] = ()
    """What would have been accepted, where that is a short list of names."""

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.what}" if self.place else self.what]
        if self.known:
            lines.append(f"    known: {', '.join(self.known)}")
        if self.fix:
            lines.append(f"    fix: {self.fix}")
        return "\n".join(lines)


class AffectkitError(Exception):
    """Base of every error that affectkit raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(self, problems: Problem | str | Sequence[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem("", problems)
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class InputError(AffectkitError):
    """What the user gave is wrong (a recipe, a file, an argument). Exit code 2."""

    exit_code = 2


class MediaError(AffectkitError):
    """One media file cannot be decoded. It costs that sample, never the run: the frame puts it in the ledger."""


class RunError(AffectkitError):
    """The input was right and the run failed all the same. Exit code 1."""


class WriteError(RunError, OSError):
    """A file cannot be written; an OSError too, for who expects one of these."""


class PieceError(RunError):
    """A piece failed, or did not keep what its kind promises; names it, its distribution and its line."""


class Interrupted(BaseException):
    """A signal ended the run. No `Exception`, so that nothing that forgives errors takes it for one of them."""

    def __init__(self, number: int, where: str = "") -> None:
        self.exit_code = 128 + number
        """What the command line returns: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        super().__init__(f"interrupted by {signal.Signals(number).name}{f' {where}' if where else ''}")


HEAVY = ("torch", "transformers", "lightning", "jax", "tensorflow")
"""What `check`, `pieces` and help must not import (whatever else is slow imports one of these). NumPy is allowed."""
LONGEST = 300
"""Characters of a foreign error message that are shown."""
_OTHERS = (*HEAVY, "importlib", "pluggy", "numpy", "contextlib.py")
"""Folders whose lines are no place where a piece is mended."""
_FRAME = Path(__file__).parent


def is_foreign(file: str) -> bool:
    """Whether a file is the frame's own, or of a library that pieces call: no place where a piece is mended."""
    path = Path(file)
    return path.is_relative_to(_FRAME) or file.startswith("<frozen") or bool({*_OTHERS}.intersection(path.parts))


def raised_at(error: BaseException) -> traceback.FrameSummary | None:
    """The last line that an exception came through outside the frame and the libraries that pieces call; where there is
    none the last of a library's, and None where the frame itself raised it."""
    lines = traceback.extract_tb(error.__traceback__)
    own = [line for line in lines if not is_foreign(line.filename)]
    last = [line for line in lines[-1:] if not Path(line.filename).is_relative_to(_FRAME)]
    return next(iter(own[-1:] or last), None)


def cause(error: BaseException) -> str:
    """An exception in one line: its type, its words and where it was raised.

    >>> cause(ValueError("no good"))
    'ValueError: no good'
    """
    line = raised_at(error)
    where = f" ({Path(line.filename).name}:{line.lineno})" if line else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:LONGEST]}{where}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that looks most like `name`, or the empty string if none is close."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def unknown(place: str, what: str, name: str, known: Iterable[str], also: str = "") -> Problem:
    """The problem "unknown `what` `name`", with the near miss as its fix and the whole list as what is known.

    >>> print(unknown("a.yaml:3:5", "piece", "liner", ["linear", "mlp"]))
    a.yaml:3:5: unknown piece 'liner'
        known: linear, mlp
        fix: did you mean 'linear'?
    """
    names = tuple(sorted(known))
    close = nearest(name, names)
    fix = f"did you mean {close!r}?" if close else ""
    said = repr(name) if len(name) <= 80 else f"{name[:77]!r}…"
    return Problem(place, f"unknown {what} {said}", " ".join(t for t in (fix, also) if t), names)
