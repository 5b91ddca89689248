"""The promises of encoders, miners, adapters, fusions and projectors, checked as the frame runs them."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from affectkit.blocks import TokenBlock
from affectkit.encode.faults import wrong_block
from affectkit.encode.steps import choice, rows_of
from affectkit.errors import InputError
from affectkit.pieces import STEP_KINDS, Shape
from affectkit.sample import Fact
from affectkit.testing.bench import Out, StepBench, apart, fit
from affectkit.testing.inputs import ROWS, one_row, spoiled
from affectkit.testing.light import LLM

NO_FORCE = ("*key.bias", "*k_proj.bias", "*.k.bias")
"""Parameters whose gradient is zero by arithmetic: softmax does not feel what is added to every key."""

DRAWS = 4
"""How often what training draws at random (dropout, layers left out) is drawn anew."""


def trainable(bench: StepBench) -> Iterator[str]:
    """Every trainable parameter gets a gradient: in training mode, whatever is drawn at random."""
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


def gradients(bench: StepBench) -> Iterator[str]:
    """Gradients are finite and not zero, and reach every port: where parameters have any, see `trainable`."""
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


BLOCKS = ("global", "local", "valid")
"""A step that puts these out is a source of facial priors: tokens of the whole face, tokens of its parts, and where there
is a face. `landmarks` may stand beside them."""


def contract(bench: StepBench) -> Iterator[str]:
    """Facial priors keep their contract: tokens in exactly the frames with a face, `valid` 1 there, facts with a probability."""
    if not set(BLOCKS) <= bench.announced.keys():
        return
    faces = next(iter(bench.ragged.values())).mask
    out = bench.run(bench.ragged)
    given = [name for name in (*BLOCKS, "landmarks") if name in out]
    for name in given:
        yield from _where(name, out[name], faces)
    yield from _valid(out["valid"])
    if "landmarks" in out:
        yield from _points(out["landmarks"])
    ask = getattr(bench.module, "facts", None)
    for row in ask(out) if ask else ():
        for name, fact in row.items():
            sure = fact.probability
            if sure is not None and not 0 <= sure <= 1:
                yield f"fact {name!r} has the probability {sure}"
            if fact.origin == "estimate" and isinstance(fact.value, str) and sure is None:
                yield f"fact {name!r} is a word without a probability: a prompt could not leave out what is unsure"


def _where(name: str, block: TokenBlock, faces: Tensor) -> Iterator[str]:
    """Every token in the frames that show a face, none in the others."""
    b, t, n = block.mask.shape
    if faces.shape != (b, t):
        yield f"block {name!r} has {t} time steps where there are {faces.shape[1]} crops"
    elif not torch.equal(block.mask, faces[:, :, None].expand(b, t, n)):
        yield f"block {name!r} is not whole in the frames with a face and empty in the others"


def _valid(block: TokenBlock) -> Iterator[str]:
    if block.tokens.shape[2:] != (1, 1):
        yield f"block 'valid' has {block.tokens.shape[2]} tokens of width {block.tokens.shape[3]}, not one of width 1"
    elif not torch.equal(block.tokens[..., 0] != 0, block.mask) or bool((block.tokens[block.mask] != 1).any()):
        yield "block 'valid' is not 1 where there is a face and 0 elsewhere"


def _points(block: TokenBlock) -> Iterator[str]:
    if block.tokens.shape[3] != 2:
        yield f"block 'landmarks' has {block.tokens.shape[3]} numbers a point, not x and y"


def announced(bench: StepBench) -> Iterator[str]:
    """`shapes` announces what the built module puts out: blocks in order, with their widths and counts."""
    for blocks in (bench.full, bench.ragged):
        found = list(_as_announced(bench.run(blocks), bench.announced, ROWS))
        yield from found
        if found:
            return


def _as_announced(out: Out, told: Mapping[str, Shape], rows: int) -> Iterator[str]:
    if list(out) != list(told):
        yield f"it puts out {', '.join(out)}; `shapes` announced {', '.join(told)}"
        return
    for name, shape in told.items():
        yield from wrong_block(name, out[name], shape, rows)
        if isinstance(out[name], TokenBlock) and out[name].name != name:
            yield f"block {name!r} is called {out[name].name!r} inside"


def unknown(bench: StepBench) -> Iterator[str]:
    """`shapes` works before anything is known: where counts and widths of the inputs come to light only when built."""
    assert bench.piece.shapes is not None
    blank = {p: replace(s, time=None, tokens=None, width=None) for p, s in bench.inputs.items()}
    try:
        found = bench.piece.shapes(bench.settings, blank, None)
    except InputError as error:
        yield f"with unknown counts and widths it raised {error}"
        return
    if list(found) != list(bench.announced):
        yield f"with unknown counts and widths it announced {', '.join(found)} instead of {', '.join(bench.announced)}"


def ports(bench: StepBench) -> Iterator[str]:
    """Forward takes one argument a port, named like it."""
    named = [p.name for p in bench.piece.ports]
    found = list(inspect.signature(bench.module.forward).parameters)
    if found != named:
        yield f"forward takes {', '.join(found)}; the ports are {', '.join(named)}"


def padding(bench: StepBench) -> Iterator[str]:
    """Padding never leaks: what lies under the masks changes nothing."""
    clean, spoiled_out = bench.run(bench.ragged), bench.run(spoiled(bench.ragged))
    for row in range(ROWS):
        found = apart(spoiled_out, clean, row)
        yield from (f"{w} with junk under the masks: hide it before anything mixes tokens or frames" for w in found)


def zeros(bench: StepBench) -> Iterator[str]:
    """Masked outputs are zero."""
    for name, block in bench.run(spoiled(bench.ragged)).items():
        left = block.tokens[~block.mask]
        if left.numel() and bool((left != 0).any()):
            yield f"block {name!r}: masked tokens hold values up to {float(left.abs().max()):.3g}"


def finite(bench: StepBench) -> Iterator[str]:
    """No NaN, also where frames are empty: and no infinity."""
    yield from _not_finite(bench.run(bench.ragged))


def _not_finite(out: Out) -> Iterator[str]:
    for name, block in out.items():
        rows = [r for r in range(ROWS) if not bool(block.tokens[r].isfinite().all())]
        if rows:
            told = "; row 2 has an empty frame inside" if 2 in rows else ""
            yield f"block {name!r} is not finite in row {', '.join(map(str, rows))}{told}"


def alone(bench: StepBench) -> Iterator[str]:
    """A row does not depend on the others in its batch: unless the piece says so with `per_batch`."""
    if choice(bench.piece.per_batch, bench.settings):
        return
    both = bench.run(bench.ragged)
    pads = choice(bench.piece.pads, bench.settings)
    for row in range(ROWS):
        found = apart(both, bench.run(one_row(bench.ragged, row)), row, 0)
        yield from (f"{w} alone and in a batch of {ROWS}{' (and `pads` is true)' if pads else ''}" for w in found)
    others = {p: rows_of(b, torch.tensor([3, 0, 1, 2])) for p, b in bench.ragged.items()}
    yield from (f"{w} beside rows in another order" for w in apart(both, bench.run(others), 0, 1))


def repeats(bench: StepBench) -> Iterator[str]:
    """Eval mode repeats: the same output twice, and the state as it was."""
    before = {n: v.clone() for n, v in bench.module.state_dict().items()}
    one = bench.run(bench.ragged)
    two = bench.run(bench.ragged)
    for name in one:
        if not torch.equal(one[name].tokens, two[name].tokens):
            far = float((one[name].tokens - two[name].tokens).abs().max())
            yield f"block {name!r} differs by {far:.3g} the second time"
    for name, value in bench.module.state_dict().items():
        if not torch.equal(value, before[name]):
            yield f"running it in eval mode changed {name!r}"


def absent(bench: StepBench) -> Iterator[str]:
    """Optional ports may be left out: each alone and all together; `shapes` may refuse with an InputError."""
    optional = tuple(p.name for p in bench.piece.ports if p.optional and p.name in bench.inputs)
    tries = [(p,) for p in optional] + ([optional] if len(optional) > 1 else [])
    for left_out in tries:
        kept = {p: b for p, b in bench.ragged.items() if p not in left_out}
        if not kept:
            continue
        try:
            steps, told = bench.without(left_out)
        except InputError:
            continue
        for what in (*_as_announced(bench.run(kept, steps), told, ROWS), *_not_finite(bench.run(kept, steps))):
            yield f"without {', '.join(left_out)}: {what}"


def facts(bench: StepBench) -> Iterator[str]:
    """Facts are estimates, and those that the piece tells: a dict of them for each row, none of the origin `label`."""
    ask = getattr(bench.module, "facts", None)
    if ask is None:
        if bench.step.tells:
            yield f"the piece tells {', '.join(bench.step.tells)}, and the module has no `facts`"
        return
    found = list(ask(bench.run(bench.ragged)))
    if len(found) != ROWS or not all(isinstance(row, dict) for row in found):
        yield f"facts gives {len(found)} dicts for {ROWS} rows"
        return
    for row in found:
        for name, fact in row.items():
            if not isinstance(fact, Fact) or fact.origin == "label":
                yield f"fact {name!r} is {fact!r}: an estimate is a Fact with the origin `estimate` (or `missing`)"
                return
    named = {name for row in found for name in row}
    if named != set(bench.step.tells):
        yield f"facts gives {', '.join(sorted(named)) or 'none'}; the piece tells {', '.join(bench.step.tells) or 'none'}"


def objective(bench: StepBench) -> Iterator[str]:
    """A loss is there where the piece says so: and nowhere else."""
    if hasattr(bench.module, "loss") != bench.piece.objective:
        has = "has" if hasattr(bench.module, "loss") else "has no"
        yield f"the module {has} `loss`; the piece says objective={bench.piece.objective}"


def fits(bench: StepBench) -> Iterator[str]:
    """It learns by `fit` where the piece says so: from real tokens alone, the same each time, and `fitted` tells of it."""
    if hasattr(bench.module, "fit") != bench.piece.fits:
        has = "has" if hasattr(bench.module, "fit") else "has no"
        yield f"the module {has} `fit`; the piece says fits={bench.piece.fits}"
    if not (bench.piece.fits and hasattr(bench.module, "fit")):
        return
    states = []
    for given in (bench.ragged, bench.ragged, spoiled(bench.ragged)):
        module = bench.piece.build(bench.settings, bench.inputs, LLM)
        if "fitted" not in module.state_dict():
            yield "the module has no buffer `fitted`: nothing would tell whether weights are of a module that was fitted"
            return
        before = bool(module.fitted)
        fit(module, bench.piece, given)
        if before or not bool(module.fitted):
            yield f"`fitted` is {before} before `fit`, and {bool(module.fitted)} after it"
        states.append(module.state_dict())
    first = states[0]
    for state, why in ((states[1], "the same rows a second time"), (states[2], "junk under the masks")):
        odd = [name for name in first if not torch.equal(first[name], state[name])]
        yield from (f"{name!r} is another after `fit` with {why}" for name in odd)


PROMISES = (
    *(ports, announced, unknown, finite, padding, zeros, alone, repeats),
    *(absent, facts, objective, fits, contract, gradients, trainable),
)
KITS = dict.fromkeys(STEP_KINDS, (StepBench, PROMISES))
