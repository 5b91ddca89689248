"""The views of a recipe, read and checked. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affectkit import settings as reading
from affectkit.errors import Problem, unknown
from affectkit.looks import VIEWS
from affectkit.marked_yaml import WRONG, Path_
from affectkit.merging import items
from affectkit.pieces import Shape
from affectkit.recipe import Recipe
from affectkit.references import check_name
from affectkit.registry import Registry
from affectkit.uses import Use, read_block, spelled_out


@dataclass(frozen=True)
class View:
    """One view of the recipe."""

    name: str
    use: str
    settings: Any
    shape: Shape


def read_views(recipe: Recipe, registry: Registry, problems: list[Problem]) -> dict[str, View]:
    """The views that are right."""
    views: dict[str, View] = {}
    for name, block in items(recipe.get("views")):
        path: Path_ = ("views", name)
        if block is None or block is WRONG or not check_name(recipe, path, "view", problems):
            continue
        block = {"use": block} if isinstance(block, str) else block
        if not isinstance(block, Mapping):
            what = f"wants a mapping of settings, or the name of a view, got {reading.show(block)}"
            problems.append(Problem(recipe.place(path), what, "", tuple(VIEWS)))
            continue
        use = block.get("use", name)
        if use is WRONG:
            continue
        if not isinstance(use, str) or use not in VIEWS:
            also = "" if "use" in block else f"add `use: …`, the kind of view that {name!r} is"
            problems.append(unknown(recipe.place((*path, "use")), "view", str(use), VIEWS, also))
            continue
        clean = {k: v for k, v in spelled_out(path, block).items() if k != "use"}
        made, found = reading.read(VIEWS[use], clean, lambda below, path=path: recipe.place((*path, *below)), ("use",))  # type: ignore[misc]
        problems.extend(found)
        if getattr(made, "detector", None) is not None:
            detector = read_block(recipe, (*path, "detector"), "detector", registry, problems)
            made = dataclasses.replace(made, detector=Use(*detector).block() if detector else None)
        if made is not None:
            views[str(name)] = View(str(name), use, made, made.shape())
    for name, view in list(views.items()):
        views[str(name)] = _cut_from(recipe, view, views, problems)
    return views


def _cut_from(recipe: Recipe, view: View, views: Mapping[str, View], problems: list[Problem]) -> View:
    """A view that is cut from another (face crops from frames) has as many time steps as that one."""
    of = getattr(view.settings, "of", None)
    if of is None:
        return view
    whole = [n for n, v in views.items() if v.shape.kind == "pixels" and getattr(v.settings, "of", None) is None]
    if of in whole:
        return dataclasses.replace(view, shape=dataclasses.replace(view.shape, time=views[of].shape.time))
    if of in views or recipe.get("views", of) is None:  # one that is there and not read has its own problem
        problems.append(unknown(recipe.place(("views", view.name, "of")), "view of frames", of, whole))
    return view
