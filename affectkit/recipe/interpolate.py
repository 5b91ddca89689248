"""`${section.key}` in a recipe.

OmegaConf puts the values in; what it would also do (read the environment, call resolvers, nest, grow without end) is
refused before it sees them, each with its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from affectkit.errors import Problem, nearest
from affectkit.recipe.marked_yaml import WRONG, Path_, items, walk
from affectkit.recipe.merge import current
from affectkit.recipe.settings import plain

MOST = 20_000
"""Characters and values that one interpolation may stand for."""
MOST_LINKS = 50
"""Interpolations that may lead through each other."""
_OPENS = re.compile(r"(\\*)\$\{")
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_NAME = re.compile(r"(\.*)([A-Za-z_][\w-]*(?:\.[\w-]+)*)")


def interpolate(values: dict[str, object], place: Callable[[Path_], str], problems: list[Problem]) -> None:
    """Resolve every interpolation in `values`, in place; one that cannot be resolved becomes `WRONG`."""
    texts = [(path, text) for path, text in walk(values) if isinstance(text, str) and "${" in text]
    for path, text in texts:
        _put(values, path, _renamed(path, text))
    paths = [path for path, _ in texts]
    reader = _Reader(values, place, problems)
    good = [path for path in paths if reader.size(path) is not None]
    for path in [p for p in paths if reader.size(p) is None]:
        _put(values, path, WRONG)
    if not good:
        return
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    config = OmegaConf.create(plain(values), flags={"allow_objects": True})  # of objects there is `WRONG` alone
    resolved: dict[Path_, Any] = {}
    for path in good:
        try:
            node: Any = _at(config, path)
            resolved[path] = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        except OmegaConfBaseException as error:
            problems.append(Problem(place(path), f"cannot be resolved: {str(error).splitlines()[0]}"))
            resolved[path] = WRONG
    for path, value in resolved.items():
        _put(values, path, value)


def _renamed(path: Path_, text: str) -> str:
    """The text at `path` with today's names of the settings that it refers to."""

    def today(found: re.Match[str]) -> str:
        match = _NAME.fullmatch(found[1].strip())
        if match is None:
            return found[0]
        above = path[: len(path) - len(match[1])] if match[1] else ()
        whole = (*map(str, above), *match[2].split("."))
        below = ".".join(current(whole)[len(above) :])
        return found[0] if current(whole) == whole else f"${{{match[1]}{below}}}"

    return _REFERENCE.sub(today, text)


def escape(text: str) -> str:
    """A text that `interpolate` leaves as `text`."""
    return _OPENS.sub(lambda found: f"{found[1] * 2}\\${{", text)


@dataclass
class _Reader:
    """Follows references through the values as written, and measures what they stand for."""

    values: dict[str, object]
    place: Callable[[Path_], str]
    problems: list[Problem]
    sizes: dict[Path_, int | None] = field(default_factory=dict)
    """What each path grows to; None = reported as wrong, or leading to something that was."""
    open: list[Path_] = field(default_factory=list)

    def size(self, path: Path_) -> int | None:
        """Characters and values at `path` once everything in it is resolved; None where that cannot be."""
        if path in self.sizes:
            return self.sizes[path]
        value = _at(self.values, path)
        if value is WRONG:
            return None
        if path in self.open:
            circle = " -> ".join(".".join(map(str, p)) for p in [*self.open[self.open.index(path) :], path])
            return self._wrong(path, f"interpolations form a circle: {circle}", "write one of them out")
        if len(self.open) > MOST_LINKS:
            return self._wrong(path, f"more than {MOST_LINKS} interpolations lead through each other")
        self.open.append(path)
        inner = [self.size((*path, key)) for key, _ in items(value)]
        inner += self._text(path, value) if isinstance(value, str) and "${" in value else []
        self.open.pop()
        if path not in self.sizes:
            known = [n for n in inner if n is not None]
            whole = sum(known) + (len(value) if isinstance(value, str) else 1)
            self.sizes[path] = whole if len(known) == len(inner) else None
            if len(known) == len(inner) and whole > MOST and isinstance(value, str):
                self._wrong(path, f"the interpolation stands for more than {MOST:,} characters or values")
        return self.sizes[path]

    def _wrong(self, path: Path_, what: str, fix: str = "", known: tuple[str, ...] = ()) -> Any:
        """Tell what is wrong; None."""
        self.sizes[path] = None
        self.problems.append(Problem(self.place(path), what, fix, known))
        return None

    def _text(self, path: Path_, text: str) -> list[int | None]:
        """Sizes of what the references in a text stand for."""
        sizes: list[int | None] = []
        for opened in _OPENS.finditer(text):
            if len(opened[1]) % 2:  # an escaped one: `\\${` is the text `${`
                continue
            found = _REFERENCE.match(text, opened.end() - 2)
            if found is None:
                self._wrong(
                    path, f"broken or nested interpolation in {text!r}", "write ${section.key}, or \\${ for the text ${"
                )
                return [None]
            target = self._target(path, found[1].strip())
            sizes.append(None if target is None else self.size(target))
        return sizes

    def _target(self, path: Path_, name: str) -> Path_ | None:
        """The path that a reference names: from the top, or after dots from the mapping that holds it."""
        match = _NAME.fullmatch(name)
        if match is None:
            what = f"the interpolation ${{{name}}} is not allowed: only another key of the recipe can be named"
            return self._wrong(path, what, "write the value itself")
        above = path[: len(path) - len(match[1])] if match[1] else ()
        if len(match[1]) > len(path):
            return self._wrong(path, f"the interpolation ${{{name}}} leads above the recipe")
        target: Path_ = above
        for word in match[2].split("."):
            value = _at(self.values, target)
            keys = {str(key): key for key, _ in items(value)}
            if word not in keys:
                close = nearest(word, keys)
                fix = f"did you mean ${{{'.'.join(map(str, (*target, close)))}}}?" if close else ""
                return self._wrong(path, f"the interpolation ${{{name}}} names no key of the recipe", fix, tuple(keys))
            target = (*target, keys[word])
        return target


def _at(values: Any, path: Path_) -> Any:
    for key in path:
        values = values[key]
    return values


def _put(values: Any, path: Path_, value: Any) -> None:
    _at(values, path[:-1])[path[-1]] = value
