"""What a source of facial priors promises, whatever network it is: the blocks that miners read, and words for a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from affectkit.blocks import TokenBlock

if TYPE_CHECKING:
    from affectkit.testing_steps import Bench

BLOCKS = ("global", "local", "valid")
"""A step that puts these out is a source of facial priors: tokens of the whole face, tokens of its parts, and where there
is a face. `landmarks` may stand beside them."""


def contract(bench: Bench) -> Iterator[str]:
    """Global and local tokens and landmarks in exactly the frames with a face, `valid` 1 there, facts with their probability."""
    if not set(BLOCKS) <= bench.told.keys():
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


PROMISES = {"facial priors keep their contract": contract}
