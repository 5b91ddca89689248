"""The record of a recipe: its sections, and where each value was written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affectkit.errors import Problem
from affectkit.recipe.marked_yaml import Mark, Path_

SECTIONS = (
    "name", "about", "extends", "plugins", "data", "views", "streams", "prompt", "backbone", "stages", "score", "run",
)  # fmt: skip

_MAPPINGS = ("data", "views", "streams", "prompt", "backbone", "stages", "score", "run")

_PLACE = re.compile(r"(.+?):(\d+):(\d+)")


@dataclass(frozen=True)
class Form:
    """What a file of this language may hold at its top."""

    what: str
    """How messages call it."""
    sections: tuple[str, ...]
    mappings: tuple[str, ...]
    """The sections that are mappings."""
    interpolates: bool = True
    """Whether `${section.key}` repeats a value of this file; a sweep's stand for values of its recipe."""


RECIPE = Form("recipe", SECTIONS, _MAPPINGS)


@dataclass
class Recipe:
    """A recipe as merged: plain values, where each was written, and what was wrong with the reading."""

    source: str
    """The file as the user named it."""
    values: dict[str, Any]
    marks: dict[Path_, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    overrides: tuple[str, ...] = ()
    files: list[str] = field(default_factory=list)
    """The recipe and what it extends, as messages call them, in the order of reading."""
    broken: bool = False
    """Whether a file of it could not be read as a whole: what is missing then is no problem of its own."""
    left_out: bool = False
    """Whether plugin files that it names were not loaded: a piece that nobody knows may be theirs."""
    form: Form = RECIPE

    def place(self, path: Sequence[str | int]) -> str:
        """Where `path` was written; where it was not, its nearest written ancestor and the rest as a dotted address."""
        path = tuple(path)
        for end in range(len(path), -1, -1):
            mark = self.marks.get(path[:end])
            if mark:
                address = ".".join(map(str, path))
                return f"{mark}: {address}" if address else str(mark)
        return f"{self.source}: {'.'.join(map(str, path))}"

    def get(self, *path: str) -> Any:
        """The value at a path, or None."""
        value: Any = self.values
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def in_order(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems by file, line and column, overrides behind the files; each once."""

        def order(problem: Problem) -> tuple[int, int, int]:
            found = _PLACE.match(problem.place)
            if found and found[1] in self.files:
                return self.files.index(found[1]), int(found[2]), int(found[3])
            return len(self.files) - (problem.place in self.files), 0, 0

        return sorted({(p.place, p.what): p for p in problems}.values(), key=order)
