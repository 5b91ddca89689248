"""Blocks of a recipe: `use` names a piece, all else are its settings; and the reader that all checks share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from affectkit.errors import InputError, Problem, nearest, unknown
from affectkit.pieces import NamesStreams, Piece, ReadsFacts
from affectkit.recipe import settings as reading
from affectkit.recipe.marked_yaml import WRONG, Path_, value_at
from affectkit.recipe.merge import is_block
from affectkit.recipe.recipe import Recipe
from affectkit.registry import Registry

S = TypeVar("S")
NAME = re.compile(r"[^\W_]+([_-][^\W_]+)*")
"""Names of views, streams, steps and stages: they become addresses (`stream.step`), globs and folders."""
NO_STREAMS = ("backbone", "streams", "heads", "objectives", "llm")
"""First words of addresses that are no streams."""


def slots_of(use: Use) -> tuple[str, ...]:
    """Streams whose tokens a part of the prompt takes in."""
    return tuple(use.settings.slots()) if isinstance(use.settings, NamesStreams) else ()


def reads_of(use: Use) -> Mapping[str, Sequence[str]]:
    """Steps whose facts a part of the prompt reads, each with the names of the facts."""
    return dict(use.settings.reads()) if isinstance(use.settings, ReadsFacts) else {}


def task_of(use: Use) -> str:
    """The task that a part of the prompt is set to; empty for a part that speaks in every task."""
    task = getattr(use.settings, "task", "")
    return task if isinstance(task, str) else ""


def task_of_head(piece: Piece, settings: Any) -> str:
    """The task that a head of these settings answers."""
    said = piece.answers
    return said(settings) if callable(said) else said


@dataclass(frozen=True)
class Use:
    """A piece with its settings, as a recipe uses it."""

    piece: Piece
    settings: Any
    client: Use | None = None
    """The client that a metric asks, where it asks one."""

    @classmethod
    def of(cls, piece: Piece, values: Mapping[str, object], place: str) -> Use:
        """A piece with settings from values. Raises InputError with every problem; `place` begins where each is."""
        made, problems = reading.read(piece.settings, values, lambda below: ".".join([place, *map(str, below)]))
        if problems:
            raise InputError(problems)
        return cls(piece, made)

    def block(self) -> dict[str, object]:
        """The recipe's block for it, with every default."""
        return {"use": self.piece.name, **reading.plain(self.settings)}


def client_of(registry: Registry, block: Mapping[str, object]) -> Use:
    """The client that a block names, with its settings. Raises InputError for one that there is not."""
    return _of_block(registry, block, "client")


def reader_of(registry: Registry, block: str | Mapping[str, object]) -> Use:
    """The same for a reader, which may be named alone."""
    return _of_block(registry, {"use": block} if isinstance(block, str) else block, "reader")


def _of_block(registry: Registry, block: Mapping[str, object], kind: str) -> Use:
    piece = registry.piece(kind, str(block.get("use", "")))
    return Use.of(piece, {k: v for k, v in block.items() if k != "use"}, kind)


def at_key(recipe: Recipe, problem: Problem, path: Path_, piece: Piece) -> Problem:
    """A problem that a piece reported of a setting or port of its own (or of nothing), with its place in the recipe."""
    key = problem.place.removeprefix("port ").removeprefix(f"{piece.name}.").removeprefix(piece.name)
    if key and key not in reading.type_hints(piece.settings) and key not in {p.name for p in piece.ports}:
        return replace(problem, place=f"{recipe.place(path)} ({problem.place})")
    return replace(problem, place=recipe.place((*path, key) if key else path))


def spelled_out(path: Path_, values: Any) -> Any:
    """Settings with the blocks among them that are written as a name alone (`detector: haar`) as mappings."""
    if not isinstance(values, Mapping):
        return values
    return {k: {"use": v} if isinstance(v, str) and is_block((*path, k)) else v for k, v in values.items()}


@dataclass
class Checker:
    """A recipe, read against the pieces: its blocks and settings, and all that is wrong with them."""

    recipe: Recipe
    registry: Registry
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: Path_, what: str, fix: str = "", known: Iterable[str] = ()) -> None:
        """Something is wrong at a path."""
        self.problems.append(Problem(self.recipe.place(path), what, fix, tuple(known)))

    def unknown(self, path: Path_, what: str, name: str, known: Iterable[str], also: str = "") -> None:
        """A name at a path is not known."""
        self.problems.append(unknown(self.recipe.place(path), what, name, known, also))

    def is_name(self, path: Path_, what: str) -> bool:
        """Whether the last key of a path can be the name of a view, stream, step or stage."""
        name = str(path[-1])
        if NAME.fullmatch(name) and not (what == "stream" and name in NO_STREAMS):
            return True
        other = "has other signs than letters, digits and single _ or - between them"
        why = "is taken" if name in NO_STREAMS else other
        self.problem(path, f"the name of the {what} {name!r} {why}", "rename it")
        return False

    def settings(self, cls: type[S], values: Mapping[str, object], path: Path_, also: Sequence[str] = ()) -> S | None:
        """Values from a path as settings; None if wrong. `also` are keys that may stand beside them."""
        made, found = reading.read(cls, values, lambda below: self.recipe.place((*path, *below)), also)
        self.problems += found
        return made

    def block(self, path: Path_, kind: str, leave: Sequence[str] = ()) -> Use | None:
        """The piece that the block at `path` uses, with its settings; keys in `leave` are no settings. None if wrong."""
        block = value_at(self.recipe.values, path)
        block = {"use": block} if isinstance(block, str) else block
        if not isinstance(block, Mapping):
            if block is not WRONG:
                fix = f"write {{use: NAME}} with the name of a {kind}"
                self.problem(path, f"wants a block with `use`, got {reading.show(block)}", fix)
            return None
        piece = self._piece(path, block, kind)
        if piece is None:
            return None
        others = (*(p.name for p in piece.ports), *leave)
        clean = {k: v for k, v in spelled_out(path, block).items() if k != "use" and k not in others}
        before = len(self.problems)
        made = self.settings(piece.settings, clean, path, ("use", *others))  # also for the near miss: `us`
        self.problems[before:] = [self._elsewhere(problem, kind) for problem in self.problems[before:]]
        return None if made is None else Use(piece, made)

    def in_part(self, path: Path_, kind: str) -> Piece | None:
        """The piece of a block that `block` found wrong, with those of its ports that the block names: what these name is right
        or wrong whatever its settings. None where there is no such piece."""
        block = value_at(self.recipe.values, path)
        piece = self.registry.find(kind, str(block.get("use"))) if isinstance(block, Mapping) else None
        return piece and replace(piece, ports=tuple(p for p in piece.ports if p.name in block))

    def _piece(self, path: Path_, block: Mapping[str, object], kind: str) -> Piece | None:
        name, at = block.get("use"), (*path, "use")
        if name is WRONG:
            return None
        if not isinstance(name, str):
            close = nearest("use", block) if "use" not in block else ""
            what = f"`use` must name a {kind}" + (f", got {reading.show(name)}" if "use" in block else "")
            fix = f"write `use` for {close!r}" if close else f"add `use: …`, the name of a {kind}"
            self.problem(at, what, fix, self.registry.names(kind))
            return None
        piece = self.registry.find(kind, name)
        if piece is None and self.recipe.left_out:
            return None
        problem = self.registry.problem(kind, name, self.recipe.place(at))
        # A piece whose package is missing is known all the same: its settings and wiring are checked too.
        self.problems += [problem] if problem else []
        return piece

    def _elsewhere(self, problem: Problem, kind: str) -> Problem:
        """For a key that this piece does not know and a few others of its kind do: name those."""
        key = problem.what.removeprefix("unknown key ").strip("'")
        if not problem.known or problem.fix:
            return problem
        ours = (p for p in self.registry.pieces() if self.registry.find(kind, p.name) is p)
        others = [p.name for p in ours if key in reading.type_hints(p.settings)]
        few = 0 < len(others) <= 3
        return replace(problem, fix=f"the {kind} {' or '.join(others)} has it: change `use` too?") if few else problem
