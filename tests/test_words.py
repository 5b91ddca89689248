"""One name has one meaning: no class of the frame shares its name with another one."""

import ast
import importlib
from collections import defaultdict
from pathlib import Path

import pytest

import affectkit
from affectkit._moved import RENAMED

ROOT = Path(affectkit.__file__).parent
DOUBLES: dict[str, str] = {}
"""Names that several classes may have, with the reason."""
MESSAGES = ("told", "tell", "found", "given", "got", "kept", "wanted", "asked")
"""Participles that name no thing: a class or a function of a module is called by a noun or a verb."""


def trees():
    for path in sorted(ROOT.rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def names_of(tree):
    """Classes anywhere in a module, and the names that it gives to types."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, made = node.targets[0].id, ast.unparse(node.value)
            if name[:1].isupper() and not name.isupper() and "TypeVar(" not in made:
                yield name


def doubles(sources):
    where = defaultdict(list)
    for place, tree in sources:
        for name in names_of(tree):
            where[name].append(place)
    return {name: places for name, places in where.items() if len(places) > 1 and name not in DOUBLES}


def test_one_class_name_has_one_meaning():
    assert doubles(trees()) == {}


def test_a_double_is_seen():
    sources = [
        ("a.py", "class Bench:\n    pass"),
        ("b.py", "Bench = dict[str, int]"),
        ("c.py", "class Other:\n    pass"),
    ]
    assert doubles((place, ast.parse(text)) for place, text in sources) == {"Bench": ["a.py", "b.py"]}


def test_things_are_not_called_by_participles():
    found = [
        f"{place}: {node.name}"
        for place, tree in trees()
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name.lower().lstrip("_") in MESSAGES
    ]
    assert found == []


@pytest.mark.parametrize("whole", sorted(RENAMED))
def test_an_old_name_still_works_and_says_the_new_one(whole):
    old, name = whole.rsplit(".", 1)
    module = importlib.import_module(f"affectkit.{old}")
    with pytest.warns(DeprecationWarning, match=f"{old}.{name} is affectkit.*[.]{RENAMED[whole]} now"):
        assert getattr(module, name) is getattr(module, RENAMED[whole])
