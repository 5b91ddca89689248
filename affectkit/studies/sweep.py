"""A sweep: variants of one recipe, each with several seeds, that one command runs and compares. Imports no torch.

A sweep is a YAML file, read as recipes are: with a place for every problem, `extends` and overrides. Each of its runs says
what it changes in the recipe, as a recipe that extends it would; keys may be dotted addresses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from affectkit.errors import InputError, Problem, unknown
from affectkit.plan.check import MOST_PROBLEMS, check
from affectkit.plan.plan import Plan
from affectkit.recipe import marked_yaml
from affectkit.recipe import settings as reading
from affectkit.recipe.load import SWEEPS, find, read_file, shipped_folder
from affectkit.recipe.marked_yaml import WRONG, Path_
from affectkit.recipe.merge import MarkedValues, is_block, items, lay
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
        whole = isinstance(self.devices, int)
        if (whole and int(self.devices) < 1) or not (whole or self.devices == "auto"):
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

    def seeded(self, seed: int, folder: Path) -> Plan:
        """Its plan with a seed, for run folders below `folder`."""
        return replace(self.plan, run=replace(self.plan.run, seed=seed, folder=str(folder)))


@dataclass(frozen=True)
class Sweep:
    """A sweep, read; every run is checked."""

    name: str
    about: str
    source: str
    """The file as the user named it."""
    settings: SweepSettings
    variants: Mapping[str, SweepVariant]
    overrides: tuple[str, ...] = ()

    @property
    def base(self) -> str:
        """The run that the others are compared with."""
        return self.settings.base or next(iter(self.variants))


@dataclass
class _Reading:
    """What is known while a sweep is read."""

    file: Recipe
    overrides: Sequence[str]
    plugins: Sequence[str | Path]
    trust: bool
    recipe: tuple[Path, str] | None = None
    """Where the recipe is, and how messages call it; None where there is none to be read."""
    problems: list[Problem] = field(default_factory=list)


def shipped_sweeps() -> list[str]:
    """Names of the shipped sweeps."""
    return sorted(p.stem for p in (shipped_folder() / SWEEPS).glob("*.yaml"))


def find_sweep(source: str | Path) -> Path | None:
    """The file of a sweep: a shipped one by name, or a path."""
    named = Path(source).name == str(source) and not Path(source).is_file()
    return (find(f"{SWEEPS}/{source}") if named else None) or find(str(source))


def is_sweep(source: str | Path) -> bool:
    """Whether a file has the sections that only a sweep has."""
    path = find_sweep(source)
    value = marked_yaml.read(path, str(source))[0] if path else None
    return isinstance(value, Mapping) and bool({"all", *OWN} & set(value)) and not set(RECIPE.mappings) & set(value)


def load_sweep(
    source: str | Path, overrides: Sequence[str] = (), plugins: Sequence[str | Path] = (), trust: bool = False
) -> Sweep:
    """Read a sweep and check every run of it. Raises InputError with every problem, each with its place."""
    path = find_sweep(source)
    if path is None:
        also = "give the path of a YAML file, or the name of a shipped sweep"
        raise InputError(unknown("", "sweep", str(source), shipped_sweeps(), also))
    if not is_sweep(source) and items(marked_yaml.read(path, str(source))[0]):
        fix = f"run it with affectkit fit {source}, or write a sweep that has `recipe: {path.name}`"
        raise InputError(Problem(str(source), "is no sweep: it has none of a sweep's sections", fix, OWN))
    own = [o for o in overrides if o.partition("=")[0].split(".")[0] in OWN]
    file = read_file(path, str(source), own, FORM)
    problems = list(file.problems)
    written = {key: file.get(key) for key in SweepSettings.__dataclass_fields__ if key in file.values}
    if file.broken:
        raise InputError(file.in_order(problems))
    settings, found = reading.read(SweepSettings, written, lambda below: file.place(below))
    problems += [_about_seeds(p, written.get("seeds"), file.place(("seeds",))) for p in found]
    others = tuple(o for o in overrides if o not in own)
    state = _Reading(file, others, plugins, trust, problems=problems)
    variants = _variants(state)
    base = written.get("base")
    if isinstance(base, str) and base and base not in _names(file):
        problems.append(unknown(file.place(("base",)), "run of the sweep", base, _names(file)))
    if problems or settings is None:
        problems = _ordered(file, problems)
        more = len(problems) - MOST_PROBLEMS
        raise InputError(problems[:MOST_PROBLEMS] + ([Problem("", f"and {more} more problems")] if more > 0 else []))
    about = " ".join(str(file.get("about") or "").split())
    return Sweep(str(file.get("name") or path.stem), about, str(source), settings, variants, tuple(overrides))


def _about_seeds(problem: Problem, seeds: object, place: str) -> Problem:
    """A number in place of `seeds` may be meant as how many: the fix says what a list of them is."""
    if problem.place != place or isinstance(seeds, bool) or not isinstance(seeds, int):
        return problem
    fix = f"name the seeds themselves: seeds=[0,1] for two of them, seeds=[{seeds}] for seed {seeds} alone"
    return replace(problem, what=f"wants a list of seeds, got {seeds}", fix=fix)


def _ordered(file: Recipe, problems: Sequence[Problem]) -> list[Problem]:
    """Those of the sweep's file first, in its order; then those of recipes and overrides as they came, each once."""
    own = [p for p in problems if p.place.startswith(tuple(file.files))]
    rest = {(p.place, p.what): p for p in problems if p not in own}
    return [*file.in_order(own), *rest.values()]


def _names(file: Recipe) -> list[str]:
    """The runs that were not taken out."""
    return [str(name) for name, block in items(file.get("runs")) if block is not None]


def _variants(state: _Reading) -> dict[str, SweepVariant]:
    """The runs that are right."""
    file = state.file
    names = _names(file)
    if not names:
        what = "a sweep has `runs`, a mapping of at least one run to what it changes"
        state.problems.append(Problem(file.place(("runs",)), what, "add `runs: {NAME: {ADDRESS: VALUE}}`"))
    state.recipe = _recipe(state)
    variants: dict[str, SweepVariant] = {}
    told: dict[Problem, list[str]] = {}
    for name in names:
        try:
            variant = _variant(state, name)
            if variant is not None:
                variants[name] = variant
        except InputError as error:
            for problem in error.problems:
                told.setdefault(problem, []).append(name)
    for problem, where in told.items():
        mine = problem.place.startswith(file.source)
        if len(where) < len(names) and not mine:  # it hangs on what these runs change
            problem = replace(problem, what=f"in run {', '.join(where)}: {problem.what}")
        state.problems.append(problem)
    return variants


def _recipe(state: _Reading) -> tuple[Path, str] | None:
    """The recipe of a sweep: its path, and how messages call it; None where there is none, which is told."""
    file, name = state.file, state.file.get("recipe")
    if name is None or name is WRONG or isinstance(name, Mapping | list):  # told with the other settings
        return None
    name = str(name)
    mark = file.marks.get(("recipe",))
    beside = [find_sweep(f) for f in ([mark.file] if mark else []) + list(file.files)]
    for folder in dict.fromkeys(p.parent for p in beside if p):
        path = find(name, folder)
        if path is not None:
            near = os.path.relpath(path)
            return path, str(path) if near.startswith("..") else near
    state.problems.append(Problem(file.place(("recipe",)), f"there is no recipe {name!r}", "name a YAML file"))
    return None


def _variant(state: _Reading, name: str) -> SweepVariant | None:
    """One run, checked. Raises InputError with what is wrong with it; None for what was told before."""
    file = state.file
    path: Path_ = ("runs", name)
    if set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") or not name:
        what = f"the run {name!r} is to be a folder: letters, digits, _ and - make its name"
        raise InputError(Problem(file.place(path), what))
    changes: list[list[tuple[Path_, MarkedValues]] | None] = []
    problems: list[Problem] = []
    for where in (("all",), path):
        try:
            changes.append(_changes(file, where))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    common, own = changes
    if common is None or own is None or state.recipe is None:
        return None
    recipe = read_file(state.recipe[0], state.recipe[1], state.overrides, over=[c for _, c in [*common, *own]])
    recipe.files += [f for f in file.files if f not in recipe.files]
    title = recipe.get("name")
    recipe.values["name"] = f"{title if isinstance(title, str) else state.recipe[0].stem}_{name}"
    plan = check(recipe, (), state.plugins, state.trust, data=True)
    block = dict(items(file.get(*map(str, path))))
    about = " ".join(str(block.get("about") or "").split())
    said = {str(k): yaml_text(v) for k, v in block.items() if k != "about"}
    return SweepVariant(name, about, said, plan)


def _changes(file: Recipe, path: Path_) -> list[tuple[Path_, MarkedValues]] | None:
    """What a block of the file changes in the recipe: a change for each key, those that put in a piece first.

    Raises InputError for keys that are no addresses of a recipe; None where the block was reported before.
    """
    block = file.get(*map(str, path))
    if block is None:
        return []
    if not isinstance(block, Mapping):
        if block is WRONG:
            return None
        raise InputError(Problem(file.place(path), f"wants a mapping of what changes, got {show(block)}"))
    found, problems = [], []
    for key, value in block.items():
        parts = tuple(str(key).split("."))
        place = file.place((*path, key))
        if not all(parts):
            problems.append(Problem(place, f"{key!r} is no address", "for example stages.align.epochs"))
        elif parts[0] in NOT_HERE:
            problems.append(Problem(place, f"{parts[0]!r} cannot be changed here", NOT_HERE[parts[0]]))
        elif parts[0] not in SECTIONS:
            problems.append(unknown(place, "section", parts[0], [s for s in SECTIONS if s not in NOT_HERE]))
        elif parts[0] == "run" and (bad := [k for k in KEPT if k in (parts[1:2] or dict(items(value)))]):
            problems.append(Problem(place, f"run.{bad[0]} is set by the sweep", KEPT[bad[0]]))
        elif parts != ("about",) or path != ("all",):
            found.append((parts, _nested(file, (*path, key), parts, value)))
    if problems:
        raise InputError(problems)
    return sorted(found, key=lambda one: not (one[0][-1] == "use" or is_block(one[0])))


def _nested(file: Recipe, path: Path_, parts: Path_, value: Any) -> MarkedValues:
    """`a.b: value` as `{a: {b: value}}`, with the marks of where it was written."""
    here = file.marks.get(path) or file.marks[()]
    marks = {parts[:end]: here for end in range(len(parts) + 1)}
    marks |= {(*parts, *p[len(path) :]): mark for p, mark in file.marks.items() if p[: len(path)] == path}
    empty = MarkedValues(marks={(): here})
    tree = value
    for part in reversed(parts):
        tree = {part: tree}
    problems = lay(empty, MarkedValues(tree, marks))  # a copy: the same change is laid over one recipe after another
    if problems:
        raise InputError(problems)
    return empty
