"""Changes of single values, laid over a recipe as its last word: dotted overrides (`stages.align.epochs=1`) and values set in
Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from affectkit.errors import Problem, unknown
from affectkit.files import Json
from affectkit.recipe import marked_yaml
from affectkit.recipe.marked_yaml import WRONG, Mark, items, value_at, walk
from affectkit.recipe.merge import MarkedValues, current, is_block, is_named, lay
from affectkit.recipe.settings import show

PIECES = ("streams", "prompt", "heads", "score")
"""Sections whose named blocks must say which piece they use (a view may go by its name, a stage uses none)."""


def parse_values(
    said: Sequence[str], form: str = "KEY=VALUE", example: str = "", before: str = ""
) -> tuple[dict[str, Json], list[Problem]]:
    """`a.b=value` (YAML) as nested mappings, and what is wrong with them, `before` and the words being the place.

    For settings outside a recipe; `form` and `example` are what a text of another form is told.
    """
    values: dict[str, Json] = {}
    problems = []
    for text in said:
        key, equals, raw = text.partition("=")
        *above, last = key.split(".")
        if not equals or not all((*above, last)):
            problems.append(Problem(before + text, f"is not of the form {form}", example))
            continue
        value, _, found = marked_yaml.parse(raw, before + text) if raw else ("", {}, [])
        problems += found
        into = values
        for part in above:
            inner = into.setdefault(part, {})
            if not isinstance(inner, dict):
                problems.append(Problem(before + text, f"{part!r} has a value of its own and no keys below it"))
                inner = {}
            into = inner
        into[last] = value
    return values, problems


def names_piece(override: str) -> bool:
    """Whether an override says which piece a block uses; these go first, so that settings meet the right piece."""
    path = tuple(override.partition("=")[0].split("."))
    return path[-1] == "use" or is_block(path)


def lay_override(into: MarkedValues, text: str, sections: Sequence[str]) -> list[Problem]:
    """Lay one override over a recipe that has these sections; returns what is wrong with it."""
    key, equals, raw = text.partition("=")
    parts = tuple(key.split("."))
    mark = Mark(f"override {text!r}")
    if not equals or not all(parts):
        return [Problem(str(mark), "is not of the form key.key=value", "for example stages.align.epochs=1")]
    problem = _no_section(into, parts, str(mark), sections)
    if problem:
        return [problem]
    value, _, found = marked_yaml.parse(raw, str(mark)) if raw else ("", {}, [])
    problems = []
    if found:
        what = found[0].what.removeprefix("is not YAML: ")
        problems.append(Problem(str(mark), f"the value is not YAML: {what}", found[0].fix or "quote it"))
        value = WRONG
    return problems + lay_value(into, parts, value, mark, str(mark), sections)


def lay_value(
    into: MarkedValues, parts: tuple[str, ...], value: object, mark: Mark, at: str, sections: Sequence[str]
) -> list[Problem]:
    """Lay the value of one address over a recipe, marked as written at `mark`; returns what is wrong, said to be at `at`, and
    then changes nothing. A value that was reported before gives no problem of its own."""
    problem = _no_section(into, parts, at, sections) or _no_holder(into, parts, at) or _no_block(into, parts, at)
    there = dict(items(value_at(into.values, parts[:-1])))
    if not problem and value is None and is_named(parts) and there and parts[-1] not in there:
        # Taking out what is not there changes nothing, and an ablation with a slip in it would look like one.
        problem = unknown(at, f"name in {'.'.join(parts[:-1])} to take out:", parts[-1], map(str, there))
    if problem:
        return [problem]
    if any(value_at(into.values, parts[:end]) is WRONG for end in range(1, len(parts))):
        return []
    problems = lay(into, MarkedValues.at(parts, value, mark, {path: mark for path, _ in walk(value, parts)}))
    into.marks[current(parts)] = mark
    return problems


def _no_section(into: MarkedValues, parts: tuple[str, ...], at: str, sections: Sequence[str]) -> Problem | None:
    """The problem of an address that begins with no section."""
    if parts[0] == "extends":
        return Problem(at, "`extends` cannot be overridden", "write a recipe that extends both")
    if parts[0] in sections:
        return None
    same = [".".join(map(str, p)) for p in into.marks if p[-len(parts) :] == parts]  # its section was left out
    return unknown(at, "section", parts[0], sections, f"was {same[0]} meant?" if same else "")


def _no_holder(into: MarkedValues, parts: tuple[str, ...], at: str) -> Problem | None:
    """The problem of an address below something that has no keys."""
    for end in range(1, len(parts)):
        holder = value_at(into.values, parts[:end])
        if holder is WRONG:
            return None
        if not isinstance(holder, (Mapping, type(None))) and not (isinstance(holder, str) and is_block(parts[:end])):
            fix = f"give the whole list: {'.'.join(parts[:end])}=[…]" if isinstance(holder, list) else ""
            return Problem(at, f"{'.'.join(parts[:end])} is {show(holder)}, it has no keys below it", fix)
    return None


def _no_block(into: MarkedValues, parts: tuple[str, ...], at: str) -> Problem | None:
    """The problem of a setting for a block that is not there, and does not come to be by it: the block's name is misspelt."""
    blocks = [parts[:end] for end in range(2, len(parts)) if is_block(parts[:end]) and is_named(parts[:end])]
    if parts[0] not in PIECES or parts[-1] == "use" or not blocks or value_at(into.values, blocks[0]) is not None:
        return None
    missing = next(end for end in range(1, len(parts)) if value_at(into.values, parts[:end]) is None)
    known = [str(name) for name, value in items(value_at(into.values, parts[: missing - 1])) if value is not None]
    if not known:
        return None
    also = f"to add it, say first which piece it uses: {'.'.join(blocks[0])}.use"
    return unknown(at, f"name in {'.'.join(parts[: missing - 1])}:", parts[missing - 1], known, also)
