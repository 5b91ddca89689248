"""A YAML file to a Recipe: `extends`, overrides and interpolation, with a mark on every value and every problem at once.

Imports no torch. Nothing in a recipe can run code, read the environment or load a file as a plugin.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affectkit import marked_yaml
from affectkit.errors import InputError, Problem, unknown
from affectkit.marked_yaml import Mark, Path_
from affectkit.settings import show

SECTIONS = (
    "name", "about", "extends", "plugins", "data", "views", "streams", "prompt", "backbone", "stages", "score", "run",
)  # fmt: skip
_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"\.*[A-Za-z_]\w*(\.\w+)*$")


@dataclass
class Recipe:
    """A recipe as merged: plain values, where each was written, and what was wrong with the reading."""

    source: str
    """The file as the user named it."""
    values: dict[str, Any]
    marks: dict[Path_, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    overrides: tuple[str, ...] = ()

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


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, what it extends, and dotted overrides (`stages.align.epochs=1`); nothing is checked against pieces.

    Raises InputError when the file does not exist. Other problems are collected in `Recipe.problems`.
    """
    path = find(str(source))
    if path is None:
        known = shipped()
        raise InputError(
            unknown(
                "",
                "recipe",
                str(source),
                known,
                "give the path of a YAML file, or the name of a shipped recipe",
            )
        )
    recipe = Recipe(str(source), {}, overrides=tuple(overrides))
    values, marks = _read(path, str(source), (), (path.resolve(),), recipe.problems)
    recipe.values, recipe.marks = values, marks
    for override in sorted(overrides, key=lambda o: not o.split("=", 1)[0].endswith(".use")):
        _override(recipe, override)
    _check_sections(recipe)
    _interpolate(recipe)
    return recipe


def find(source: str, beside: Path | None = None) -> Path | None:
    """The file of that name: beside the extending recipe, in the working folder, or among the shipped ones."""
    tries = [beside / source] if beside else []
    tries.append(Path(source))
    for path in tries:
        for candidate in (path, path.with_name(path.name + ".yaml")):
            if candidate.is_file():
                return candidate
    name = source.removeprefix("./").removeprefix("recipes/").removesuffix(".yaml")
    shipped_path = shipped_folder() / f"{name}.yaml"
    return shipped_path if shipped_path.is_file() else None


def shipped_folder() -> Path:
    """The folder of the shipped recipes, in a wheel as well as in an editable install.

    `importlib.resources` finds no data files of a package that an editable install maps to another folder, so the
    package's own place is asked for.
    """
    import affectkit_recipes

    if affectkit_recipes.__file__:
        return Path(affectkit_recipes.__file__).parent
    return Path(str(importlib.resources.files("affectkit_recipes")))


def shipped() -> list[str]:
    """Names of the shipped recipes: `emo_llama`, `paper/emo_llama`, …"""
    root = shipped_folder()
    return sorted(str(p.relative_to(root).with_suffix("")) for p in root.rglob("*.yaml"))


def _read(
    path: Path, name: str, chain: tuple[str, ...], seen: tuple[Path, ...], problems: list[Problem]
) -> tuple[dict[str, Any], dict[Path_, Mark]]:
    value, marks, found = marked_yaml.read(path, name, chain)
    problems.extend(found)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        problems.append(Problem(name, f"a recipe is a mapping of sections, this is {show(value)}", known=SECTIONS))
        return {}, {}
    parents = value.pop("extends", None)
    parents = [parents] if isinstance(parents, str) else parents or []
    merged: dict[str, Any] = {}
    merged_marks: dict[Path_, Mark] = {(): marks.get((), Mark(name))}
    for parent in parents:
        at = str(marks.get(("extends",), Mark(name)))
        file = find(str(parent), path.parent)
        if file is None:
            problems.append(unknown(at, "recipe to extend", str(parent), shipped()))
        elif file.resolve() in seen:
            names = " -> ".join([*chain, name, str(parent)])
            problems.append(Problem(at, f"a recipe extends itself: {names}", "remove one `extends` of the circle"))
        else:
            base, base_marks = _read(file, str(parent), (*chain, name), (*seen, file.resolve()), problems)
            _merge(merged, merged_marks, base, base_marks, ())
    _merge(merged, merged_marks, value, marks, ())
    return merged, merged_marks


def _merge(
    into: dict[str, Any],
    into_marks: dict[Path_, Mark],
    new: Mapping[str, Any],
    new_marks: Mapping[Path_, Mark],
    path: Path_,
) -> None:
    """Lay `new` over `into`: mappings merge, all else replaces, null removes; a changed `use` drops the old settings."""
    for key, value in new.items():
        here = (*path, key)
        old = into.get(key)
        if value is None and key in into:
            del into[key]
            _forget(into_marks, here)
            # a section or block set to null stays away; a setting set to null is a value that its type may allow
            if not isinstance(old, Mapping):
                into[key] = None
                into_marks[here] = new_marks[here]
            continue
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if "use" in value and "use" in old and value["use"] != old["use"]:
                into[key] = {}
                _forget(into_marks, here)
            into_marks.setdefault(here, new_marks.get(here, new_marks[()]))
            _merge(into[key], into_marks, value, new_marks, here)
            continue
        _forget(into_marks, here)
        into[key] = _copy(value)
        into_marks.update({p: m for p, m in new_marks.items() if p[: len(here)] == here})


def _forget(marks: dict[Path_, Mark], path: Path_) -> None:
    for known in [p for p in marks if p[: len(path)] == path]:
        del marks[known]


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def _override(recipe: Recipe, text: str) -> None:
    key, equals, raw = text.partition("=")
    mark = Mark(f"override {text!r}")
    if not equals or not key or not all(part for part in key.split(".")):
        recipe.problems.append(
            Problem(str(mark), "is not of the form key.key=value", "for example stages.align.epochs=1")
        )
        return
    value, _, found = marked_yaml.parse(raw, str(mark)) if raw else ("", {}, [])
    if found:
        recipe.problems.append(Problem(str(mark), f"the value is not YAML: {found[0].what}", "quote it"))
        return
    parts = tuple(key.split("."))
    tree: Any = value
    marks: dict[Path_, Mark] = {(): mark}
    for end in range(1, len(parts) + 1):
        marks[parts[:end]] = mark
    _mark_all(value, parts, mark, marks)
    for part in reversed(parts):
        tree = {part: tree}
    blocked = next(
        (
            parts[:i]
            for i in range(1, len(parts))
            if recipe.get(*parts[:i]) is not None and not isinstance(recipe.get(*parts[:i]), Mapping)
        ),
        None,
    )
    if blocked:
        recipe.problems.append(
            Problem(str(mark), f"{'.'.join(blocked)} is {show(recipe.get(*blocked))}, it has no keys below it")
        )
        return
    _merge(recipe.values, recipe.marks, tree, marks, ())
    recipe.marks[parts] = mark


def _mark_all(value: Any, path: Path_, mark: Mark, marks: dict[Path_, Mark]) -> None:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        marks[(*path, key)] = mark
        _mark_all(child, (*path, key), mark, marks)


def _check_sections(recipe: Recipe) -> None:
    for key in recipe.values:
        if key not in SECTIONS:
            recipe.problems.append(unknown(recipe.place((key,)), "section", key, SECTIONS))
    for key in ("data", "views", "streams", "prompt", "backbone", "stages", "score", "run"):
        value = recipe.values.get(key)
        if value is not None and not isinstance(value, Mapping):
            recipe.problems.append(
                Problem(recipe.place((key,)), f"the section {key!r} is a mapping, this is {show(value)}")
            )
            recipe.values[key] = {}


def _interpolate(recipe: Recipe) -> None:
    """Resolve `${section.key}` through OmegaConf. Resolvers (`${oc.env:HOME}`) are refused before it sees them."""
    used = False
    for path, text in _strings(recipe.values, ()):
        for inner in _REFERENCE.findall(text) if "${" in text else ():
            used = True
            if not _NAME.match(inner):
                recipe.problems.append(
                    Problem(
                        recipe.place(path),
                        f"the interpolation ${{{inner}}} is not allowed: only another key of the recipe can be named",
                    )
                )
                return
        if text.count("${") != len(_REFERENCE.findall(text)):
            recipe.problems.append(
                Problem(recipe.place(path), f"broken interpolation in {text!r}", "write ${section.key}")
            )
            return
    if not used:
        return
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        recipe.values = OmegaConf.to_container(OmegaConf.create(recipe.values), resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        key = str(getattr(error, "full_key", "") or "")
        recipe.problems.append(Problem(recipe.place(tuple(key.split(".")) if key else ()), str(error).splitlines()[0]))


def _strings(value: Any, path: Path_) -> list[tuple[Path_, str]]:
    if isinstance(value, str):
        return [(path, value)]
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, child in items for found in _strings(child, (*path, key))]
