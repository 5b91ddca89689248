"""`affectkit plugins new`: a distribution with one working piece and its contract test. Imports no torch."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from pathlib import Path

from affectkit.errors import InputError, Problem, unknown
from affectkit.files import write_text_atomic
from affectkit.pieces import KINDS
from affectkit.registry import Registry

TEMPLATES = Path(__file__).parent / "templates"
NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
"""What a distribution may be called (PyPA, core metadata)."""


def write_plugin(name: str, kind: str, folder: str | Path) -> list[Path]:
    """Write the distribution `name` with a piece of that kind into `folder`; returns what was written.

    Raises InputError for a folder that is there, an unknown kind, and a name that is no distribution name, cannot be
    imported, or is taken by a package or piece.
    """
    folder = Path(folder)
    module = re.sub(r"[-_.]+", "_", name).lower()
    problem = _problem(name, module, kind) or _in_the_way(folder)
    if problem:
        raise InputError(problem)
    words = {"name": name, "module": module, "kind": kind}
    return [_write(folder / _filled(path, words), template, words) for path, template in _files(kind).items()]


def _files(kind: str) -> dict[str, str]:
    """Path in the distribution to its template."""
    own_test = f"plugin_test_{kind}.py.txt"
    return {
        "pyproject.toml": "plugin_pyproject.toml.txt",
        "README.md": "plugin_readme.md.txt",
        "src/{{module}}/__init__.py": "plugin_init.py.txt",
        "src/{{module}}/piece.py": f"plugin_{kind}.py.txt",
        "tests/test_contract.py": own_test if (TEMPLATES / own_test).is_file() else "plugin_test.py.txt",
    }


def _problem(name: str, module: str, kind: str) -> Problem | None:
    if kind not in KINDS:
        return unknown("", "kind of piece", kind, KINDS)
    if not re.fullmatch(NAME, name):
        fix = "use letters, digits and - or _ between them, such as my-proj"
        return Problem("", f"{name!r} is no name of a distribution", fix)
    if not module.isidentifier() or keyword.iskeyword(module):
        return Problem("", f"the package of {name!r} would be called {module!r}, which Python cannot import",
                       "begin with a letter, and take no word of Python's own")  # fmt: skip
    found = importlib.util.find_spec(module)
    if module in sys.stdlib_module_names or (found is not None and found.origin is not None):
        return Problem("", f"there is a Python package {module!r} already", "take another name")
    registry = Registry.load()
    taken = registry.find(kind, module)
    if taken is not None:
        who = registry.plugin_of(taken).source
        what = f"{who} has a piece {module!r} ({taken.kind}) already; yours could not be used beside it"
        return Problem("", what, "take another name")
    return None


def _in_the_way(folder: Path) -> Problem | None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        return Problem(str(folder), "is there already, and nothing is overwritten", "remove it, or give --out")
    return None


def _filled(text: str, words: dict[str, str]) -> str:
    for key, word in words.items():
        text = text.replace("{{" + key + "}}", word)
    return text


def _write(path: Path, template: str, words: dict[str, str]) -> Path:
    write_text_atomic(path, _filled((TEMPLATES / template).read_text(encoding="utf-8"), words))
    return path
