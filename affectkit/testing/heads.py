"""The promises of heads, checked as the frame runs them: on a batch of rows of different lengths, each with a truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from affectkit.blocks import Block, TokenBlock
from affectkit.encode.faults import wrong_block, wrong_form
from affectkit.encode.steps import Steps, rows_of
from affectkit.heads import Answer, wants
from affectkit.pieces import Piece, Shape
from affectkit.plan.graph import Graph, Ref, Step
from affectkit.sample import LABEL, LABELS, NUMBERS, Fact, Sample, Targets
from affectkit.testing.bench import NEAR, shake
from affectkit.testing.inputs import ROWS, blocks, spoiled

TARGETS = Targets(("happy", "sad", "angry"), {"valence": (1.0, 5.0), "arousal": (-math.inf, math.inf)})
"""What the data that a head is tried on has."""


def truth(number: int) -> Sample:
    """A sample with all that a head may want to know."""
    label = TARGETS.labels[number % 3]
    return Sample(
        str(number), label=label, labels={label: 1.0, "sad": 1.0}, facts={"person": Fact(str(number // 2))},
        numbers={"valence": 1.0 + number % 4, "arousal": 0.5 * number - 1.0},
    )  # fmt: skip


class HeadBench:
    """A head of that piece in eval mode, with parameters shaken; one that learns by `fit` has learned."""

    def __init__(self, piece: Piece, settings: Any, inputs: Mapping[str, Shape], idle: Mapping[str, str]) -> None:
        self.piece, self.settings, self.idle = piece, settings, idle
        self.task = str(piece.answers(settings) if callable(piece.answers) else piece.answers)
        usual = {port.name: inputs.get(port.name, Shape(time=2, tokens=3, width=6)) for port in piece.ports}
        self.full, self.ragged = (blocks(piece, settings, usual, uneven) for uneven in (False, True))
        self.samples = [truth(i) for i in range(ROWS)]
        refs, many = {port: Ref(view=port) for port in usual}, {p.name for p in piece.ports if p.many}
        shapes = {port: (shape,) if port in many else shape for port, shape in usual.items()}
        announced = dict(piece.shapes(settings, usual, None)) if piece.shapes else {}
        self.step = Step("heads.head", piece, settings, refs, usual, announced, "none")
        torch.manual_seed(0)
        self.module = piece.build(settings, shapes, TARGETS)
        if not isinstance(self.module, nn.Module):
            raise TypeError(f"build returned {type(self.module).__name__}, not an nn.Module")
        self.steps = Steps(Graph(steps={self.step.address: self.step}), {self.step.address: self.module})
        if self.fits:
            self.fit(self.module)
        else:
            shake(self.module)
        self.module.eval()

    @property
    def fits(self) -> bool:
        """Whether it learns without a training loop."""
        return hasattr(self.module, "fit")

    def fit(self, module: Any) -> None:
        """Let it learn from rows that can be told apart, in several batches."""
        shift = torch.tensor([TARGETS.labels.index(str(s.label)) for s in self.samples], dtype=torch.float32)
        moved = {
            name: TokenBlock(name, block.tokens + 3 * shift[:, None, None, None], block.mask)
            for name, block in self.full.items()
            if isinstance(block, TokenBlock)
        }
        ports = {p.name: (moved[p.name],) if p.many else moved[p.name] for p in self.piece.ports}
        module.fit(lambda: [(ports, self.samples), (ports, [truth(i + ROWS) for i in range(ROWS)])])

    def run(self, given: Mapping[str, Block]) -> dict[str, TokenBlock]:
        """The outputs for a batch, as the frame runs it, without gradients."""
        with torch.no_grad():
            return self.steps.run_step(self.step, dict(given))

    def answers(self, given: Mapping[str, Block]) -> list[Answer]:
        """The answers to a batch."""
        found: list[Answer] = self.module.answers(self.run(given))
        return found


def task(bench: HeadBench) -> Iterator[str]:
    """It says what it answers: one of the tasks label, labels and numbers, by its record."""
    if bench.task not in (LABEL, LABELS, NUMBERS):
        yield f"`answers` of the piece says {bench.task!r}; a head answers {LABEL}, {LABELS} or {NUMBERS}"


def outputs(bench: HeadBench) -> Iterator[str]:
    """Its blocks are as announced, a row for each row."""
    out = bench.run(bench.ragged)
    yield from wrong_form(out)
    absent = [name for name in bench.step.shapes if name not in out]
    if absent:
        yield f"`shapes` announced {', '.join(absent)}, which it does not put out"
    for name, shape in bench.step.shapes.items():
        if name in out:
            yield from wrong_block(name, out[name], shape, ROWS)


def answers(bench: HeadBench) -> Iterator[str]:
    """An answer a row, of its own task: for every label or number of the data, finite."""
    found = bench.answers(bench.ragged)
    if len(found) != ROWS:
        yield f"{ROWS} rows gave {len(found)} answers"
    for row, one in enumerate(found):
        if not isinstance(one, Answer):
            yield f"row {row}: {one!r} is no affectkit.Answer"
            return
        yield from _answer(bench.task, row, one)


def _answer(asked: str, row: int, one: Answer) -> Iterator[str]:
    """What is wrong with an answer."""
    values = {LABEL: one.scores, LABELS: one.scores, NUMBERS: one.numbers}.get(asked, {})
    known = set(TARGETS.numbers) if asked == NUMBERS else set(TARGETS.labels)
    if not values or not set(values) <= known or (asked != NUMBERS and set(values) != known):
        yield f"row {row}: it answers {', '.join(values) or 'nothing'}; the data has {', '.join(sorted(known))}"
    if not all(isinstance(v, float) and math.isfinite(v) for v in values.values()):
        yield f"row {row}: {dict(values)} holds what is no finite float"
    if asked == LABELS and not all(0 <= v <= 1 for v in values.values()):
        yield f"row {row}: a probability is not from 0 to 1: {dict(values)}"
    if not set(one.labels) <= known or (one.labels and asked != LABELS):
        yield f"row {row}: it answers the labels {', '.join(one.labels)} in the task {asked}"


def masks(bench: HeadBench) -> Iterator[str]:
    """What lies under a mask does not matter, nor who stands beside a row, and a row without a token has no answer."""
    clean = bench.run(bench.ragged)
    for what, other in (("what lies under the masks", bench.run(spoiled(bench.ragged))),):
        for name, block in clean.items():
            yield from _apart(f"{what} changes block {name!r}", block, other[name])
    alone = [bench.run({n: rows_of(b, torch.tensor([row])) for n, b in bench.ragged.items()}) for row in range(ROWS)]
    for name, block in clean.items():
        for row, one in enumerate(alone):
            part = rows_of(block, torch.tensor([row]))
            assert isinstance(part, TokenBlock)
            yield from _apart(f"row {row} alone has another block {name!r}", part, one[name])
    empty = {n: TokenBlock(n, b.tokens, b.mask & False) for n, b in bench.ragged.items() if isinstance(b, TokenBlock)}
    said = [one for one in bench.module.answers(bench.run(empty)) if one.scores or one.numbers or one.labels]
    if said:
        yield f"rows without a token are answered {said[0]}"


def _apart(what: str, one: TokenBlock, two: TokenBlock) -> Iterator[str]:
    if one.tokens.shape != two.tokens.shape:
        yield f"{what}: {list(one.tokens.shape)} against {list(two.tokens.shape)}"
        return
    far = float((one.tokens - two.tokens).abs().max())
    if not far <= NEAR * max(1.0, float(one.tokens.abs().max())):
        yield f"{what} by {far:.3g}"


def loss(bench: HeadBench) -> Iterator[str]:
    """Its loss is a sum over the rows that have a truth, with their number: finite, and with gradients."""
    if bench.fits:
        return
    total, count = _loss(bench, bench.samples)
    if not isinstance(count, int) or count != sum(wants(bench.task, s) for s in bench.samples):
        yield f"{ROWS} rows with truths count {count!r}"
    if total.dim() or not bool(total.isfinite()):
        yield f"its loss is {total}, not one finite number"
        return
    bare = [*bench.samples[:2], *(Sample(s.id) for s in bench.samples[2:])]
    some, fewer = _loss(bench, bare)
    if fewer != 2:
        yield f"two of {ROWS} rows have a truth, and {fewer} are counted"
    if not bool(some.isfinite()):
        yield "its loss is not finite where some rows have no truth"
    none, count = _loss(bench, [Sample(s.id) for s in bench.samples])
    if count or float(none.detach()):
        yield f"without any truth its loss is {float(none.detach())} over {count} rows"
    total.backward()
    still = [n for n, p in bench.module.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    still = [name for name in still if name not in bench.idle]
    if still:
        yield f"its loss gives {', '.join(still[:4])} no gradient"
    bench.module.zero_grad()


def _loss(bench: HeadBench, samples: Sequence[Sample]) -> Any:
    return bench.module.loss(bench.steps.run_step(bench.step, dict(bench.ragged)), samples)


def fit(bench: HeadBench) -> Iterator[str]:
    """What it learns by `fit` is the same each time, and lies in its parameters and buffers."""
    if not bench.fits:
        if not hasattr(bench.module, "loss"):
            yield "it has neither `loss` nor `fit`: it cannot learn"
        return
    fixed = {
        port: (s,) if p.many else s for p in bench.piece.ports for port, s in bench.step.eats.items() if port == p.name
    }
    again = bench.piece.build(bench.settings, fixed, TARGETS)
    bench.fit(again)
    mine, other = bench.module.state_dict(), again.state_dict()
    if any(not torch.equal(mine[name], other[name]) for name in mine):
        yield "the same samples give other weights the second time"
    third = bench.piece.build(bench.settings, fixed, TARGETS)
    third.load_state_dict(mine)
    ports = {p.name: (bench.full[p.name],) if p.many else bench.full[p.name] for p in bench.piece.ports}
    with torch.no_grad():
        if third.eval().answers(third(**ports)) != bench.module.answers(bench.module(**ports)):
            yield "loaded from its state_dict it answers otherwise: something that it learned is not in there"


KITS = {"head": (HeadBench, (task, outputs, answers, masks, loss, fit))}
