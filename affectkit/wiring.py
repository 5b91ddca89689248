"""The graph of a recipe: ports, blocks, widths, token counts; every problem of the wiring. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affectkit import settings as reading
from affectkit.errors import InputError, Problem, unknown
from affectkit.looks import VIEWS
from affectkit.pieces import Piece, Port, Shape
from affectkit.recipe import Recipe
from affectkit.registry import Registry
from affectkit.sections import StreamSettings

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class View:
    """One view of the recipe."""

    name: str
    use: str
    settings: Any
    shape: Shape


@dataclass(frozen=True)
class Ref:
    """What fills a port: a view, or a block of a step."""

    view: str = ""
    step: str = ""
    block: str = ""

    def __str__(self) -> str:
        return self.view or f"{self.step}.{self.block}"


@dataclass(frozen=True)
class Step:
    """One step of a stream, with what it eats and puts out."""

    address: str
    """`stream.step`."""
    piece: Piece
    settings: Any
    inputs: Mapping[str, Ref]
    """Port to what fills it; optional ports that nothing fills are left out."""
    eats: Mapping[str, Shape]
    shapes: Mapping[str, Shape]
    """Block to shape, the main block first; empty where they could not be worked out."""
    cache: str = "disk"

    @property
    def stream(self) -> str:
        return self.address.split(".")[0]

    @property
    def main(self) -> str:
        """Name of the main block."""
        return next(iter(self.shapes), "")


@dataclass
class Graph:
    """Views and steps in running order, and what each stream ends in."""

    views: dict[str, View] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    ends: dict[str, Ref] = field(default_factory=dict)
    """Stream to its last step's main block."""

    def shape(self, ref: Ref) -> Shape:
        """Shape of what a reference names."""
        return self.views[ref.view].shape if ref.view else self.steps[ref.step].shapes[ref.block]

    def upstream(self, addresses: Sequence[str]) -> list[str]:
        """The given steps and all that they lean on, in running order."""
        wanted: set[str] = set()
        todo = list(addresses)
        while todo:
            address = todo.pop()
            if address in wanted:
                continue
            wanted.add(address)
            todo.extend(ref.step for ref in self.steps[address].inputs.values() if ref.step)
        return [a for a in self.steps if a in wanted]


def wire(recipe: Recipe, registry: Registry, width: int | None, problems: list[Problem]) -> Graph:
    """The graph of a recipe; what is wrong with it is appended to `problems`, and the parts that are right are there."""
    return _Wirer(recipe, registry, width, problems).wire()


def read_block(
    recipe: Recipe,
    path: Path_,
    kind: str,
    registry: Registry,
    problems: list[Problem],
    leave: Sequence[str] = (),
) -> tuple[Piece, Any] | None:
    """The piece that the block at `path` uses, with its settings; keys in `leave` are no settings. None if wrong."""
    block = _at(recipe.values, path)
    if isinstance(block, str):
        block = {"use": block}
    if not isinstance(block, Mapping):
        problems.append(Problem(recipe.place(path), f"wants a block with `use`, got {reading.show(block)}"))
        return None
    name = block.get("use")
    if not isinstance(name, str):
        problems.append(
            Problem(recipe.place(path), f"`use` must name a {kind}", f"known: {', '.join(registry.names(kind))}")
        )
        return None
    problem = registry.problem(kind, name, recipe.place((*path, "use")))
    if problem:
        problems.append(problem)
        return None
    piece = registry.piece(kind, name)
    ports = {p.name for p in piece.ports}
    clean = {k: v for k, v in block.items() if k != "use" and k not in leave and k not in ports}
    made, found = reading.read(piece.settings, clean, lambda below: recipe.place((*path, *below)))
    if found:
        problems.extend(_with_ports(found, piece))
        return None
    return piece, made


def _with_ports(found: list[Problem], piece: Piece) -> list[Problem]:
    """An unknown key of a step may be a misspelt port: let the known names include them."""
    names = tuple(p.name for p in piece.ports)
    return [dataclasses.replace(p, known=(*names, *p.known)) if p.known and names else p for p in found]


def _at(values: Any, path: Path_) -> Any:
    for key in path:
        values = values[key] if isinstance(values, list) else values.get(key) if isinstance(values, Mapping) else None
    return values


class _Wirer:
    """Reads views, then streams depth first in the order that references ask for."""

    def __init__(self, recipe: Recipe, registry: Registry, width: int | None, problems: list[Problem]) -> None:
        self.recipe, self.registry, self.width, self.problems = recipe, registry, width, problems
        self.graph = Graph()
        self.blocks: dict[str, list[str]] = {}
        """Stream to its step names, as written."""
        self.open: list[str] = []
        self.failed: set[str] = set()

    def wire(self) -> Graph:
        self._views()
        for stream, value in (self.recipe.get("streams") or {}).items():
            if value is None:
                continue
            if stream in self.graph.views:
                self._problem(
                    ("streams", stream),
                    f"a view and a stream are both called {stream!r}",
                    "rename one of them",
                )
            steps = value.get("steps") if isinstance(value, Mapping) else None
            if not isinstance(steps, Mapping) or not any(steps.values()):
                self._problem(("streams", stream), "a stream has `steps`, a mapping of at least one step")
                continue
            self.blocks[stream] = [name for name, block in steps.items() if block is not None]
        for stream, names in self.blocks.items():
            for name in names:
                self._step(f"{stream}.{name}")
            last = f"{stream}.{names[-1]}"
            if last in self.graph.steps and self.graph.steps[last].main:
                self.graph.ends[stream] = Ref(step=last, block=self.graph.steps[last].main)
        return self.graph

    def _problem(self, path: Path_, what: str, fix: str = "") -> None:
        self.problems.append(Problem(self.recipe.place(path), what, fix))

    def _views(self) -> None:
        for name, block in (self.recipe.get("views") or {}).items():
            if block is None:
                continue
            path: Path_ = ("views", name)
            block = {"use": block} if isinstance(block, str) else block
            use = block.get("use", name) if isinstance(block, Mapping) else None
            if not isinstance(use, str) or use not in VIEWS:
                self.problems.append(unknown(self.recipe.place((*path, "use")), "view", str(use), VIEWS))
                continue
            clean = {k: v for k, v in block.items() if k != "use"}
            made, found = reading.read(VIEWS[use], clean, lambda below, path=path: self.recipe.place((*path, *below)))  # type: ignore[misc]
            self.problems.extend(found)
            if made is not None:
                self.graph.views[name] = View(name, use, made, made.shape())
        for name, view in list(self.graph.views.items()):
            self._cut_from(name, view)

    def _cut_from(self, name: str, view: View) -> None:
        """A view that is cut from another (face crops from frames) has as many time steps as that one."""
        of = getattr(view.settings, "of", None)
        if of is None:
            return
        others = [n for n, v in self.graph.views.items() if v.shape.kind == "pixels" and n != name]
        if of not in others:
            self.problems.append(unknown(self.recipe.place(("views", name, "of")), "view", of, others))
            return
        shape = dataclasses.replace(view.shape, time=self.graph.views[of].shape.time)
        self.graph.views[name] = dataclasses.replace(view, shape=shape)

    def _step(self, address: str) -> None:
        if address in self.graph.steps or address in self.failed:
            return
        stream, name = address.split(".")
        path: Path_ = ("streams", stream, "steps", name)
        if address in self.open:
            circle = " -> ".join([*self.open[self.open.index(address) :], address])
            self._problem(path, f"the streams form a circle: {circle}", "let one of these steps read something else")
            self.failed.add(address)
            return
        self.open.append(address)
        found = read_block(self.recipe, path, "step", self.registry, self.problems)
        before = len(self.problems)
        if found:
            piece, made = found
            inputs = self._inputs(address, path, piece)
            if inputs is not None and len(self.problems) == before:
                self._shape(address, path, piece, made, inputs)
        self.open.pop()
        if address not in self.graph.steps:
            self.failed.add(address)

    def _inputs(self, address: str, path: Path_, piece: Piece) -> dict[str, Ref] | None:
        block = _at(self.recipe.values, path)
        block = block if isinstance(block, Mapping) else {}
        inputs: dict[str, Ref] = {}
        complete = True
        for index, port in enumerate(piece.ports):
            given = block.get(port.name)
            if given is None and port.name in block and port.optional:
                continue
            ref = self._named(given, path, port) if given is not None else self._default(address, index, port)
            if ref is not None:
                complete &= self._fits(ref, path, port)
                inputs[port.name] = ref
            elif given is not None or not port.optional:
                complete = False
                if given is None and not self._leans_on_failure(address, index):
                    what = f"nothing fills the port {port.name!r} of {piece.name!r}"
                    self._problem(path, what, f"add `{port.name}: …`, naming a view or a block ({self._choices(port)})")
        return inputs if complete else None

    def _leans_on_failure(self, address: str, index: int) -> bool:
        stream, name = address.split(".")
        place = self.blocks[stream].index(name)
        return index == 0 and place > 0 and f"{stream}.{self.blocks[stream][place - 1]}" in self.failed

    def _default(self, address: str, index: int, port: Port) -> Ref | None:
        stream, name = address.split(".")
        place = self.blocks[stream].index(name)
        if index == 0 and place > 0:
            before = f"{stream}.{self.blocks[stream][place - 1]}"
            self._step(before)
            step = self.graph.steps.get(before)
            return Ref(step=before, block=step.main) if step and step.main else None
        if port.name in self.graph.views:
            return Ref(view=port.name)
        return self._end_of(port.name) if port.name in self.blocks and port.name != stream else None

    def _end_of(self, stream: str) -> Ref | None:
        last = f"{stream}.{self.blocks[stream][-1]}"
        self._step(last)
        step = self.graph.steps.get(last)
        return Ref(step=last, block=step.main) if step and step.main else None

    def _named(self, given: Any, path: Path_, port: Port) -> Ref | None:
        """The reference that `view`, `stream`, `stream.step` or `stream.step.block` stands for."""
        at = self.recipe.place((*path, port.name))
        if not isinstance(given, str):
            self.problems.append(
                Problem(at, f"the port {port.name!r} names a view or block, got {reading.show(given)}")
            )
            return None
        parts = given.split(".")
        if given in self.graph.views:
            return Ref(view=given)
        if parts[0] not in self.blocks:
            known = [*self.graph.views, *self.blocks]
            self.problems.append(unknown(at, "view or stream", parts[0], known))
            return None
        if len(parts) == 1:
            return self._end_of(given)
        if parts[1] not in self.blocks[parts[0]] or len(parts) > 3:
            self.problems.append(
                unknown(at, f"step of stream {parts[0]!r}", ".".join(parts[1:]), self.blocks[parts[0]])
            )
            return None
        address = f"{parts[0]}.{parts[1]}"
        self._step(address)
        step = self.graph.steps.get(address)
        if step is None:
            return None
        block = parts[2] if len(parts) == 3 else step.main
        if block not in step.shapes:
            self.problems.append(unknown(at, f"block of {address}", block, step.shapes))
            return None
        return Ref(step=address, block=block)

    def _fits(self, ref: Ref, path: Path_, port: Port) -> bool:
        kind = self.graph.shape(ref).kind
        if kind == port.eats:
            return True
        what = f"the port {port.name!r} eats {port.eats}, but {ref} is {kind}"
        self._problem((*path, port.name), what, f"give it {self._choices(port)}")
        return False

    def _choices(self, port: Port) -> str:
        if port.eats == "tokens":
            blocks = [f"{a}.{b}" for a, s in self.graph.steps.items() for b in s.shapes]
            return f"blocks so far: {', '.join(blocks)}" if blocks else "a block of another step"
        views = [n for n, v in self.graph.views.items() if v.shape.kind == port.eats]
        return (
            f"views of {port.eats}: {', '.join(views)}" if views else f"a view of {port.eats}; the recipe has none yet"
        )

    def _shape(self, address: str, path: Path_, piece: Piece, made: Any, inputs: dict[str, Ref]) -> None:
        eats = {port: self.graph.shape(ref) for port, ref in inputs.items()}
        try:
            shapes = dict(piece.shapes(made, eats, self.width)) if piece.shapes else {}
        except InputError as error:
            self.problems.extend(
                dataclasses.replace(p, place=p.place or self.recipe.place(path)) for p in error.problems
            )
            return
        stream = (self.recipe.get("streams", address.split(".")[0]) or {}).items()
        options, found = reading.read(
            StreamSettings,
            {k: v for k, v in stream if k != "steps"},
            lambda below: self.recipe.place(("streams", address.split(".")[0], *below)),
        )
        if found and not self.graph.steps.keys() & {
            a for a in self.graph.steps if a.startswith(f"{address.split('.')[0]}.")
        }:
            self.problems.extend(found)
        cache = options.cache if options else "disk"
        self.graph.steps[address] = Step(address, piece, made, inputs, eats, shapes, cache)
