"""What steps promise of gradients: they reach the ports, and everything that may train."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from affectkit.blocks import TokenBlock

if TYPE_CHECKING:
    from affectkit.testing_steps import Bench

NO_FORCE = ("*key.bias", "*k_proj.bias", "*.k.bias")
"""Parameters whose gradient is zero by arithmetic: softmax does not feel what is added to every key."""
DRAWS = 4
"""How often what training draws at random (dropout, layers left out) is drawn anew."""


def trainable(bench: Bench) -> Iterator[str]:
    """In training mode every parameter that may train gets a gradient from the blocks, whatever is drawn."""
    trained = {n: p for n, p in bench.module.named_parameters() if p.requires_grad}
    missing: dict[str, None] = {}
    bench.module.train()
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        bench.module.zero_grad()
        total = _weighed(bench.graph_run(bench.full))
        if total.requires_grad:
            total.backward()
        missing.update(dict.fromkeys(n for n, p in trained.items() if p.grad is None))
    bench.module.zero_grad()
    bench.module.eval()
    if missing:
        named = ", ".join([*missing][:4]) + (", …" if len(missing) > 4 else "")
        yield (
            f"{len(missing)} of {len(trained)} trainable parameters get no gradient: {named}. Freeze what these settings "
            "do not use, with requires_grad_(False) in `build`: optimisers keep room for it and DDP waits for it"
        )


def _weighed(out: Mapping[str, TokenBlock]) -> Tensor:
    """One number that depends on every value of every block."""
    generator = torch.Generator().manual_seed(2)
    parts = [(b.tokens * torch.randn(b.tokens.shape, generator=generator)).sum() for b in out.values()]
    return torch.stack(parts).sum()


def gradients(bench: Bench) -> Iterator[str]:
    """Gradients that are there are finite and not zero; every block of tokens that goes in gets one."""
    leaves: dict[str, Tensor] = {}
    blocks = dict(bench.ragged)
    for port, block in blocks.items():
        if isinstance(block, TokenBlock):
            leaves[port] = block.tokens.clone().requires_grad_()
            blocks[port] = replace(block, tokens=leaves[port])
    bench.module.zero_grad()
    total = _weighed(bench.graph_run(blocks))
    trained = {n: p for n, p in bench.module.named_parameters() if p.requires_grad}
    if not total.requires_grad:
        if trained or leaves:
            yield f"its blocks have no gradient at all ({len(trained)} trainable parameters, {len(leaves)} token ports)"
        return
    total.backward()
    pulls = {n: p.grad for n, p in trained.items() if p.grad is not None}  # `trainable` says where there is none
    for name, pull in pulls.items():
        excused = any(fnmatch.fnmatchcase(name, pattern) for pattern in (*NO_FORCE, *bench.idle))
        yield from _pulled(f"parameter {name!r}", pull, excused)
    for pattern in bench.idle:
        if all(bool((pull != 0).any()) for n, pull in pulls.items() if fnmatch.fnmatchcase(n, pattern)):
            yield f"the pattern {pattern!r} of idle parameters excuses none"
    for port, leaf in leaves.items():
        yield from _pulled(f"port {port!r}", leaf.grad, False)
    bench.module.zero_grad()


def _pulled(what: str, grad: Tensor | None, excused: bool) -> Iterator[str]:
    if grad is not None and not bool(grad.isfinite().all()):
        yield f"{what} gets a gradient that is not finite"
    elif not excused and (grad is None or not bool((grad != 0).any())):
        yield f"{what} gets {'no gradient' if grad is None else 'a gradient of zero'}"
