"""Which steps are heads: frozen, deterministic, at the start of a stream. They run once a sample. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from affectkit.wiring import Graph, Ref, Step


@dataclass
class Demand:
    """What the rest of a model wants of each sample: blocks of heads, views as an encoder prepared them."""

    heads: list[str] = field(default_factory=list)
    """Steps that run in `perceive`, in order."""
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Those of them whose blocks or facts somebody downstream reads, with the blocks that are read."""
    ports: list[str] = field(default_factory=list)
    """`address:port` of views that steps outside the heads eat."""


def demand_of(
    graph: Graph, running: Sequence[str], changing: Collection[str], reads: Sequence[str], ends: Sequence[str]
) -> Demand:
    """Which of the `running` steps are heads while the weights of those in `changing` change; `reads` and `ends` name
    steps whose facts or blocks are wanted."""
    text = {n for n, v in graph.views.items() if v.shape.kind == "text" and v.use == "question"}
    heads: list[str] = []
    for address in running:
        step = graph.steps[address]
        frozen = address not in changing and step.cache != "none" and not per_batch(step)
        if frozen and all(r.view not in text if r.view else r.step in heads for r in step.inputs.values()):
            heads.append(address)
    rest = [a for a in running if a not in heads]
    eaten = {(r.step, r.block) for a in rest for r in graph.steps[a].inputs.values() if r.step}
    eaten |= {(a, graph.steps[a].main) for a in ends}
    blocks = {a: tuple(sorted(b for s, b in eaten if s == a)) for a in heads}
    kept = {a: blocks[a] for a in heads if blocks[a] or a in reads}
    ports = [f"{a}:{p}" for a in rest for p, r in graph.steps[a].inputs.items() if r.view and r.view not in text]
    return Demand(heads, kept, ports)


def asked_of(graph: Graph, running: Sequence[str]) -> list[str]:
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
    """Whether what a step gives for a sample hangs on the others in its batch."""
    rule = step.piece.per_batch
    return bool(rule(step.settings)) if callable(rule) else rule
