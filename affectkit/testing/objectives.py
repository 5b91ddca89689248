"""The promises of objectives, checked as the frame runs them: on rows of different lengths, of which one is empty and one has
no truth, with made-up heads and word embeddings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from affectkit.blocks import TokenBlock
from affectkit.encode.steps import by_port, rows_of
from affectkit.errors import InputError
from affectkit.objectives import HeadOutputs, ModelOutputs
from affectkit.pieces import NamesHeads, Piece, Shape
from affectkit.recipe.settings import type_hints
from affectkit.sample import Sample
from affectkit.testing.bench import NEAR, shake
from affectkit.testing.heads import OTHERS, TARGETS, of_others, truth
from affectkit.testing.inputs import ROWS, blocks, spoiled
from affectkit.testing.light import LLM, USUAL, port_shapes

EMPTY, BARE = 2, 3
"""The row without tokens, and the one without a truth."""


def words(texts: Sequence[str]) -> Tensor:
    """Embeddings [k w] that are the same for the same text."""
    seeds = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") for text in texts]
    return torch.stack([torch.randn(LLM, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


class ObjectiveBench:
    """An objective of that piece in eval mode, with parameters shaken."""

    def __init__(self, piece: Piece, settings: Any, inputs: Mapping[str, Shape], idle: Mapping[str, str]) -> None:
        self.piece, self.settings, self.idle = piece, settings, idle
        shapes = fitting_shapes(piece, settings, inputs)
        self.shapes = by_port(piece, shapes)
        torch.manual_seed(0)
        self.module: Any = piece.build(settings, self.shapes, TARGETS)
        if not isinstance(self.module, nn.Module) or not hasattr(self.module, "count"):
            raise TypeError(f"build returned {type(self.module).__name__}, not an nn.Module with `count`")
        shake(self.module.eval())
        made = {name: b for name, b in blocks(piece, settings, shapes, True).items() if isinstance(b, TokenBlock)}
        there = torch.tensor([row != EMPTY for row in range(ROWS)])[:, None, None]
        self.blocks = {name: TokenBlock(name, b.tokens, b.mask & there) for name, b in made.items()}
        names = settings.heads() if isinstance(settings, NamesHeads) else ()
        drawn = torch.Generator().manual_seed(5)
        self.heads = {
            name: TokenBlock("scores", torch.randn(ROWS, 1, 1, 3, generator=drawn), there.clone()) for name in names
        }
        self.samples = [Sample(str(row)) if row == BARE else truth(row) for row in range(ROWS)]

    def rows(self, *rows: int) -> tuple[dict[str, TokenBlock], dict[str, TokenBlock], list[Sample]]:
        """Some rows: blocks by port, scores of heads, samples."""
        chosen = torch.tensor(rows)
        cut = ({n: rows_of(b, chosen) for n, b in made.items()} for made in (self.blocks, self.heads))
        own, heads = cut
        return own, heads, [self.samples[row] for row in rows]  # type: ignore[return-value]

    def count(self, *rows: int) -> Any:
        """What it counts for some rows."""
        own, heads, samples = self.rows(*rows)
        there = {name: block.there.tolist() for name, block in own.items()}
        learns = {
            f"heads.{name}": [seen and s.label is not None for seen, s in zip(b.there.tolist(), samples, strict=True)]
            for name, b in heads.items()
        }
        return self.module.count(samples, {**there, **learns})

    def loss(
        self, given: tuple[Mapping[str, TokenBlock], Mapping[str, TokenBlock], list[Sample]], module: Any = None
    ) -> Tensor:
        """Its sum for some rows."""
        own, heads, samples = given
        outputs = ModelOutputs(words, {name: _head(block) for name, block in heads.items()})
        total: Tensor = (module or self.module)(by_port(self.piece, own), samples, outputs)
        return total


def _head(scores: TokenBlock) -> HeadOutputs:
    """A head that chooses a label."""

    def loss(samples: Sequence[Sample]) -> tuple[Tensor, int]:
        rows = [i for i, s in enumerate(samples) if s.label is not None and bool(scores.there[i])]
        wanted = torch.tensor([TARGETS.labels.index(str(samples[i].label)) for i in rows], dtype=torch.long)
        return nn.functional.cross_entropy(scores.tokens[rows, 0, 0], wanted, reduction="sum"), len(rows)

    return HeadOutputs({"scores": scores}, loss)


def fitting_shapes(piece: Piece, settings: Any, given: Mapping[str, Shape]) -> dict[str, Shape]:
    """A shape for each port: of different widths where the objective takes them, else of one, else of the LLM's."""
    found = port_shapes(piece, settings, given)
    try:
        assert piece.shapes is not None
        piece.shapes(settings, found, LLM)
    except InputError:
        return {name: given.get(name, replace(USUAL["tokens"], width=LLM)) for name in found}
    return found


def record(bench: ObjectiveBench) -> Iterator[str]:
    """Its ports eat tokens, and none of its settings is called `weight`: that is the recipe's."""
    yield from (f"the port {p.name!r} eats {p.eats}" for p in bench.piece.ports if p.eats != "tokens")
    if "weight" in {*type_hints(bench.piece.settings), *(p.name for p in bench.piece.ports)}:
        yield "a setting or port is called `weight`"


def counts(bench: ObjectiveBench) -> Iterator[str]:
    """It counts before anything has run: a whole number, none of rows in which there is nothing."""
    found = bench.count(*range(ROWS))
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        yield f"{ROWS} rows, of which {ROWS - 2} have all, count {found!r}"
    if bench.count(EMPTY):
        yield f"a row without a token counts {bench.count(EMPTY)}"


def sums(bench: ObjectiveBench) -> Iterator[str]:
    """Its loss is a finite sum over what it counts: that of a batch is that of its rows, each alone (unless the piece says
    `per_batch`), and 0 where nothing counts."""
    total = bench.loss(bench.rows(*range(ROWS)))
    if not isinstance(total, Tensor) or total.dim() or not bool(total.isfinite()):
        yield f"its loss is {total}, not one finite number"
        return
    nothing = float(bench.loss(bench.rows(EMPTY)).detach())
    if nothing:
        yield f"a row without a token costs {nothing:.3g}"
    if bench.piece.per_batch is True or (callable(bench.piece.per_batch) and bench.piece.per_batch(bench.settings)):
        return
    alone = sum(float(bench.loss(bench.rows(row)).detach()) for row in range(ROWS))
    if not abs(alone - float(total.detach())) <= 10 * NEAR * max(1.0, abs(alone)):
        yield f"{ROWS} rows cost {float(total.detach()):.5g} together and {alone:.5g} one by one"
    each = [bench.count(row) for row in range(ROWS)]
    if sum(each) != bench.count(*range(ROWS)):
        yield f"{ROWS} rows count {bench.count(*range(ROWS))} together and {sum(each)} one by one"
    for row, number in enumerate(each):
        cost = float(bench.loss(bench.rows(row)).detach())
        if bool(number) != bool(cost):
            yield f"row {row} counts {number} and costs {cost:.3g}"


def other_data(bench: ObjectiveBench) -> Iterator[str]:
    """It fits to its data: also where that has other labels, and more of them."""
    own, heads, samples = bench.rows(*range(ROWS))
    if heads:  # what it looks at fits already
        return
    others = [s if s.label is None else of_others(s, i) for i, s in enumerate(samples)]
    try:
        found = bench.loss((own, heads, others), bench.piece.build(bench.settings, bench.shapes, OTHERS).eval())
    except InputError:  # its settings name labels
        return
    except Exception as error:
        yield f"with the labels {', '.join(OTHERS.labels)}: {type(error).__name__}: {error}"
        return
    if not bool(found.isfinite()):
        yield f"with the labels {', '.join(OTHERS.labels)} it costs {float(found.detach())}"


def masks(bench: ObjectiveBench) -> Iterator[str]:
    """What lies under a mask does not matter."""
    own, heads, samples = bench.rows(*range(ROWS))
    clean = float(bench.loss((own, heads, samples)).detach())
    other = float(bench.loss((spoiled(own), heads, samples)).detach())  # type: ignore[arg-type]
    if not abs(clean - other) <= 10 * NEAR * max(1.0, abs(clean)):
        yield f"junk under the masks changes it from {clean:.5g} to {other:.5g}"


def gradients(bench: ObjectiveBench) -> Iterator[str]:
    """Gradients reach every port, every head that it names and every parameter."""
    own, heads, samples = bench.rows(*range(ROWS))
    leaves = {**own, **{f"heads.{name}": block for name, block in heads.items()}}
    for block in leaves.values():
        block.tokens.requires_grad_()
    total = bench.loss((own, heads, samples))
    if not total.requires_grad:
        yield "its loss has no gradient"
        return
    total.backward()
    pulled = {n: b.tokens.grad for n, b in leaves.items()} | {n: p.grad for n, p in bench.module.named_parameters()}
    yield from (
        f"{n} gets a gradient that is not finite" for n, g in pulled.items() if g is not None and not g.isfinite().all()
    )
    still = [n for n, g in pulled.items() if (g is None or not bool(g.any())) and n not in bench.idle]
    if still:
        yield f"{', '.join(still[:4])} gets no gradient"
    bench.module.zero_grad()


def repeats(bench: ObjectiveBench) -> Iterator[str]:
    """It repeats in eval mode, and all that it knows is in its parameters and buffers."""
    given = bench.rows(*range(ROWS))
    first, second = (float(bench.loss(given).detach()) for _ in range(2))
    if first != second:
        yield f"the same rows cost {first:.6g}, then {second:.6g}"
    again = bench.piece.build(bench.settings, bench.shapes, TARGETS)
    again.load_state_dict(bench.module.state_dict())
    third = float(bench.loss(given, again.eval()).detach())
    if third != second:
        yield f"loaded from its state_dict it gives {third:.6g}, not {second:.6g}"


KITS = {"objective": (ObjectiveBench, (record, counts, sums, other_data, masks, gradients, repeats))}
