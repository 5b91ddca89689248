"""A hash of the source of a module and of all that it uses of its own package, so that results know what made them."""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path


@functools.cache
def code_hash(module: str) -> str:
    """A hash of the files of `sources`; the same until the process ends, as the code that it imported is."""
    total = hashlib.blake2b(digest_size=16)
    for name, source in sorted(sources(module).items()):
        total.update(f"{name} {len(source)} ".encode() + source)
    return total.hexdigest()


def sources(module: str) -> dict[str, bytes]:
    """By name, the source of a module and of all modules of its own package that it imports, inside functions too.

    Empty where the module has no file (a notebook); compiled modules are left out.
    """
    found: dict[str, bytes] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        path = _file(name)
        if path is not None and name not in found:
            found[name] = path.read_bytes()
            inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
            own = module.partition(".")[0]
            todo += [n for n in _imported(found[name], inside) if n.partition(".")[0] == own]
    return found


def _imported(source: bytes, package: str) -> Iterator[str]:
    """Names of the modules that a source imports; a package only where something is taken from its `__init__`."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:  # a module that nobody could import so far either
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else str(node.module)
            inner = [f"{base}.{alias.name}" for alias in node.names]
            yield from (name if _file(name) is not None else base for name in inner)


def _file(module: str) -> Path | None:
    """The source file of a module whose top-level package is imported; None where there is none."""
    root, *below = module.split(".")
    home = sys.modules.get(root)
    folders = getattr(home, "__path__", None)
    if folders is None:
        own = getattr(home, "__file__", None)
        return Path(own) if own and not below and own.endswith(".py") else None
    for folder in folders:
        inner = Path(folder, *below)
        for path in ([inner.with_name(f"{inner.name}.py")] if below else []) + [inner / "__init__.py"]:
            if path.is_file():
                return path
    return None
