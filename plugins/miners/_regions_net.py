"""Landmarks to one token a region."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit.blocks import TokenBlock
from affectkit.errors import InputError, Problem

Points = Float[Tensor, "b t k e"]
SMALLEST = 1e-3
"""A face is taken to be at least this large, as a fraction of the frame: an untrained network may put all points at one
place."""


class RegionTokens(nn.Module):
    """Points [b t k e] to a token [b t r d] for each of r regions, by a network of the region's own."""

    def __init__(self, regions: Sequence[int], size: int, width: int, hidden: int) -> None:
        """`size` numbers a point; `hidden` 0 is one linear layer, else two with GELU between."""
        super().__init__()
        self.counts = list(regions)
        self.each = nn.ModuleList(_layers(count * size, width, hidden) for count in regions)

    def forward(self, points: Points) -> Float[Tensor, "b t r d"]:
        parts = zip(self.each, points.split(self.counts, 2), strict=True)
        return torch.stack([layers(part.flatten(2)) for layers, part in parts], 2)


def _layers(inputs: int, width: int, hidden: int) -> nn.Module:
    if not hidden:
        return nn.Linear(inputs, width)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, width))


def whole(block: TokenBlock, count: int) -> tuple[Points, Bool[Tensor, "b t"]]:
    """All points of each frame [b t k e], and which frames have all of them; zeros in the others."""
    spare = count - block.tokens.shape[2]  # a batch of frames without a face may be padded to fewer
    points, mask = F.pad(block.tokens, (0, 0, 0, spare)), F.pad(block.mask, (0, spare))
    seen = mask.all(-1)
    return points.masked_fill(~seen[:, :, None, None], 0.0), seen


def in_face(points: Points) -> Points:
    """The points with the middle of their box at 0 and its longer half side 1: wherever and however large the face is."""
    low, high = points.amin(2, keepdim=True), points.amax(2, keepdim=True)
    half = ((high - low) / 2).amax(-1, keepdim=True).clamp(min=SMALLEST)
    return (points - (low + high) / 2) / half


def same_time(name: str, block: TokenBlock, tokens: TokenBlock) -> TokenBlock:
    """A block with the time of the visual tokens: where it is shorter, because no row of the batch shows a face in later frames,
    it gets frames without any. Raises InputError where its frames are others than those of the tokens."""
    spare = tokens.tokens.shape[1] - block.tokens.shape[1]
    same_rows = len(block.tokens) == len(tokens.tokens)
    if same_rows and spare > 0:
        cut_short = block.mask.flatten(1).any(1) & tokens.mask[:, -spare:].flatten(1).any(1)
        if not bool(cut_short.any()):
            longer = F.pad(block.tokens, (0, 0, 0, 0, 0, spare)), F.pad(block.mask, (0, 0, 0, spare))
            return TokenBlock(block.name, *longer)
    if not same_rows or spare:
        rows, times = tuple(block.tokens.shape[:2]), tuple(tokens.tokens.shape[:2])
        what = f"has (rows, time steps) {rows} where the visual tokens have {times}"
        raise InputError(Problem(f"port {name}", what, "cut the faces from the same frames"))
    return block
