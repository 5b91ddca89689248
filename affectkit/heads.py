"""Which steps are heads: frozen, deterministic, at the start of a stream. They run once a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from affectkit.plan import Plan
from affectkit.steps import Steps, choice


@dataclass
class Demand:
    """What the rest of a model wants of each sample: blocks of heads, views as an encoder prepared them."""

    heads: list[str] = field(default_factory=list)
    """Steps that run in `perceive`, in order."""
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Those of them whose blocks or facts somebody downstream reads, with the blocks that are read."""
    ports: list[str] = field(default_factory=list)
    """`address:port` of views that steps outside the heads eat."""


def demand(
    plan: Plan,
    steps: Steps,
    running: Sequence[str],
    trains: Sequence[str],
    reads: Sequence[str],
    ends: Sequence[str],
) -> Demand:
    """Which of the `running` steps are heads while `trains` train; `reads` and `ends` name steps whose facts or
    blocks are wanted. A step without parameters is frozen whatever a glob says."""
    graph = plan.graph
    text = {n for n, v in graph.views.items() if v.shape.kind == "text" and v.use == "question"}
    heads: list[str] = []
    for address in running:
        step = graph.steps[address]
        fixed = address not in trains or not any(True for _ in steps.module(address).parameters())
        frozen = fixed and step.cache != "none" and not choice(step.piece.per_batch, step.settings)
        if frozen and all(r.view not in text if r.view else r.step in heads for r in step.inputs.values()):
            heads.append(address)
    rest = [a for a in running if a not in heads]
    eaten = {(r.step, r.block) for a in rest for r in graph.steps[a].inputs.values() if r.step}
    eaten |= {(a, graph.steps[a].main) for a in ends}
    blocks = {a: tuple(sorted(b for s, b in eaten if s == a)) for a in heads}
    kept = {a: blocks[a] for a in heads if blocks[a] or a in reads}
    ports = [f"{a}:{p}" for a in rest for p, r in graph.steps[a].inputs.items() if r.view and r.view not in text]
    return Demand(heads, kept, ports)


def weights_digest(module: nn.Module) -> str:
    """A name for the values of every parameter and buffer."""
    total = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        total.update(name.encode())
        total.update(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        )
    return total.hexdigest()
