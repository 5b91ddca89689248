"""Find plugins, load each by itself, look pieces up."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any, SupportsIndex

import pluggy

from affectkit import pieces
from affectkit.code_hash import code_hash
from affectkit.errors import InputError, Problem, cause, unknown
from affectkit.pieces import API, KINDS, STEP_KINDS, Piece
from affectkit.strangers import contained

GROUP = "affectkit"
DISABLE = "AFFECTKIT_DISABLE_PLUGINS"
"""Environment variable: distribution names, comma separated, whose plugins are not loaded."""


@dataclass
class Plugin:
    """One entry point or file, and what came of loading it."""

    name: str
    source: str
    """Distribution name, or the path of a file."""
    version: str = ""
    pieces: list[Piece] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    """(module, cause) of what could not be loaded."""
    habits: list[str] = field(default_factory=list)
    """What it did to the process when it was loaded, which was put back: a sentence each."""
    code: dict[str, str] = field(default_factory=dict)
    """Of a file, which has no version: its module's name to a hash of what was loaded."""

    def disable(self) -> str:
        """How to go on without it."""
        if self.source.endswith(".py"):
            return f"leave out --plugin {self.source}"
        return f"set {DISABLE}={self.source} or pip uninstall {self.source}"

    def __str__(self) -> str:
        return f"{self.source} {self.version}".strip()

    def install(self, piece: Piece, missing: Sequence[str] = ()) -> str:
        """The command that installs what one of its pieces needs: an extra of this distribution, which the piece names or
        which lists the missing package; an extra of affectkit's that it names; else the packages by their names."""
        own, ours = _extras(self.source), _extras(pieces.PROJECT)
        named = piece.extra or next((e for e, names in own.items() if {*map(_plain, missing)} & names), "")
        for owner, extras in ((self.source, own), (pieces.PROJECT, ours)):
            if named in extras:
                return f"pip install '{owner}[{named}]'"
        return f"pip install {' '.join(missing or piece.needs)}"


def _extras(distribution: str) -> dict[str, set[str]]:
    """The extras of an installed distribution, each with the names of the distributions that it lists."""
    try:
        about = importlib.metadata.metadata(distribution)
    except (importlib.metadata.PackageNotFoundError, ValueError):  # a file, or a plugin made in a test
        return {}
    found: dict[str, set[str]] = {extra: set() for extra in about.get_all("Provides-Extra") or ()}
    for line in about.get_all("Requires-Dist") or ():
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if name and extra:
            found.setdefault(extra[1], set()).add(_plain(name[0]))
    return found


def _plain(name: str) -> str:
    """A distribution's name as comparisons want it (PyPA, names and normalization)."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Registry:
    """The pieces that there are, by kind and name. Tests make their own: `Registry([plugin])`."""

    def __init__(self, plugins: Iterable[Plugin] = ()) -> None:
        self.plugins = list(plugins)
        self._found: dict[tuple[str, str], tuple[Piece, Plugin]] = {}
        self.clashes: dict[tuple[str, str], list[Plugin]] = {}
        self.files: tuple[str, ...] | None = None
        """The files that were loaded beside what is installed; None for a registry that was made by hand."""
        for plugin in sorted(self.plugins, key=lambda p: p.source != pieces.PROJECT):
            for piece in [*plugin.pieces]:
                self._add(piece, plugin)

    def _add(self, piece: Piece, plugin: Plugin) -> None:
        key = (_group(piece.kind), piece.name)
        if key in self._found and self._found[key][1].source == pieces.PROJECT != plugin.source:
            plugin.pieces.remove(piece)
            there = self._found[key][0].kind
            why = f"affectkit has {_a(there)} {piece.name!r}, which stays: give this {piece.kind} another name"
            plugin.broken.append((f"the piece {piece.name!r}", why))
        elif key in self._found:
            self.clashes.setdefault(key, [self._found[key][1]]).append(plugin)
        else:
            self._found[key] = (piece, plugin)

    @classmethod
    def load(cls, files: Sequence[str | Path] = ()) -> Registry:
        """Every installed plugin (entry points of the group `affectkit`) and the given files."""
        off = {n.strip() for n in os.environ.get(DISABLE, "").split(",") if n.strip()}
        points = importlib.metadata.entry_points(group=GROUP)
        found = [_from_entry_point(p) for p in points if p.dist is None or p.dist.name not in off]
        registry = cls([*found, *(_from_file(Path(f)) for f in files)])
        registry.files = tuple(map(str, files))
        for piece in registry.pieces():
            object.__setattr__(piece, "origin", partial(_piece_in, registry.files))
        _LOADED[registry.files] = registry
        return registry

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """A registry that was loaded travels to another process by its sources, and is loaded there anew."""
        return super().__reduce_ex__(protocol) if self.files is None else (_registry_of, (self.files,))

    def pieces(self, kind: str | None = None) -> list[Piece]:
        """All pieces, or those of one kind, by kind and name."""
        order = {k: i for i, k in enumerate(KINDS)}
        found = [p for p, _ in self._found.values() if kind in (None, p.kind)]
        return sorted(found, key=lambda p: (order[p.kind], p.name))

    def names(self, group: str) -> list[str]:
        """Names of one kind; `step` stands for every kind that can be a step of a stream."""
        return sorted(n for g, n in self._found if g == _group(group))

    def find(self, kind: str, name: str) -> Piece | None:
        """The piece of that kind and name, or None. `step` stands for every kind that can be a step."""
        found = self._found.get((_group(kind), name))
        return found[0] if found else None

    def plugin_of(self, piece: Piece) -> Plugin:
        """Where a piece came from."""
        return self._found[(_group(piece.kind), piece.name)][1]

    def source_of(self, piece: Piece) -> str:
        """The distribution, with its version, or the file that a piece came from; empty for one made by hand."""
        found = self._found.get((_group(piece.kind), piece.name))
        return str(found[1]) if found else ""

    def fingerprint(self, piece: Piece) -> list[str]:
        """What a piece's results depend on beside its settings and weights: its distribution and version, and the source
        of its `build`, `prepare` and settings with all that they import of their own package."""
        plugin = self.plugin_of(piece)
        parts = [getattr(p, "func", p) for p in (piece.settings, piece.build, piece.prepare) if p is not None]
        modules = {str(getattr(p, "__module__", "")) for p in parts} | set(plugin.code)
        code = [plugin.code.get(m) or code_hash(m) for m in sorted(modules)]
        return code if plugin.code else [plugin.source, plugin.version, *code]

    def piece(self, kind: str, name: str, place: str = "") -> Piece:
        """The piece of that kind and name; raises InputError with the near miss and the plugins that did not load."""
        problem = self.problem(kind, name, place)
        if problem:
            raise InputError(problem)
        return self._found[(_group(kind), name)][0]

    def not_loaded(self) -> str:
        """The plugins that did not load and may offer what is looked for, in words; empty where all did."""
        broken = [f"{p} ({m}: {why}; {p.disable()})" for p in self.plugins for m, why in p.broken]
        return f"these plugins did not load and may offer it: {'; '.join(broken)}" if broken else ""

    def problem(self, kind: str, name: str, place: str = "") -> Problem | None:
        """Why that piece cannot be used, or None."""
        key = (_group(kind), name)
        if key in self.clashes:
            who = " and ".join(map(str, self.clashes[key]))
            return Problem(
                place, f"two plugins offer a {kind} {name!r}: {who}", f"disable one: {self.clashes[key][-1].disable()}"
            )
        if key not in self._found:
            other = [g for g, n in self._found if n == name]
            also = "; ".join(
                t for t in (f"there is a {other[0]} of that name" if other else "", self.not_loaded()) if t
            )
            return unknown(place, kind, name, self.names(kind), also)
        piece = self._found[key][0]
        missing = [m for m in piece.needs if not _is_installed(m)]
        if missing:
            what = f"the {kind} {name!r} needs the package {', '.join(missing)}, which is not installed"
            return Problem(place, what, self._found[key][1].install(piece, missing))
        return None


_LOADED: dict[tuple[str, ...], Registry] = {}
"""The last registry that this process loaded, by its files."""


def _registry_of(files: tuple[str, ...]) -> Registry:
    """The registry of what is installed and these files, loaded once a process."""
    return _LOADED.get(files) or Registry.load(files)


def _piece_in(files: tuple[str, ...], kind: str, name: str) -> Piece:
    """A piece of that registry. Raises LookupError where another process has other plugins."""
    piece = _registry_of(files).find(kind, name)
    if piece is None:
        raise LookupError(f"there is no {kind} {name!r} in this process")
    return piece


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a part of a package that is missing as a whole
        return False


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _group(kind: str) -> str:
    return "step" if kind in STEP_KINDS else kind


def _from_entry_point(point: importlib.metadata.EntryPoint) -> Plugin:
    dist = point.dist
    plugin = Plugin(point.name, dist.name if dist else "?", dist.version if dist else "")
    for module in _modules(point.value, plugin):
        _collect(module, plugin, must=module.__name__ == point.value and not hasattr(module, "__path__"))
    return plugin


def _guarded(module: str, plugin: Plugin) -> AbstractContextManager[None]:
    """What a plugin's code runs in. Our own is no stranger's: it would cost every command 0.05 s."""
    return nullcontext() if plugin.source == pieces.PROJECT else contained(module, plugin.habits)


def _modules(name: str, plugin: Plugin) -> Iterator[ModuleType]:
    """The module itself and, for a package, all below it but networks (`*_net`) and private ones (`_*`), as far as they load."""
    try:
        with _guarded(name, plugin):
            module = importlib.import_module(name)
    except Exception as error:
        # Anything may go wrong in a stranger's module; it must cost that module and nothing else.
        plugin.broken.append((name, cause(error)))
        return
    yield module
    for info in pkgutil.iter_modules(getattr(module, "__path__", [])):
        if not info.name.startswith("_") and not info.name.endswith("_net"):
            yield from _modules(f"{name}.{info.name}", plugin)


def _from_file(path: Path) -> Plugin:
    plugin = Plugin(path.stem, str(path))
    name = f"affectkit_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        what = "there is no such plugin file" if not path.is_file() else "is not a .py file"
        raise InputError(Problem(str(path), what, "give --plugin the path of a .py file"))
    plugin.code[name] = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by name
    try:
        with contained(path.name, plugin.habits):
            spec.loader.exec_module(module)
    except Exception as error:
        plugin.broken.append((str(path), cause(error)))
        return plugin
    _collect(module, plugin, must=True)
    return plugin


_FUNCTIONS = (FunctionType, MethodType, staticmethod, classmethod)


class _Manager(pluggy.PluginManager):
    """Looks for hooks among functions alone. Pluggy walks the classes of all that a module holds: half of a `check`."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        return super().parse_hookimpl_opts(plugin, name) if _is_function(plugin, name) else None

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> pluggy.HookspecOpts | None:
        return super().parse_hookspec_opts(module_or_class, name) if _is_function(module_or_class, name) else None


def _is_function(owner: object, name: str) -> bool:
    return isinstance(vars(owner).get(name), _FUNCTIONS)


def _collect(module: ModuleType, plugin: Plugin, must: bool) -> None:
    """Ask one module for its pieces through a manager of its own, so that one plugin cannot spoil another."""
    manager = _Manager(pieces.PROJECT)
    manager.add_hookspecs(pieces.Hooks)
    try:
        with _guarded(module.__name__, plugin):
            manager.register(module, module.__name__)
            manager.check_pending()
            offered = [p for got in manager.hook.affectkit_pieces() for p in got]
    except Exception as error:
        plugin.broken.append((module.__name__, cause(error)))
        return
    if must and not offered:
        plugin.broken.append((module.__name__, "it has no affectkit_pieces() marked with @affectkit.hookimpl"))
    for piece in offered:
        wrong = _wrong(piece)
        if wrong:
            plugin.broken.append((module.__name__, wrong))
        else:
            plugin.pieces.append(piece)


def _wrong(piece: object) -> str:
    if not isinstance(piece, Piece):
        return f"affectkit_pieces() returned {piece!r}, which is no affectkit.Piece"
    if piece.kind not in KINDS:
        return f"piece {piece.name!r} has the unknown kind {piece.kind!r}; known: {', '.join(KINDS)}"
    if piece.api != API:
        return f"piece {piece.name!r} was written for hook API {piece.api}; this affectkit speaks {API}"
    return pieces.misshapen(piece)
