"""The graph of a recipe: ports, blocks, widths, token counts; every problem of the wiring."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affectkit.errors import InputError, cause, nearest
from affectkit.heads import HEADS
from affectkit.pieces import Piece, Port, Shape, port_of
from affectkit.plan.references import HIDDEN, Addresses, Ref, path_of, running_order, words_in
from affectkit.plan.use import Checker, Use, at_key, spelled_out
from affectkit.recipe import settings as reading
from affectkit.recipe.marked_yaml import WRONG, Path_, items
from affectkit.recipe.sections import StreamSettings
from affectkit.recipe.views import VIEWS

__all__ = ["Graph", "Ref", "Step", "View", "wire"]


@dataclass(frozen=True)
class Step:
    """One step of a stream, a head or an objective, with what it eats and puts out."""

    address: str
    """`stream.step`, `heads.NAME`, or `objectives.STAGE.NAME`."""
    piece: Piece
    settings: Any
    inputs: Mapping[str, Ref]
    """Port to what fills it; optional ports that nothing fills are left out."""
    eats: Mapping[str, Shape]
    shapes: Mapping[str, Shape]
    """Block to shape, the main block first."""
    cache: str = "disk"
    source: str = ""
    """The distribution (with its version) or file that the piece comes from."""

    @property
    def stream(self) -> str:
        return self.address.split(".")[0]

    @property
    def name(self) -> str:
        """Its name in the stream, or the head's."""
        return self.address.split(".")[1]

    @property
    def main(self) -> str:
        """Name of the main block."""
        return next(iter(self.shapes), "")

    @property
    def tells(self) -> tuple[str, ...]:
        """Names of the facts that it estimates."""
        names = self.piece.tells
        return tuple(names(self.settings) if callable(names) else names)


@dataclass(frozen=True)
class Graph:
    """Views and steps in running order, and what each stream ends in."""

    views: Mapping[str, View] = field(default_factory=dict)
    steps: Mapping[str, Step] = field(default_factory=dict)
    ends: Mapping[str, Ref] = field(default_factory=dict)
    """Stream to its last step's main block."""
    written: tuple[str, ...] = ()
    """Addresses of all steps of the recipe, those included that could not be wired."""
    reads: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Stream to the other streams that it names, as written."""
    partial: bool = False
    """Whether a whole section could not be read: names that are not here may be in it."""
    width: int | None = None
    """The LLM's; None = known when built."""

    def main(self, address: str) -> Ref:
        """The main block of a step."""
        return Ref(step=address, block=self.steps[address].main)

    def shape(self, ref: Ref) -> Shape:
        """Shape of what a reference names."""
        if ref == HIDDEN:
            return Shape(tokens=1, width=self.width)
        return self.views[ref.view].shape if ref.view else self.steps[ref.step].shapes[ref.block]

    def block(self, step: Step) -> dict[str, object]:
        """A step's block of a recipe, with every default; optional ports that stay empty are null, so that no view of their name
        fills them."""
        ports: dict[str, object] = {}
        for port in step.piece.ports:
            named = [self._named(ref) for key, ref in step.inputs.items() if port_of(key) == port.name]
            ports[port.name] = named if port.many else named[0] if named else None
        return {"use": step.piece.name, **ports, **reading.plain(step.settings)}

    def _named(self, ref: Ref) -> str:
        """What fills a port. A step's main block goes by the step's name, so that another step can be put in its place."""
        main = ref.step in self.steps and self.steps[ref.step].main == ref.block
        return ref.step if main else str(ref)

    def upstream(self, addresses: Sequence[str]) -> list[str]:
        """The given steps and all steps whose outputs they need, in running order."""
        wanted: set[str] = set()
        todo = list(addresses)
        while todo:
            address = todo.pop()
            if address in wanted:
                continue
            wanted.add(address)
            todo.extend(ref.step for ref in self.steps[address].inputs.values() if ref.step in self.steps)
        return [a for a in self.steps if a in wanted]


def wire(checker: Checker, width: int | None) -> Graph:
    """The graph of a recipe for an LLM of that width (None: known when built), as far as it is right.

    A step that depends on something wrong is left out without a problem of its own.
    """
    return _Wirer(checker, width).wire()


def with_width(graph: Graph, checker: Checker, width: int) -> Graph:
    """The same graph, with the shapes that its steps state for an LLM of that width."""
    steps: dict[str, Step] = {}
    wider = dataclasses.replace(graph, steps=steps, width=width)
    for address, step in graph.steps.items():
        step = dataclasses.replace(step, eats={port: wider.shape(ref) for port, ref in step.inputs.items()})
        shapes = stated_shapes(step, checker, width)
        steps[address] = dataclasses.replace(step, shapes=shapes or step.shapes)
    return wider


def stated_shapes(step: Step, checker: Checker, width: int | None) -> dict[str, Shape] | None:
    """What a step puts out, from its piece (an objective nothing); None with the problem where it cannot be."""
    piece, path = step.piece, path_of(step.address)
    try:
        shapes = dict(piece.shapes(step.settings, step.eats, width)) if piece.shapes else {}
    except InputError as error:
        checker.problems += [at_key(checker.recipe, p, path, piece) for p in error.problems]
        return None
    except Exception as error:  # a stranger's piece: the mistake must name it, and cost one message
        if checker.registry.problem(piece.kind, piece.name):
            return None  # its package is missing, which was reported
        source = checker.registry.source_of(piece)
        what = f"shapes() of the {piece.kind} {piece.name!r} from {source} failed: {cause(error)}"
        checker.problem(path, what, "tell its author")
        return None
    if piece.kind == "objective":
        return {}
    if not shapes or not all(isinstance(s, Shape) for s in shapes.values()):
        what = f"the {piece.kind} {piece.name!r} does not say what it puts out"
        checker.problem(path, what, "tell its author")
        return None
    return shapes


class _Wirer:
    """Reads views, then every step's block and what its ports name, then shapes in running order."""

    def __init__(self, checker: Checker, width: int | None) -> None:
        self.checker, self.width = checker, width
        self.views = read_views(checker)
        self.names = Addresses(checker, {n: v.shape.kind for n, v in self.views.items()})
        self.drafts: dict[str, Step] = {}
        """Steps whose ports name something; shapes are not known yet, and the settings of a wrong block are None."""
        self.reads: dict[str, set[str]] = {}
        self.steps: dict[str, Step] = {}
        self.graph = Graph(self.views, self.steps, width=width)
        """What is wired so far."""
        self.finder = BlockFinder(checker, self.graph, width)

    def wire(self) -> Graph:
        written = tuple(self.names.addresses())
        cache = {**{stream: self._cache(stream) for stream in self.names.steps}, HEADS: "none"}
        for address in written:
            self._draft(address, cache[address.split(".")[0]])
        needs = {a: [r.step for r in d.inputs.values() if r.step] for a, d in self.drafts.items()}
        order, circles = running_order(needs)
        for circle in circles:
            what = f"the streams form a circle, each reading the next: {' -> '.join(circle)}"
            self.checker.problem(path_of(circle[0]), what, "let one of these steps read something else")
        stuck = {step for circle in circles for step in circle}
        for address in (a for a in order if a not in stuck):
            settled = self.finder.settle(self.drafts[address])
            self.steps |= {address: settled} if settled else {}
        lasts = {s: self.steps.get(f"{s}.{steps[-1]}") for s, steps in self.names.steps.items() if steps}
        ends = {stream: Ref(step=last.address, block=last.main) for stream, last in lasts.items() if last}
        return Graph(self.views, self.steps, ends, written, self.reads, self.names.partial, self.width)

    def _cache(self, stream: str) -> str:
        path = ("streams", stream)
        clean = {str(k): v for k, v in items(self.checker.recipe.get(*path)) if k != "steps"}
        options = self.checker.settings(StreamSettings, clean, path, ("steps",))
        return options.cache if options else "disk"

    def _draft(self, address: str, cache: str) -> None:
        stream, path = address.split(".")[0], path_of(address)
        block, kind = self.checker.recipe.get(*path), "head" if stream == HEADS else "step"
        use = self.checker.block(path, kind)
        piece = use.piece if use else self.checker.in_part(path, kind)
        inputs = self.names.inputs(address, piece, block if isinstance(block, Mapping) else {}) if piece else None
        said = words_in(block)
        if piece and inputs is not None:
            source, settings = self.checker.registry.source_of(piece), use.settings if use else None
            self.drafts[address] = Step(address, piece, settings, inputs, {}, {}, cache, source)
            said = {ref.step.split(".")[0] for ref in inputs.values() if ref.step} if use else said
        self.reads.setdefault(stream, set()).update(said - {stream})


class BlockFinder:
    """Finds the block that a port names, among the steps of a graph that are wired so far."""

    def __init__(self, checker: Checker, graph: Graph, width: int | None) -> None:
        self.checker, self.graph, self.width = checker, graph, width
        self.steps, self.views = graph.steps, graph.views

    def settle(self, draft: Step) -> Step | None:
        """A step with the blocks that its ports name, their shapes and its own; None with the problem where one is wrong."""
        path = path_of(draft.address)
        ports = {port.name: port for port in draft.piece.ports}
        found = {key: self.find(ref, (*path, port_of(key)), ports[port_of(key)]) for key, ref in draft.inputs.items()}
        inputs = {name: ref for name, ref in found.items() if ref}
        if len(inputs) < len(draft.inputs) or draft.settings is None:
            return None
        eats = {port: self.graph.shape(ref) for port, ref in inputs.items()}
        step = dataclasses.replace(draft, inputs=inputs, eats=eats)
        shapes = stated_shapes(step, self.checker, self.width)
        return None if shapes is None else dataclasses.replace(step, shapes=shapes)

    def find(self, ref: Ref, path: Path_, port: Port) -> Ref | None:
        """The reference with its block, or None where it names none, depends on something wrong or does not fit the port."""
        step = self.steps.get(ref.step)
        if step is None and ref.view not in self.views and ref != HIDDEN:
            return None
        if step and ref.block and ref.block not in step.shapes:
            self._unknown_block(ref, step, path)
            return None
        whole = dataclasses.replace(ref, block=ref.block or step.main) if step else ref
        return whole if self._fits(whole, path, port) else None

    def _unknown_block(self, ref: Ref, step: Step, path: Path_) -> None:
        """Report that a step does not put out a block, at least not as it is set; names of blocks are compared, not addresses."""
        what, close, reader = f"unknown block {str(ref)!r}", nearest(ref.block, step.shapes), path[1]
        fix = f"did you mean '{ref.step}.{close}'?" if close else ""
        if not close:
            what += f": as it is set, {step.piece.name!r} does not put it out"
            leave = f", or leave out what reads it (`streams.{reader}.off=true`)" if reader != step.stream else ""
            others = self._with_block(ref.block, step)
            fix = f"put {' or '.join(others)} in its place" if others else f"name another block{leave}"
        self.checker.problem(path, what, fix, [f"{ref.step}.{block}" for block in step.shapes])

    def _with_block(self, block: str, step: Step) -> list[str]:
        """Other pieces of a step's kind that put out that block when fed the same, as they are set by default."""
        found = []
        for piece in (p for p in self.checker.registry.pieces(step.piece.kind) if p.name != step.piece.name):
            try:
                shapes = piece.shapes(piece.settings(), step.eats, self.width) if piece.shapes else {}
            except Exception:  # it wants settings, other ports, or what is not here
                continue
            found += [piece.name] if block in shapes and {p.name for p in piece.ports} >= set(step.eats) else []
        return found

    def _fits(self, ref: Ref, path: Path_, port: Port) -> bool:
        kind = self.graph.shape(ref).kind
        if kind == port.eats:
            return True
        what = f"the port {port.name!r} eats {port.eats}, but {ref} is {kind}"
        if port.eats == "tokens":
            fix = "name a block of another step"
            known = [f"{a}.{b}" for a, s in self.steps.items() for b in s.shapes]
        else:
            fix = f"name a view of {port.eats}"
            known = [n for n, v in self.views.items() if v.shape.kind == port.eats]
            fix += "" if known else "; the recipe has none yet"
        self.checker.problem(path, what, fix, known)
        return False


@dataclass(frozen=True)
class CachePlan:
    """What the trained part of a model needs of each sample: cached outputs of frozen heads, and prepared views."""

    heads: Sequence[str] = ()
    """Steps that run in `perceive`, in order."""
    blocks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Those of them whose blocks or facts are read downstream, with the names of the blocks that are read."""
    ports: Sequence[str] = ()
    """`address:port` of views that steps outside the heads eat."""
    rest: Sequence[str] = ()
    """Steps outside the heads, which run in the model, in order."""


def cache_plan_of(
    graph: Graph, running: Sequence[str], changing: Collection[str], reads: Sequence[str], ends: Iterable[Ref]
) -> CachePlan:
    """Which of the `running` steps are heads while the weights of those in `changing` change; `reads` names steps whose facts
    are wanted, `ends` the blocks that are."""
    heads: list[str] = []
    for address in running:
        step = graph.steps[address]
        # what was fitted to one split would have its own copy of all features: it runs behind the cache instead
        frozen = address not in changing and step.cache != "none" and not per_batch(step) and not step.piece.fits
        if frozen and all(not is_question(graph, r) if r.view else r.step in heads for r in step.inputs.values()):
            heads.append(address)
    rest = [a for a in running if a not in heads]
    eaten = {(r.step, r.block) for a in rest for r in graph.steps[a].inputs.values() if r.step}
    eaten |= {(ref.step, ref.block) for ref in ends}
    blocks = {a: tuple(sorted(b for s, b in eaten if s == a)) for a in heads}
    kept = {a: blocks[a] for a in heads if blocks[a] or a in reads}
    ports = [f"{a}:{p}" for a in rest for p, r in graph.steps[a].inputs.items() if r.view and not is_question(graph, r)]
    return CachePlan(heads, kept, ports, rest)


def question_steps(graph: Graph, running: Sequence[str]) -> list[str]:
    """Those of the `running` steps that read the words of a turn, or eat what such a step gives: they run once a turn."""
    found: list[str] = []
    for address in running:
        inputs = graph.steps[address].inputs.values()
        if any(is_question(graph, r) if r.view else r.step in found for r in inputs):
            found.append(address)
    return found


def is_question(graph: Graph, ref: Ref) -> bool:
    """Whether a port is fed the words of the turn."""
    return bool(ref.view) and graph.views[ref.view].use == "question"


def per_batch(step: Step) -> bool:
    """Whether what a step gives for a sample depends on the other samples in its batch."""
    rule = step.piece.per_batch
    return bool(rule(step.settings)) if callable(rule) else rule


@dataclass(frozen=True)
class View:
    """One view of the recipe."""

    name: str
    use: str
    settings: Any
    shape: Shape
    detector: Use | None = None
    """What finds faces for it, where its settings name one."""


def read_views(checker: Checker) -> dict[str, View]:
    """The views that are right."""
    views: dict[str, View] = {}
    for name, block in items(checker.recipe.get("views")):
        path: Path_ = ("views", name)
        if block is None or block is WRONG or not checker.is_name(path, "view"):
            continue
        block = {"use": block} if isinstance(block, str) else block
        if not isinstance(block, Mapping):
            what = f"wants a mapping of settings, or the name of a view, got {reading.show(block)}"
            checker.problem(path, what, "", VIEWS)
            continue
        use = block.get("use", name)
        if use is WRONG:
            continue
        if not isinstance(use, str) or use not in VIEWS:
            also = "" if "use" in block else f"add `use: …`, the kind of view that {name!r} is"
            checker.unknown((*path, "use"), "view", str(use), VIEWS, also)
            continue
        clean = {k: v for k, v in spelled_out(path, block).items() if k != "use"}
        made = checker.settings(VIEWS[use], clean, path, ("use",))
        if made is None:
            continue
        detector = None
        if getattr(made, "detector", None) is not None:
            detector = checker.block((*path, "detector"), "detector")
            made = dataclasses.replace(made, detector=detector.block() if detector else None)
        views[str(name)] = View(str(name), use, made, made.shape(), detector)
    for name, view in list(views.items()):
        views[str(name)] = _cut_from(checker, view, views)
    return views


def _cut_from(checker: Checker, view: View, views: Mapping[str, View]) -> View:
    """A view that is cut from another (face crops from frames) has as many time steps as that one."""
    of = getattr(view.settings, "of", None)
    if of is None:
        return view
    whole = [n for n, v in views.items() if v.shape.kind == "pixels" and getattr(v.settings, "of", None) is None]
    if of in whole:
        return dataclasses.replace(view, shape=dataclasses.replace(view.shape, time=views[of].shape.time))
    if of in views or checker.recipe.get("views", of) is None:  # one that is there and not read has its own problem
        checker.unknown(("views", view.name, "of"), "view of frames", of, whole)
    return view
