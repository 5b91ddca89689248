"""The file of a sweep: variants of one recipe, each with several seeds, that one command runs and compares. Imports no torch.

A sweep is YAML, read as recipes are: with a place for every problem, `extends` and overrides. Each of its runs says what it
changes in the recipe, as a recipe that extends it would; keys may be dotted addresses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from affectkit.errors import InputError, Problem, unknown
from affectkit.plan.check import MOST_PROBLEMS, check
from affectkit.plan.plan import Plan
from affectkit.recipe import marked_yaml
from affectkit.recipe import settings as reading
from affectkit.recipe.load import SWEEPS, find, find_in, read_file, shipped_in
from affectkit.recipe.marked_yaml import WRONG, Path_, copied, items
from affectkit.recipe.merge import MarkedValues
from affectkit.recipe.overrides import names_piece
from affectkit.recipe.recipe import RECIPE, SECTIONS, Form, Recipe
from affectkit.recipe.settings import show, yaml_text

OWN = ("recipe", "base", "seeds", "devices", "share", "runs")
"""Sections whose overrides are the sweep's; all others are the recipe's, and come last."""
FORM = Form("sweep", ("name", "about", "extends", "all", *OWN), ("all", "runs"), interpolates=False)
NOT_HERE = {
    "name": "a run is called by its key",
    "extends": "every run changes the recipe of the sweep",
    "plugins": "plugin files are named by the recipe, or with --plugin",
}
"""Sections of a recipe that a run cannot change, and why."""
KEPT = {"seed": "write `seeds: […]` at the top of the sweep", "folder": "use --out FOLDER"}
"""Keys of `run` that the sweep sets itself."""


@dataclass(frozen=True)
class SweepSettings:
    """What a sweep says beside its runs."""

    recipe: str
    """The recipe that is varied: a file beside the sweep or in the working folder, or a shipped one by name."""
    base: str = ""
    """The run that the others are compared with; empty = the first."""
    seeds: tuple[int, ...] = (0,)
    """Every run is made once with each of these seeds."""
    devices: int | str = "auto"
    """How many runs at a time, each a process with a device of its own; auto = one for each GPU, or one at a time."""
    share: bool = True
    """Whether a stage with an objective of its own that is the same in several runs is trained in the first of them only."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = [] if self.seeds else [("seeds", "names no seed")]
        found += [("seeds", "names a seed twice")] if len(set(self.seeds)) < len(self.seeds) else []
        found += [("seeds", f"must be at least 0 and below 2**32, got {s}") for s in self.seeds if not 0 <= s < 2**32]
        if self.devices != "auto" and not (isinstance(self.devices, int) and self.devices >= 1):
            found.append(("devices", f"must be auto or at least 1, got {self.devices}"))
        return found


@dataclass(frozen=True)
class SweepVariant:
    """One run of a sweep, for any seed."""

    name: str
    about: str
    changes: Mapping[str, str]
    """Address to the value that it has here, as YAML."""
    plan: Plan


@dataclass(frozen=True)
class Sweep:
    """A sweep as read, with every run checked."""

    name: str
    about: str
    settings: SweepSettings
    variants: Mapping[str, SweepVariant]

    @property
    def base(self) -> str:
        """The run that the others are compared with."""
        return self.settings.base or next(iter(self.variants))


def is_sweep(source: str | Path) -> bool:
    """Whether a file has the sections that only a sweep has."""
    path = find_in(SWEEPS, source)
    value = marked_yaml.read(path, str(source))[0] if path else None
    return isinstance(value, Mapping) and bool({"all", *OWN} & set(value)) and not set(RECIPE.mappings) & set(value)


def load_sweep(
    source: str | Path, overrides: Sequence[str] = (), plugins: Sequence[str | Path] = (), trust: bool = False
) -> Sweep:
    """Read a sweep (a file, or a shipped one by name) and check every run of it.

    Raises InputError with every problem, each with its place: those of the sweep's file first.
    """
    path = find_in(SWEEPS, source)
    if path is None:
        also = "give the path of a YAML file, or the name of a shipped sweep"
        raise InputError(unknown("", "sweep", str(source), shipped_in(SWEEPS), also))
    if not is_sweep(source) and items(marked_yaml.read(path, str(source))[0]):
        fix = f"run it with affectkit fit {source}, or write a sweep that has `recipe: {path.name}`"
        raise InputError(Problem(str(source), "is no sweep: it has none of a sweep's sections", fix, OWN))
    own = [o for o in overrides if o.partition("=")[0].split(".")[0] in OWN]
    others = [o for o in overrides if o not in own]
    file = read_file(path, str(source), own, FORM)
    problems = list(file.problems)
    if file.broken:
        raise InputError(file.in_order(problems))
    settings, recipe = _settings(file, problems), _recipe(file, problems)
    variants: dict[str, SweepVariant] = {}
    wrong: dict[Problem, list[str]] = {}
    for name in _names(file):
        try:
            variants[name] = _variant(file, name, recipe, others, plugins, trust)
        except InputError as error:
            for problem in error.problems:
                wrong.setdefault(problem, []).append(name)
    for problem, runs in wrong.items():
        if len(runs) < len(_names(file)) and not problem.place.startswith(file.source):  # it depends on their changes
            problem = replace(problem, what=f"in run {', '.join(runs)}: {problem.what}")
        problems.append(problem)
    if problems or settings is None:
        problems = file.in_order(problems)
        if len(problems) > MOST_PROBLEMS:
            problems[MOST_PROBLEMS:] = [Problem("", f"and {len(problems) - MOST_PROBLEMS} more problems")]
        raise InputError(problems)
    return Sweep(str(file.get("name") or path.stem), _sentence(file.get("about")), settings, variants)


def _sentence(about: object) -> str:
    return " ".join(str(about or "").split())


def _settings(file: Recipe, problems: list[Problem]) -> SweepSettings | None:
    """The settings of a sweep beside its runs, None where one of them is wrong; that there are runs is checked too."""
    written = {key: file.get(key) for key in SweepSettings.__dataclass_fields__ if key in file.values}
    seeds, base = written.get("seeds"), written.get("base")
    if isinstance(seeds, int) and not isinstance(seeds, bool):  # it may be meant as how many
        fix = f"name the seeds themselves: seeds=[0,1] for two of them, seeds=[{seeds}] for seed {seeds} alone"
        problems.append(Problem(file.place(("seeds",)), f"wants a list of seeds, got {seeds}", fix))
        del written["seeds"]
    settings: SweepSettings | None
    settings, found = reading.read(SweepSettings, written, file.place)
    problems += found
    names = _names(file)
    if not names:
        what = "a sweep has `runs`, a mapping of at least one run to what it changes"
        problems.append(Problem(file.place(("runs",)), what, "add `runs: {NAME: {ADDRESS: VALUE}}`"))
    if isinstance(base, str) and base and base not in names:
        problems.append(unknown(file.place(("base",)), "run of the sweep", base, names))
    return settings


def _names(file: Recipe) -> list[str]:
    """The runs that were not taken out."""
    return [str(name) for name, block in items(file.get("runs")) if block is not None]


def _recipe(file: Recipe, problems: list[Problem]) -> tuple[Path, str] | None:
    """The recipe of a sweep: its path, and what messages call it; None where there is none, which is a problem."""
    name = file.get("recipe")
    if name is None or name is WRONG or isinstance(name, Mapping | list):  # a problem of the settings
        return None
    name, mark = str(name), file.marks.get(("recipe",))
    beside = [find_in(SWEEPS, f) for f in ([mark.file] if mark else []) + list(file.files)]
    for folder in dict.fromkeys(p.parent for p in beside if p):
        path = find(name, folder)
        if path is not None:
            near = os.path.relpath(path)
            return path, str(path) if near.startswith("..") else near
    problems.append(Problem(file.place(("recipe",)), f"there is no recipe {name!r}", "name a YAML file"))
    return None


def _variant(
    file: Recipe,
    name: str,
    source: tuple[Path, str] | None,
    overrides: Sequence[str],
    plugins: Sequence[str | Path],
    trust: bool,
) -> SweepVariant:
    """One run, checked. Raises InputError with what is wrong with it: nothing, where all of that was reported before."""
    path: Path_ = ("runs", name)
    if not re.fullmatch("[A-Za-z0-9_-]+", name):
        what = f"the run {name!r} is to be a folder: letters, digits, _ and - make its name"
        raise InputError(Problem(file.place(path), what))
    problems: list[Problem] = []
    changes = [*_changes(file, ("all",), problems), *_changes(file, path, problems)]
    if problems or source is None or WRONG in (file.get("all"), file.get("runs", name)):
        raise InputError(problems)
    recipe = read_file(*source, overrides, over=changes)
    recipe.files += [f for f in file.files if f not in recipe.files]
    title = recipe.get("name")
    recipe.values["name"] = f"{title if isinstance(title, str) else source[0].stem}_{name}"
    plan = check(recipe, (), plugins, trust, data=True)
    block = dict(items(file.get("runs", name)))
    written = {str(key): yaml_text(value) for key, value in block.items() if key != "about"}
    return SweepVariant(name, _sentence(block.get("about")), written, plan)


def _changes(file: Recipe, path: Path_, problems: list[Problem]) -> list[MarkedValues]:
    """What a block of the file changes in the recipe: a change for each key, those that put in a piece first."""
    block = file.get(*map(str, path))
    if not isinstance(block, Mapping):
        if block is not None and block is not WRONG:
            problems.append(Problem(file.place(path), f"wants a mapping of what changes, got {show(block)}"))
        return []
    changes = []
    for key in sorted(block, key=lambda key: not names_piece(key)):
        place, parts = file.place((*path, key)), tuple(key.split("."))
        if not all(parts):
            problems.append(Problem(place, f"{key!r} is no address", "for example stages.align.epochs"))
        elif parts[0] in NOT_HERE:
            problems.append(Problem(place, f"{parts[0]!r} cannot be changed here", NOT_HERE[parts[0]]))
        elif parts[0] not in SECTIONS:
            problems.append(unknown(place, "section", parts[0], [s for s in SECTIONS if s not in NOT_HERE]))
        elif parts[0] == "run" and (bad := [k for k in KEPT if k in (parts[1:2] or dict(items(block[key])))]):
            problems.append(Problem(place, f"run.{bad[0]} is set by the sweep", KEPT[bad[0]]))
        elif (*path, key) != ("all", "about"):
            changes.append(_nested(file, (*path, key), parts))
    return changes


def _nested(file: Recipe, path: Path_, parts: Path_) -> MarkedValues:
    """`a.b: value` as `{a: {b: value}}`, with the marks of where it was written."""
    here = file.marks.get(path) or file.marks[()]
    marks = {(*parts, *p[len(path) :]): mark for p, mark in file.marks.items() if p[: len(path)] == path}
    value = copied(file.get(*path))  # the same change is laid over one recipe after another
    return MarkedValues.at(parts, value, here, marks)
