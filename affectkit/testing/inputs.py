"""Random inputs for steps: blocks of rows of different lengths, and the same blocks with junk under their masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from affectkit.blocks import Block, TokenBlock
from affectkit.encode.perceive import prepare_view
from affectkit.encode.steps import rows_of, stack_views
from affectkit.pieces import Piece, Port, Shape
from affectkit.raw import RawPixels, RawView, RawWave

ROWS = 4
JUNK = 1000.0
"""Size of what lies under the masks: large, and finite as all that the frame puts there."""
WORDS = ("is she glad", "what does the person in this clip feel, and why", "", "joy")


def blocks(piece: Piece, settings: Any, inputs: Mapping[str, Shape], uneven: bool) -> dict[str, Block]:
    """A random block for each port, with rows as long as the shapes allow.

    With `uneven` row 1 is shorter, row 2 has an empty frame inside and is empty in optional ports, row 3 is as short as can
    be.
    """
    there = ((place, port) for place, port in enumerate(piece.ports) if port.name in inputs)
    return {port.name: _block(piece, settings, port, inputs[port.name], place, uneven) for place, port in there}


def _block(piece: Piece, settings: Any, port: Port, shape: Shape, place: int, uneven: bool) -> Block:
    rng = np.random.default_rng([0, place])
    bare = uneven and port.optional and (place > 0 or any(not p.optional for p in piece.ports))
    if port.eats == "tokens":
        return _tokens(port.name, shape, rng, uneven, bare)
    raws: list[RawView | None] = []
    for row in range(ROWS):
        none = bare and row == 2
        raws.append(None if none else _raw(port, shape, rng, row if uneven else 0))
    items = [None if raw is None else prepare_view(piece.prepare, settings, port.name, raw) for raw in raws]
    return stack_views(port.name, items)


def _tokens(name: str, shape: Shape, rng: np.random.Generator, uneven: bool, bare: bool) -> TokenBlock:
    t, n, d = shape.time or 3, shape.tokens or 4, shape.width or 8
    mask = np.ones((ROWS, t, n), bool)
    if uneven:
        mask[1, max(1, t - 1) :] = False
        mask[1, 0, max(1, n - 1) :] = False
        mask[2, 0, max(1, n - 2) :] = False
        if t > 1:
            mask[2, t // 2] = False
        mask[3, 1:] = False
        mask[3, 0, 1:] = False
        if bare:
            mask[2] = False
    tokens = rng.standard_normal((ROWS, t, n, d)) * mask[..., None]
    return TokenBlock(name, torch.from_numpy(tokens.astype(np.float32)), torch.from_numpy(mask))


def _raw(port: Port, shape: Shape, rng: np.random.Generator, row: int) -> RawView:
    if port.eats == "text":
        return WORDS[row] or WORDS[1][:8]
    if port.eats == "wave":
        most = shape.tokens or 8000
        length = (most, most * 5 // 8, most * 7 // 8, max(most // 9, 1))[row]
        return RawWave((0.1 * rng.standard_normal(length)).astype(np.float32), shape.width or 16000)
    most = shape.time or 4
    count = (most, max(1, most - 2), most, 1)[row]
    valid = np.ones(count, bool)
    if row == 2 and count > 1:
        valid[count // 2] = False
    sizes = [(40 + 3 * i, 52 - 5 * (i % 3)) for i in range(count)]
    frames = tuple(
        (rng.integers(0, 256, (*size, 3)) * ok).astype(np.uint8) for size, ok in zip(sizes, valid, strict=True)
    )
    corners = np.sort(rng.uniform(0, 90, (count, 2, 2)), axis=1).reshape(count, 4)
    corners[:, 2:] += 6
    boxes = np.where(valid[:, None], corners, np.nan).astype(np.float32)
    index = np.arange(count)
    return RawPixels(frames, index, index / 25.0, valid, boxes, (100, 100))


def spoiled(clean: Mapping[str, Block]) -> dict[str, Block]:
    """The same blocks with junk wherever the masks say that there is nothing."""
    return {name: _spoiled(block, torch.Generator().manual_seed(7)) for name, block in clean.items()}


def _spoiled(block: Block, generator: torch.Generator) -> Block:
    if isinstance(block, TokenBlock):
        junk = JUNK * torch.randn(block.tokens.shape, generator=generator)
        return replace(block, tokens=torch.where(block.mask.unsqueeze(-1), block.tokens, junk))
    values = block.values
    if values.dtype == torch.uint8:
        junk = torch.randint(0, 256, values.shape, generator=generator).to(torch.uint8)
    elif values.is_floating_point():
        junk = JUNK * torch.randn(values.shape, generator=generator).to(values.dtype)
    else:
        # only ids that there are: the piece's vocabulary is its own matter
        known = values[block.mask]
        junk = known[torch.randint(0, len(known), values.shape, generator=generator)] if len(known) else values
    mask = block.mask.reshape(block.mask.shape + (1,) * (values.dim() - 2))
    boxes = block.boxes
    if boxes is not None:
        boxes = torch.where(block.mask.unsqueeze(-1), boxes, torch.rand(boxes.shape, generator=generator))
    return replace(block, values=torch.where(mask, values, junk), boxes=boxes)


def one_row(batch: Mapping[str, Block], row: int) -> dict[str, Block]:
    """One row by itself, all padding cut: what the frame makes of a batch of one."""
    alone = {name: rows_of(block, torch.tensor([row])) for name, block in batch.items()}
    # of sound and text the second axis is no time, and is cut already
    timed = {n: b for n, b in alone.items() if isinstance(b, TokenBlock) or b.values.dim() > 2}
    time = max((int(b.mask.nonzero()[:, 1].max()) + 1 for b in timed.values() if b.mask.any()), default=1)
    return alone | {name: _until(block, time) for name, block in timed.items()}


def _until(block: Block, time: int) -> Block:
    """The first time steps."""
    mask = block.mask[:, :time]
    if isinstance(block, TokenBlock):
        return replace(block, tokens=block.tokens[:, :time], mask=mask)
    boxes = None if block.boxes is None else block.boxes[:, :time]
    return replace(block, values=block.values[:, :time], mask=mask, boxes=boxes)
