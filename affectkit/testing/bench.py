"""A step under test, built from its piece with perturbed parameters, and the distance between two of its outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from affectkit.blocks import Block, TokenBlock
from affectkit.encode.faults import wrong_form
from affectkit.encode.steps import Steps, by_port, rows_of
from affectkit.pieces import Piece, Shape
from affectkit.plan.graph import Graph, Ref, Step
from affectkit.sample import Sample
from affectkit.testing.inputs import ROWS, blocks
from affectkit.testing.light import LLM, port_shapes

NEAR = 1e-5
"""How far apart equal values may be, as a fraction of the largest value (of 1 where that is less)."""

Out = Mapping[str, TokenBlock]


class Unchecked(Steps):
    """Steps whose output is taken as it comes: each promise says what is wrong with it."""

    def _call(self, step: Step, inputs: dict[str, Block]) -> dict[str, TokenBlock]:
        out = self._forward(step, inputs)
        wrong = list(wrong_form(out))
        if wrong:
            raise TypeError(wrong[0])
        return out


class StepBench:
    """A step of that piece in eval mode, with parameters shaken so that gates which start at zero are open."""

    def __init__(self, piece: Piece, settings: Any, inputs: Mapping[str, Shape], idle: Mapping[str, str]) -> None:
        self.piece, self.settings, self.idle, self.given = piece, settings, idle, inputs
        self.inputs = port_shapes(piece, settings, inputs)
        self.module, self.steps, self.announced = self._built(self.inputs)
        self.full, self.ragged = (blocks(piece, settings, self.inputs, uneven) for uneven in (False, True))
        self.step = self.steps.graph.steps["stream.step"]

    def _built(self, inputs: Mapping[str, Shape]) -> tuple[nn.Module, Steps, dict[str, Shape]]:
        assert self.piece.shapes is not None
        told = dict(self.piece.shapes(self.settings, inputs, LLM))
        torch.manual_seed(0)
        module = self.piece.build(self.settings, inputs, LLM)
        if not isinstance(module, nn.Module):
            raise TypeError(f"build returned {type(module).__name__}, not an nn.Module")
        shake(module)
        if self.piece.fits:
            fit(module, self.piece, blocks(self.piece, self.settings, inputs, False))
        refs = {port: Ref(view=port) for port in inputs}
        step = Step("stream.step", self.piece, self.settings, refs, inputs, told, "none")
        return module.eval(), Unchecked(Graph(steps={step.address: step}), {step.address: module}), told

    def without(self, ports: tuple[str, ...]) -> tuple[Steps, dict[str, Shape]]:
        """The step built where nothing fills these ports."""
        _, steps, told = self._built({p: s for p, s in self.inputs.items() if p not in ports})
        return steps, told

    def run(self, blocks: Mapping[str, Block], steps: Steps | None = None) -> Out:
        """The blocks that the frame would get, without gradients."""
        with torch.no_grad():
            return self.graph_run(blocks, steps)

    def graph_run(self, blocks: Mapping[str, Block], steps: Steps | None = None) -> Out:
        """The same, with gradients."""
        steps = steps or self.steps
        return steps.run_step(steps.graph.steps["stream.step"], dict(blocks))


def fit(module: Any, piece: Piece, given: Mapping[str, Block]) -> None:
    """Let a step that learns from training samples see these rows, in two batches."""
    halves = [{p: rows_of(b, rows) for p, b in given.items()} for rows in torch.arange(ROWS).chunk(2)]
    samples = [Sample(f"row {i}") for i in range(len(next(iter(halves[0].values())).mask))]
    with torch.no_grad():
        module.fit(lambda: [(by_port(piece, half), samples) for half in halves])


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
    """The differences between the real tokens of a row in two results (row `other` in the second)."""
    for name in one:
        first, second = real(one[name], row), real(two[name], row if other is None else other)
        if first.shape != second.shape:
            yield f"block {name!r}, row {row}: {len(first)} tokens against {len(second)}"
        elif len(first):
            far = float((first - second).abs().max())
            most = NEAR * max(1.0, float(second.abs().max()))
            if not far <= most:
                yield f"block {name!r}, row {row}: values differ by {far:.3g} (at most {most:.3g})"
