"""Dotted overrides (`stages.align.epochs=1`), laid over a recipe as its last word. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from affectkit.errors import Problem, unknown
from affectkit.recipe import marked_yaml
from affectkit.recipe.marked_yaml import WRONG, Mark, Path_
from affectkit.recipe.merge import Marked, is_block, is_named, items, lay
from affectkit.recipe.settings import show

if TYPE_CHECKING:
    from affectkit.recipe.recipe import Recipe


def names_piece(override: str) -> bool:
    """Whether an override says which piece a block uses; these go first, so that settings meet the right piece."""
    path = tuple(override.partition("=")[0].split("."))
    return path[-1] == "use" or is_block(path)


def lay_override(recipe: Recipe, text: str) -> None:
    """Lay one override over a recipe; what is wrong with it goes to the recipe's problems."""
    key, equals, raw = text.partition("=")
    parts = tuple(key.split("."))
    mark = Mark(f"override {text!r}")
    problem = None
    if not equals or not all(parts):
        problem = Problem(str(mark), "is not of the form key.key=value", "for example stages.align.epochs=1")
    elif parts[0] == "extends":
        problem = Problem(str(mark), "`extends` cannot be overridden", "write a recipe that extends both")
    elif parts[0] not in recipe.form.sections:
        problem = unknown(str(mark), "section", parts[0], recipe.form.sections, _same_key(recipe, parts))
    if problem:
        recipe.problems.append(problem)
        return
    value, _, found = marked_yaml.parse(raw, str(mark)) if raw else ("", {}, [])
    if found:
        what = found[0].what.removeprefix("is not YAML: ")
        recipe.problems.append(Problem(str(mark), f"the value is not YAML: {what}", found[0].fix or "quote it"))
        value = WRONG
    for end in range(1, len(parts)):
        holder = recipe.get(*parts[:end])
        if holder is WRONG:
            return
        if not isinstance(holder, (Mapping, type(None))) and not (isinstance(holder, str) and is_block(parts[:end])):
            fix = f"give the whole list: {'.'.join(parts[:end])}=[…]" if isinstance(holder, list) else ""
            what = f"{'.'.join(parts[:end])} is {show(holder)}, it has no keys below it"
            recipe.problems.append(Problem(str(mark), what, fix))
            return
    there = recipe.get(*parts[:-1])
    if value is None and is_named(parts) and isinstance(there, Mapping) and there and parts[-1] not in there:
        # Taking out what is not there changes nothing, and an ablation with a slip in it would look like one.
        what = f"name in {'.'.join(parts[:-1])} to take out:"
        recipe.problems.append(unknown(str(mark), what, parts[-1], map(str, there)))
        return
    marks: dict[Path_, Mark] = {parts[:end]: mark for end in range(len(parts) + 1)}
    _mark_all(value, parts, mark, marks)
    tree: Any = value
    for part in reversed(parts):
        tree = {part: tree}
    top = recipe.marks.get(())
    lay(Marked(recipe.values, recipe.marks), Marked(tree, marks))
    recipe.marks[parts] = mark
    if top:
        recipe.marks[()] = top


def _same_key(recipe: Recipe, parts: tuple[str, ...]) -> str:
    """Where a key of that name stands, for an override that left out its section."""
    same = [".".join(map(str, p)) for p in recipe.marks if p[-len(parts) :] == parts]
    return f"was {same[0]} meant?" if same else ""


def _mark_all(value: Any, path: Path_, mark: Mark, marks: dict[Path_, Mark]) -> None:
    for key, child in items(value):
        marks[(*path, key)] = mark
        _mark_all(child, (*path, key), mark, marks)
