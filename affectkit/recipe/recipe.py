"""The record of a recipe: its sections, and where each value was written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from affectkit.errors import InputError, Problem, unknown
from affectkit.recipe.interpolate import interpolate
from affectkit.recipe.marked_yaml import MOST_DEPTH, WRONG, Mark, Path_, copied, value_at
from affectkit.recipe.merge import MarkedValues, current, is_block, put_in_order
from affectkit.recipe.overrides import lay_override, lay_value, names_piece
from affectkit.recipe.settings import show, yaml_text

SECTIONS = (
    "name", "about", "extends", "plugins", "data", "views", "streams", "prompt", "backbone", "heads", "stages", "score",
    "run",
)  # fmt: skip

_MAPPINGS = ("data", "views", "streams", "prompt", "backbone", "heads", "stages", "score", "run")

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
    values: dict[str, object]
    marks: dict[Path_, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    overrides: tuple[str, ...] = ()
    files: list[str] = field(default_factory=list)
    """The recipe and what it extends, as messages call them, in the order of reading."""
    broken: bool = False
    """Whether a file of it could not be read as a whole: what is missing then is no problem of its own."""
    left_out: bool = False
    """Whether plugin files that it names were not loaded: a piece that is not found may be in one of them."""
    form: Form = RECIPE
    _written: tuple[dict[str, object], list[Problem]] | None = field(default=None, repr=False, compare=False)
    """Values and problems before `resolve`: what changes are laid over."""

    def __getitem__(self, address: str) -> Any:
        """The value at a dotted address (`recipe["streams.audio.steps.adapter.width"]`), mappings and lists as copies.

        Raises InputError with the nearest address where nothing is written there: what a recipe leaves out has its piece's
        default, which `affectkit.check` fills in.
        """
        value: Any = self.values
        parts = current(tuple(address.split(".")))
        for end, key in enumerate(parts):
            above = ".".join(parts[:end])
            if isinstance(value, str) and key == "use" and is_block(parts[:end]):  # `encoder: linear`
                continue
            if not isinstance(value, Mapping):
                problem = Problem(self.place(parts[:end]), f"is {show(value)}, it has no key {key!r} below it")
                raise InputError(problem)
            if key not in value:
                also = "what is not written has its piece's default" if end else ""
                problem = unknown(self.place(parts[:end]), f"key in {above}:" if end else "section", key, value, also)
                raise InputError(problem if value or end else [*self.in_order(self.problems), problem])
            value = value[key]
            if value is WRONG:
                raise InputError(self.in_order(self.problems))
        return copied(value)

    def __contains__(self, address: str) -> bool:
        """Whether something is written at a dotted address; null is nothing."""
        return self.get(*current(tuple(address.split(".")))) is not None

    def __setitem__(self, address: str, value: Any) -> None:
        """Set the value at a dotted address, by the rules of overrides: mappings merge, all else replaces, None takes out,
        another `use` drops the settings of the piece before.

        Raises InputError, and changes nothing, for an address that cannot be and a value that no YAML file could hold; whether
        its piece takes the value is known to `affectkit.check`, whose problems then say "set in Python".
        """
        mark, parts = Mark("set in Python"), tuple(address.split("."))
        at = f"{mark}: {address}"
        if not all(parts):
            raise InputError(Problem(at, "is no address", "for example stages.align.epochs"))
        clean = plain_value(value, str(mark), parts)
        values, _ = self._as_written()
        problems = lay_value(MarkedValues(values, self.marks), parts, clean, mark, at, self.form.sections)
        if problems:
            raise InputError(problems)
        self.overrides += (f"{address}={yaml_text(clean)}",)
        self.resolve()

    def __delitem__(self, address: str) -> None:
        """Take out what is written at a dotted address, as if it had never been. Raises InputError where nothing is."""
        *above, key = parts = current(tuple(address.split(".")))
        values, _ = self._as_written()
        holder = value_at(values, tuple(above))
        if not isinstance(holder, dict) or key not in holder:
            known = holder if isinstance(holder, Mapping) else ()
            raise InputError(unknown(self.place(above), f"key in {'.'.join(above) or 'the recipe'}:", key, known))
        del holder[key]
        for path in [p for p in self.marks if p[: len(parts)] == parts]:
            del self.marks[path]
        self.overrides = tuple(o for o in self.overrides if current(tuple(o.partition("=")[0].split("."))) != parts)
        self.resolve()

    def lay(self, overrides: Sequence[str]) -> None:
        """Lay dotted overrides (`stages.align.epochs=1`) over the recipe, those first that say which piece a block uses; what
        is wrong with them joins `problems`."""
        values, problems = self._as_written()
        for override in sorted(overrides, key=lambda o: not names_piece(o)):
            problems += lay_override(MarkedValues(values, self.marks), override, self.form.sections)
        self.overrides += tuple(overrides)
        self.resolve()

    def copy(self) -> Recipe:
        """The same recipe, to be changed or checked apart from this one."""
        values, problems = self._as_written()
        written = copied(values), list(problems)
        marks, found, files = dict(self.marks), list(self.problems), list(self.files)
        return replace(self, values=copied(self.values), marks=marks, problems=found, files=files, _written=written)

    def resolve(self) -> None:
        """Put in order what says `insert`, check the form of every section and put in what each `${section.key}` stands
        for; anew after each change."""
        values, problems = self._as_written()
        self.values, self.problems = copied(values), list(problems)
        self.problems += put_in_order(self.values, self.place)
        _check_sections(self)
        if self.form.interpolates:
            interpolate(self.values, self.place, self.problems)

    def _as_written(self) -> tuple[dict[str, object], list[Problem]]:
        if self._written is None:
            self._written = copied(self.values), list(self.problems)
        return self._written

    def place(self, path: Sequence[str | int]) -> str:
        """Where `path` was written; where it was not, its nearest written ancestor and the rest as a dotted address."""
        path = tuple(path)
        for end in range(len(path), -1, -1):
            mark = self.marks.get(path[:end])
            if mark:
                address = ".".join(map(str, path))
                return f"{mark}: {address}" if address else str(mark)
        return f"{self.source}: {'.'.join(map(str, path))}"

    def get(self, *path: str | int) -> Any:
        """The value at a path; None where nothing is, `WRONG` where something was reported."""
        return value_at(self.values, path)

    def in_order(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems by file, line and column, overrides behind the files; each once."""

        def order(problem: Problem) -> tuple[int, int, int]:
            found = _PLACE.match(problem.place)
            if found and found[1] in self.files:
                return self.files.index(found[1]), int(found[2]), int(found[3])
            return len(self.files) - (problem.place in self.files), 0, 0

        return sorted({(p.place, p.what): p for p in problems}.values(), key=order)


def _check_sections(recipe: Recipe) -> None:
    """Report keys that are no sections, and sections that are not of the type that their reader expects."""
    for key in recipe.values:
        if key not in recipe.form.sections:
            also = f"affectkit annotate {recipe.source} runs what has annotators" if key == "annotators" else ""
            recipe.problems.append(unknown(recipe.place((key,)), "section", key, recipe.form.sections, also))
    for key in recipe.form.sections:
        value = recipe.values.get(key)
        if value is None or value is WRONG:
            continue
        wants = ""
        fits = isinstance(value, Mapping) or (isinstance(value, str) and is_block((key,)))
        if key in recipe.form.mappings and not fits:
            wants = "a mapping"
        elif key in ("name", "about") and not isinstance(value, (str, int, float)):
            wants = "text"
        elif key == "plugins" and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
            wants = "a list of .py files"
        if wants:
            recipe.problems.append(Problem(recipe.place((key,)), f"wants {wants}, got {show(value)}"))
            recipe.values[key] = WRONG


def plain_value(value: Any, source: str, path: tuple[str, ...] = ()) -> Any:
    """A value from Python as a YAML file would give it: a path as text, tuples as lists, numpy's numbers as plain ones.

    Raises InputError for one that no YAML file could hold; `source` and `path` say where it was given.
    """
    at = f"{source}: {'.'.join(path)}" if path else source
    if len(path) > MOST_DEPTH:
        raise InputError(Problem(at, "is nested too deeply, which no recipe is"))
    if isinstance(value, Mapping):
        strange = [key for key in value if not isinstance(key, str | int) or isinstance(key, bool)]
        if strange:
            raise InputError(Problem(at, f"a key must be a word, got {show(strange[0])}"))
        return {str(key): plain_value(child, source, (*path, str(key))) for key, child in value.items()}
    if isinstance(value, Path):
        return str(value)
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list | tuple):
        return [plain_value(child, source, (*path, str(i))) for i, child in enumerate(value)]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    what = f"wants plain values (text, numbers, true or false, null, lists and mappings of them), got {show(value)}"
    raise InputError(Problem(at, what))
