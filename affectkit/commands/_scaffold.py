"""`affectkit plugins new`: a distribution with one working piece and its contract test, or a second piece."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
import tomllib
from pathlib import Path

from affectkit.errors import InputError, Problem, unknown
from affectkit.files import write_text_atomic
from affectkit.pieces import KINDS
from affectkit.registry import GROUP, Registry
from affectkit.templates import environment

TEMPLATES = Path(__file__).parent / "templates"
NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
"""What a distribution may be called (PyPA, core metadata)."""


def write_plugin(name: str, kind: str, folder: str | Path) -> list[Path]:
    """Write the distribution `name` with a piece of that kind into `folder`; returns what was written.

    Raises InputError for a folder that is there, an unknown kind, and a name that is no distribution name, cannot be
    imported, or is taken by a package or piece.
    """
    folder = Path(folder)
    module = _module(name)
    _check_name(name, module, kind)
    found = importlib.util.find_spec(module)
    if module in sys.stdlib_module_names or (found is not None and found.origin is not None):
        raise InputError(Problem("", f"there is a Python package {module!r} already", "take another name"))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "is there already, and nothing is overwritten"
        raise InputError(Problem(str(folder), what, "remove it, or give --out"))
    words = {"name": name, "package": module, "module": "piece", "piece": module, "kind": kind}
    files = {
        "pyproject.toml": "plugin_pyproject.toml.txt",
        "README.md": "plugin_readme.md.txt",
        f"src/{module}/__init__.py": "plugin_init.py.txt",
        f"src/{module}/piece.py": f"plugin_{kind}.py.txt",
        "tests/test_contract.py": _test(kind),
    }
    return [_write(folder / path, template, words) for path, template in files.items()]


def add_piece(name: str, kind: str, folder: str | Path) -> list[Path]:
    """Write a second piece, called `name`, and its contract test into the distribution in `folder`; returns both files.

    Raises InputError where `folder` holds no distribution whose entry point of the group `affectkit` is a package, and for
    names that `write_plugin` refuses.
    """
    folder = Path(folder)
    module = _module(name)
    _check_name(name, module, kind)
    package, dotted = _package_in(folder)
    words = {"package": dotted, "module": module, "piece": module, "kind": kind}
    files = {package / f"{module}.py": f"plugin_{kind}.py.txt", folder / f"tests/test_{module}.py": _test(kind)}
    there = [path for path in files if path.exists()]
    called = re.compile(rf"""Piece\(\s*["']\w+["'],\s*["']{module}["']""")
    there += [path for path in sorted(package.rglob("*.py")) if called.search(path.read_text(encoding="utf-8"))]
    if there:
        raise InputError(Problem(str(there[0]), "is there already, with a piece of that name", "take another name"))
    return [_write(path, template, words) for path, template in files.items()]


def _package_in(folder: Path) -> tuple[Path, str]:
    """The package that a distribution's entry point names: its folder, and its name with dots."""
    file = folder / "pyproject.toml"
    if not file.is_file():
        fix = "give --into the folder of a distribution, such as one that `affectkit plugins new` wrote"
        raise InputError(Problem(str(file), "there is no such file", fix))
    try:
        about = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(Problem(str(file), f"is not TOML: {error}")) from error
    points = about.get("project", {}).get("entry-points", {}).get(GROUP, {})
    for point in points.values():
        for package in (folder / "src" / point.replace(".", "/"), folder / point.replace(".", "/")):
            if (package / "__init__.py").is_file():
                return package, point
    what = f"names no package of this folder under [project.entry-points.{GROUP}]"
    fix = 'let the entry point name a package, such as `my_proj = "my_proj"`: that stands for all its modules'
    raise InputError(Problem(str(file), what, fix, tuple(points.values())))


def _module(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _test(kind: str) -> str:
    """The template of a kind's contract test."""
    own = f"plugin_test_{kind}.py.txt"
    return own if (TEMPLATES / own).is_file() else "plugin_test.py.txt"


def _check_name(name: str, module: str, kind: str) -> None:
    """Raises InputError for an unknown kind, and for a name that cannot be used or belongs to a piece already."""
    if kind not in KINDS:
        raise InputError(unknown("", "kind of piece", kind, KINDS))
    if not re.fullmatch(NAME, name):
        fix = "use letters, digits and - or _ between them, such as my-proj"
        raise InputError(Problem("", f"{name!r} is no name of a distribution", fix))
    if not module.isidentifier() or keyword.iskeyword(module):
        what = f"the package of {name!r} would be called {module!r}, which Python cannot import"
        raise InputError(Problem("", what, "begin with a letter, and take no word of Python's own"))
    registry = Registry.load()
    taken = registry.find(kind, module)
    if taken is not None:
        who = registry.plugin_of(taken).source
        what = f"{who} has a piece {module!r} ({taken.kind}) already; yours could not be used beside it"
        raise InputError(Problem("", what, "take another name"))


def _write(path: Path, template: str, words: dict[str, str]) -> Path:
    write_text_atomic(path, environment(TEMPLATES).get_template(template).render(words))
    return path
