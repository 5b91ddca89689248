"""What encoders, miners, adapters, fusions and projectors promise, checked as the frame runs them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from affectkit.blocks import Block, TokenBlock
from affectkit.errors import InputError
from affectkit.pieces import Piece, Shape
from affectkit.sample import Fact
from affectkit.steps import Steps, choice
from affectkit.testing_gradients import gradients, trainable
from affectkit.testing_inputs import ROWS, full, one_row, ragged, spoiled
from affectkit.testing_light import LLM, port_shapes
from affectkit.testing_priors import PROMISES as PRIORS
from affectkit.wiring import Graph, Ref, Step

NEAR = 1e-5
"""How far apart equal values may be, as a fraction of the largest value (of 1 where that is less)."""
Out = Mapping[str, TokenBlock]


class Bench:
    """A step of that piece in eval mode, with parameters shaken so that gates which start at zero are open."""

    def __init__(self, piece: Piece, settings: Any, inputs: Mapping[str, Shape], idle: Mapping[str, str]) -> None:
        self.piece, self.settings, self.idle, self.given = piece, settings, idle, inputs
        self.inputs = port_shapes(piece, settings, inputs)
        self.module, self.steps, self.told = self._built(self.inputs)
        self.full = full(piece, settings, self.inputs)
        self.ragged = ragged(piece, settings, self.inputs)
        self.step = self.steps.graph.steps["stream.step"]

    def _built(self, inputs: Mapping[str, Shape]) -> tuple[nn.Module, Steps, dict[str, Shape]]:
        assert self.piece.shapes is not None
        told = dict(self.piece.shapes(self.settings, inputs, LLM))
        torch.manual_seed(0)
        module = self.piece.build(self.settings, inputs, LLM)
        if not isinstance(module, nn.Module):
            raise TypeError(f"build returned {type(module).__name__}, not an nn.Module")
        shake(module)
        refs = {port: Ref(view=port) for port in inputs}
        step = Step("stream.step", self.piece, self.settings, refs, inputs, told, "none")
        return module.eval(), Steps(Graph(steps={step.address: step}), {step.address: module}), told

    def without(self, ports: tuple[str, ...]) -> tuple[Steps, dict[str, Shape]]:
        """The step built where nothing fills these ports."""
        _, steps, told = self._built({p: s for p, s in self.inputs.items() if p not in ports})
        return steps, told

    def run(self, blocks: Mapping[str, Block], steps: Steps | None = None) -> Out:
        """What the frame would get."""
        with torch.no_grad():
            return self.graph_run(blocks, steps)

    def graph_run(self, blocks: Mapping[str, Block], steps: Steps | None = None) -> Out:
        """The same, with gradients."""
        steps = steps or self.steps
        return steps.run_step(steps.graph.steps["stream.step"], dict(blocks))


def shake(module: nn.Module) -> None:
    """Add a little noise to every trainable parameter."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))


def real(block: TokenBlock, row: int) -> Tensor:
    """The real tokens of one row in order, [any d]."""
    return block.tokens[row][block.mask[row]]


def apart(one: Out, two: Out, row: int, other: int | None = None) -> Iterator[str]:
    """How the real tokens of a row differ between two results (row `other` in the second)."""
    for name in one:
        first, second = real(one[name], row), real(two[name], row if other is None else other)
        if first.shape != second.shape:
            yield f"block {name!r}, row {row}: {len(first)} tokens against {len(second)}"
        elif len(first):
            far = float((first - second).abs().max())
            most = NEAR * max(1.0, float(second.abs().max()))
            if not far <= most:
                yield f"block {name!r}, row {row}: values differ by {far:.3g} (at most {most:.3g})"


def announced(bench: Bench) -> Iterator[str]:
    """Blocks, order, widths and counts are those of `shapes`."""
    for blocks in (bench.full, bench.ragged):
        found = list(_as_told(bench.run(blocks), bench.told, ROWS))
        yield from found
        if found:
            return


def _as_told(out: Out, told: Mapping[str, Shape], rows: int) -> Iterator[str]:
    if list(out) != list(told):
        yield f"it puts out {', '.join(out)}; `shapes` announced {', '.join(told)}"
        return
    for name, shape in told.items():
        block = out[name]
        if not isinstance(block, TokenBlock) or block.tokens.dim() != 4 or not block.tokens.is_floating_point():
            yield f"block {name!r} is no TokenBlock with floating tokens [b t n d]"
            continue
        b, t, n, d = block.tokens.shape
        if block.mask.shape != (b, t, n) or block.mask.dtype != torch.bool:
            yield f"block {name!r}: its mask is {tuple(block.mask.shape)} {block.mask.dtype}, its tokens {(b, t, n, d)}"
        if block.name != name:
            yield f"block {name!r} is called {block.name!r} inside"
        if b != rows:
            yield f"block {name!r} has {b} rows of {rows}"
        if shape.width not in (None, d):
            yield f"block {name!r} is {d} wide; `shapes` announced {shape.width}"
        for what, count, most in (("time steps", t, shape.time), ("tokens a time step", n, shape.tokens)):
            if most is not None and count > most:
                yield f"block {name!r} has {count} {what}; `shapes` announced at most {most}"


def unknown(bench: Bench) -> Iterator[str]:
    """`shapes` works where what comes before is known only when built."""
    assert bench.piece.shapes is not None
    blank = {p: replace(s, time=None, tokens=None, width=None) for p, s in bench.inputs.items()}
    try:
        found = bench.piece.shapes(bench.settings, blank, None)
    except InputError as error:
        yield f"with unknown counts and widths it raised {error}"
        return
    if list(found) != list(bench.told):
        yield f"with unknown counts and widths it announced {', '.join(found)} instead of {', '.join(bench.told)}"


def ports(bench: Bench) -> Iterator[str]:
    """forward names the ports as its parameters."""
    named = [p.name for p in bench.piece.ports]
    found = list(inspect.signature(bench.module.forward).parameters)
    if found != named:
        yield f"forward takes {', '.join(found)}; the ports are {', '.join(named)}"


def padding(bench: Bench) -> Iterator[str]:
    """What lies under the masks changes nothing."""
    clean, spoiled_out = bench.run(bench.ragged), bench.run(spoiled(bench.ragged))
    for row in range(ROWS):
        found = apart(spoiled_out, clean, row)
        yield from (f"{w} with junk under the masks: hide it before anything mixes tokens or frames" for w in found)


def zeros(bench: Bench) -> Iterator[str]:
    """Masked outputs are zero."""
    for name, block in bench.run(spoiled(bench.ragged)).items():
        left = block.tokens[~block.mask]
        if left.numel() and bool((left != 0).any()):
            yield f"block {name!r}: masked tokens hold values up to {float(left.abs().max()):.3g}"


def finite(bench: Bench) -> Iterator[str]:
    """No NaN and no infinity, empty frames or not."""
    for name, block in bench.run(bench.ragged).items():
        rows = [r for r in range(ROWS) if not bool(block.tokens[r].isfinite().all())]
        if rows:
            told = "; row 2 has an empty frame inside" if 2 in rows else ""
            yield f"block {name!r} is not finite in row {', '.join(map(str, rows))}{told}"


def alone(bench: Bench) -> Iterator[str]:
    """A row by itself gives what it gives in a batch, unless the piece says that it looks at its neighbours."""
    if choice(bench.piece.per_batch, bench.settings):
        return
    both = bench.run(bench.ragged)
    pads = choice(bench.piece.pads, bench.settings)
    for row in range(ROWS):
        found = apart(both, bench.run(one_row(bench.ragged, row)), row, 0)
        yield from (f"{w} alone and in a batch of {ROWS}{' (and `pads` is true)' if pads else ''}" for w in found)
    others = {p: _rolled(b) for p, b in bench.ragged.items()}
    yield from (f"{w} beside rows in another order" for w in apart(both, bench.run(others), 0, 1))


def _rolled(block: Block) -> Block:
    order = torch.tensor([3, 0, 1, 2])
    if isinstance(block, TokenBlock):
        return replace(block, tokens=block.tokens[order], mask=block.mask[order])
    boxes = None if block.boxes is None else block.boxes[order]
    return replace(block, values=block.values[order], mask=block.mask[order], boxes=boxes)


def repeats(bench: Bench) -> Iterator[str]:
    """Eval mode gives the same twice, and leaves the state as it was."""
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


def absent(bench: Bench) -> Iterator[str]:
    """Each optional port may be unfilled, alone and together with the others; refusing is an InputError of `shapes`."""
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
        for what in (*_as_told(bench.run(kept, steps), told, ROWS), *_not_finite(bench.run(kept, steps))):
            yield f"without {', '.join(left_out)}: {what}"


def _not_finite(out: Out) -> Iterator[str]:
    for name, block in out.items():
        if not bool(block.tokens.isfinite().all()):
            yield f"block {name!r} is not finite"


def facts(bench: Bench) -> Iterator[str]:
    """A step that estimates facts gives a dict of them for each row, none called a label, and those that its piece tells."""
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


def objective(bench: Bench) -> Iterator[str]:
    """A module has a loss of its own exactly where its piece says so."""
    if hasattr(bench.module, "loss") != bench.piece.objective:
        has = "has" if hasattr(bench.module, "loss") else "has no"
        yield f"the module {has} `loss`; the piece says objective={bench.piece.objective}"


PROMISES = {
    "forward takes one argument a port, named like it": ports,
    "`shapes` announces what the built module puts out": announced,
    "`shapes` works before anything is known": unknown,
    "no NaN, also where frames are empty": finite,
    "padding never leaks": padding,
    "masked outputs are zero": zeros,
    "a row does not depend on the others in its batch": alone,
    "eval mode repeats": repeats,
    "optional ports may be left out": absent,
    "facts are estimates, and those that the piece tells": facts,
    "a loss is there where the piece says so": objective,
    **PRIORS,
    "gradients are finite and not zero, and reach every port": gradients,
    "every trainable parameter gets a gradient": trainable,
}
