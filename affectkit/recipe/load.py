"""A YAML file, text or mapping to a Recipe: `extends`, overrides and interpolation, with a mark on every value and every
problem at once.

Nothing in a recipe can run code, read the environment or load a file as a plugin.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from affectkit.errors import InputError, Problem, unknown
from affectkit.recipe import marked_yaml
from affectkit.recipe.marked_yaml import WRONG, Mark
from affectkit.recipe.merge import MarkedValues, lay
from affectkit.recipe.recipe import RECIPE, Form, Recipe, plain_value
from affectkit.recipe.settings import show

SUITES, SWEEPS, ANNOTATIONS = "suites", "sweeps", "annotate"
"""The folders of shipped suites, sweeps and annotations, which are no recipes of training."""

DICT, TEXT = "recipe dict", "recipe text"
"""What messages call a recipe that is no file."""

MOST_FILES = 50
"""Files that one recipe may extend, directly and through others."""


RecipeSource = str | Path | Mapping[str, object] | Recipe
"""Whatever `load_recipe` takes."""


def load_recipe(source: RecipeSource, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, what it extends, and dotted overrides (`stages.align.epochs=1`); nothing is checked against pieces.

    `source` is the path of a YAML file, the name of a shipped recipe, YAML text (several lines, or one with a `key: value`), a
    mapping as such a file would hold it, or a recipe, which is copied. What text and mappings extend is looked for from the
    working folder.

    Raises InputError when the file does not exist, or a mapping holds what no YAML file could. Other problems are collected in
    `Recipe.problems`.
    """
    if isinstance(source, Recipe):
        recipe = source.copy()
        if overrides:
            recipe.lay(overrides)
        return recipe
    if isinstance(source, Mapping):
        return _finished(Recipe(DICT, {}), (plain_value(source, DICT), {(): Mark(DICT)}, []), overrides)
    path = find(str(source))
    if path is None and isinstance(source, str) and ("\n" in source or ": " in source):
        return _finished(Recipe(TEXT, {}), marked_yaml.parse(source, TEXT), overrides)
    if path is None:
        also = "give the path of a YAML file, or the name of a shipped recipe"
        if _is(os.path.isdir, str(source)):
            raise InputError(Problem(str(source), "is a folder, not a recipe", "name a YAML file in it"))
        raise InputError(_unknown("", "recipe", str(source), also))
    return read_file(path, str(source), overrides)


def read_file(
    path: Path, name: str, overrides: Sequence[str] = (), form: Form = RECIPE, over: Sequence[MarkedValues] = ()
) -> Recipe:
    """The same of a file that is there; `name` is how messages call it, `form` says which sections it may have.

    `over` are changes that were read elsewhere, laid over the file before the overrides.
    """
    return _finished(Recipe(name, {}, form=form), marked_yaml.read(path, name), overrides, path, over)


def _finished(
    recipe: Recipe,
    read: marked_yaml.MarkedRead,
    overrides: Sequence[str],
    path: Path | None = None,
    over: Sequence[MarkedValues] = (),
) -> Recipe:
    """An empty recipe filled with what was read, from `path` where that was a file."""
    marked = _merged(recipe, read, path or Path(), recipe.source, (), (path.resolve(),) if path else ())
    for changes in over:
        recipe.problems += lay(marked, changes)
    recipe.values, recipe.marks = marked.values, marked.marks
    recipe.lay(overrides)
    return recipe


def find(source: str, beside: Path | None = None) -> Path | None:
    """The file of that name: beside the extending recipe, in the working folder, or among the shipped ones."""
    tries = [str(beside / source)] if beside else []
    for path in (*tries, source):
        for candidate in (path, f"{path}.yaml"):
            if _is(os.path.isfile, candidate):
                return Path(candidate)
    shipped_path = shipped_folder() / f"{_short(source)}.yaml"
    return shipped_path if _is(os.path.isfile, str(shipped_path)) else None


def find_in(folder: str, source: str | Path) -> Path | None:
    """The file of a suite, sweep or annotation (`SUITES`, `SWEEPS`, `ANNOTATIONS`): a path, a shipped one by name, or what a
    recipe may be called by."""
    named = Path(source).name == str(source) and not Path(source).is_file()
    return (find(f"{folder}/{source}") if named else None) or find(str(source))


def _short(source: str) -> str:
    """The name of a shipped recipe, however it was written: `recipes/emo_llama.yaml` is `emo_llama`."""
    return source.removeprefix("./").removeprefix("recipes/").removesuffix(".yaml")


def _unknown(place: str, what: str, source: str, also: str = "") -> Problem:
    """The problem of a recipe that is not there; near misses are looked for without folder and ending."""
    problem = unknown(place, what, _short(source), shipped_recipes(), also)
    return replace(problem, what=f"unknown {what} {source if len(source) <= 80 else source[:77] + '…'!r}")


def _is(test: Callable[[str], bool], path: str) -> bool:
    """`test(path)`; no path at all (too long, a zero inside) is no file and no folder."""
    try:
        return test(path)
    except (OSError, ValueError):
        return False


def shipped_folder() -> Path:
    """The folder of the shipped recipes, in a wheel as well as in an editable install.

    `importlib.resources` finds no data files of a package that an editable install maps to another folder, so the
    package's own place is asked for.
    """
    import affectkit_recipes

    return Path(affectkit_recipes.__path__[0])


def shipped_recipes() -> list[str]:
    """Names of the shipped recipes: `emo_llama`, `paper/emo_llama`, …"""
    root = shipped_folder()
    found = (p.relative_to(root).with_suffix("") for p in root.rglob("*.yaml"))
    return sorted(str(p) for p in found if p.parts[0] not in (SUITES, SWEEPS, ANNOTATIONS))


def shipped_in(folder: str) -> list[str]:
    """Names of the shipped suites, sweeps or annotations."""
    return sorted(path.stem for path in (shipped_folder() / folder).glob("*.yaml"))


def _merged(
    recipe: Recipe, read: marked_yaml.MarkedRead, path: Path, name: str, chain: tuple[str, ...], seen: tuple[Path, ...]
) -> MarkedValues:
    """What was read from a file laid over all that it extends."""
    problems = recipe.problems
    recipe.files.append(name)
    value, marks, found = read
    problems.extend(found)
    whole = Mark(name, chain=chain)
    own = MarkedValues(value if isinstance(value, dict) else {}, {(): whole, **marks})
    if value is not WRONG and not isinstance(value, dict):
        told = f"a {recipe.form.what} is a mapping of sections, this is {show(value)}"
        what = "is empty" if value is None else told
        problems.append(Problem(str(whole), what, known=recipe.form.sections))
    if not isinstance(value, dict):
        recipe.broken = True
    merged = MarkedValues(marks={(): own.marks[()]})
    for i, parent in _parents(recipe, own):
        at = _extends_at(own, i)
        file = find(parent, path.parent)
        if file is None:
            problems.append(_unknown(at, "recipe to extend", parent))
            recipe.broken = True
        elif file.suffix not in (".yaml", ".yml"):
            problems.append(Problem(at, f"{parent!r} is no recipe", "name a file that ends in .yaml"))
            recipe.broken = True
        elif file.resolve() in seen:
            circle = " -> ".join([*chain, name, parent])
            problems.append(Problem(at, f"a recipe extends itself: {circle}", "remove one `extends` of the circle"))
            recipe.broken = True
        elif len(recipe.files) >= MOST_FILES:
            if not recipe.broken:
                problems.append(Problem(at, f"the recipe extends more than {MOST_FILES} files"))
            recipe.broken = True
            break
        else:
            near = file.parent == (path.parent / parent).parent
            known_as = os.path.normpath(Path(name).parent / Path(parent).parent / file.name) if near else parent
            links = (*chain, name)
            below = marked_yaml.read(file, known_as, links)
            lay(merged, _merged(recipe, below, file, known_as, links, (*seen, file.resolve())))
    problems += lay(merged, own)
    return merged


def _parents(recipe: Recipe, own: MarkedValues) -> list[tuple[int, str]]:
    """Names under `extends`, which is taken out."""
    given = own.values.pop("extends", None)
    names = given if isinstance(given, list) else [] if given is None else [given]
    for i, name in enumerate(names):
        if not isinstance(name, str) and name is not WRONG:
            at = _extends_at(own, i)
            recipe.problems.append(Problem(at, f"`extends` names a recipe or a list of recipes, got {show(name)}"))
    if any(not isinstance(n, str) for n in names):
        recipe.broken = True
    return [(i, n) for i, n in enumerate(names) if isinstance(n, str)]


def _extends_at(own: MarkedValues, i: int) -> str:
    """Where the i-th name under `extends` was written."""
    return str(own.marks.get(("extends", i)) or own.mark(("extends",)))
