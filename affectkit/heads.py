"""The heads of a built model, and names for the weights that they ran with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import nn

from affectkit.demands import Demand, demand_of
from affectkit.plan import Plan
from affectkit.steps import Steps

__all__ = ["Demand", "demand", "weights_digest"]


def demand(
    plan: Plan,
    steps: Steps,
    running: Sequence[str],
    trains: Sequence[str],
    reads: Sequence[str],
    ends: Sequence[str],
) -> Demand:
    """What is wanted of the `running` steps while `trains` train. A step without parameters is frozen whatever a glob
    says."""
    changing = [a for a in trains if a in plan.graph.steps and any(True for _ in steps.module(a).parameters())]
    return demand_of(plan.graph, running, changing, reads, ends)


def weights_digest(module: nn.Module) -> str:
    """A name for the values of every parameter and buffer."""
    total = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        total.update(name.encode())
        total.update(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        )
    return total.hexdigest()
