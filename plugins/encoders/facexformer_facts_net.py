"""What FaceXFormer says of a person, in words and numbers."""

from __future__ import annotations

from affectkit_plugins.encoders.face_analysis_facts_net import estimates
from affectkit_plugins.encoders.facexformer import ATTRIBUTES, PARTS, POSE, Settings
from torch import Tensor

from affectkit.blocks import TokenBlock
from affectkit.sample import MISSING, Fact

NAMES = {"pose": POSE, "attributes": ATTRIBUTES, "parsing": PARTS}
"""Facts that are tables, with the names of their numbers."""
DIGITS = 4
"""Decimals that are kept: facts lie in the cache as text."""


def facts(blocks: dict[str, TokenBlock], settings: Settings) -> list[dict[str, Fact]]:
    """One dict a row, of the facts that `settings.tells` names; all are means over the frames with a face.

    `age`, `gender` and `race` are the likeliest word and its probability. `attributes` gives each attribute's
    probability by name, `parsing` the share of the crop that each class covers, `pose` three angles in radians,
    `visibility` the probability that each of 29 points is seen, `landmarks` 68 [x, y] as in the block. A row without a
    face gets `MISSING` facts.
    """
    s = settings
    words = {"age": s.ages, "gender": s.genders, "race": s.races}
    rows: list[dict[str, Fact]] = [{} for _ in blocks["valid"].mask]
    spoken: dict[str, tuple[TokenBlock, tuple[str, ...]]] = {
        name: (blocks[name], known) for name, known in words.items() if name in s.tells
    }
    if spoken:
        rows = estimates(spoken)
    for name in s.tells:
        if name not in words and name in blocks:
            for row, values in zip(rows, means(blocks[name]), strict=True):
                row[name] = MISSING if values is None else Fact(_plain(name, values), "estimate")
    return rows


def means(block: TokenBlock) -> list[Tensor | None]:
    """The mean [n d] over the real frames of each row; None for a row that has none."""
    tokens, real = block.tokens.detach().float().cpu(), block.mask.any(-1).cpu()
    total = (tokens * real[:, :, None, None]).sum(1) / real.sum(1).clamp(min=1)[:, None, None]
    return [mean if seen.any() else None for mean, seen in zip(total, real, strict=True)]


def _plain(name: str, values: Tensor) -> object:
    """Numbers [n d] as JSON has them: by name, or as lists."""
    if name == "landmarks":
        return [[round(v, DIGITS) for v in point] for point in values.tolist()]
    numbers = [round(v, DIGITS) for v in values.mean(0).tolist()]
    return dict(zip(NAMES[name], numbers, strict=True)) if name in NAMES else numbers
