"""Face-LLaVA's miner: visual tokens look at landmark regions, the near ones first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Literal

from affectkit_plugins.miners._regions import LANDMARKS, REGIONS, problems, time_problems

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, Shape, hookimpl

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Settings:
    """Face-LLaVA's region landmark projector and region-guided cross-attention, frame by frame.

    A region's token is one linear layer of its landmarks plus one linear layer of all of them. Visual tokens ask, region
    tokens answer; the sum goes through a layer norm and a linear layer and is added to the visual tokens, times `scale`.
    No face token is added to the scene; the block `face_tokens` holds the layer of all landmarks, which the published
    `use_landmark_tokens` appends. A frame without all landmarks keeps its visual tokens and has no face token.

    Source: Chaubey et al., Face-LLaVA (WACV 2026), and its released code at c2875ea. What that code does otherwise is a
    setting: `grid`, `projection`, `proximity`. That it skips the attention for stills with the mask, and at inference,
    where its script passes no landmarks, is not offered.
    """

    heads: int = 8
    """Attention heads; they must divide the width of the visual tokens."""
    scale: float = 0.1
    """What the attended tokens are multiplied with before they are added; the released code's default is 0.001."""
    proximity: bool = True
    """Add to the attention how near each region is to each patch: the soft-max, over the regions, of minus their distance
    in fractions of the frame; the released scripts leave it out."""
    grid: Literal["xy", "row_col"] = "xy"
    """How a patch's place is held against a region's: x with x, or its row with x, as the released code does."""
    projection: bool = True
    """Project what the heads saw; the released code does without the proximity mask and does not with it."""
    class_token: Literal["auto", "first", "none"] = "auto"
    """Whether the first token is no patch and near to every region alike; `auto`: if the count of tokens is odd."""
    regions: tuple[int, ...] = REGIONS
    """How many landmarks each region has, in their order."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and the miner cannot take."""
        found = []
        if self.heads < 1:
            found.append(("heads", f"{self.heads} is less than 1"))
        if not self.regions or min(self.regions) < 1:
            found.append(("regions", f"{self.regions} are not counts of at least 1"))
        return found


def patches(settings: Settings, tokens: int | None) -> tuple[int, bool]:
    """Patches along one side of a frame (0 where their places are not asked for), and whether a class token stands before
    them. Raises InputError where they make no square."""
    if not settings.proximity or tokens is None:
        return 0, False
    first = settings.class_token == "first" or (settings.class_token == "auto" and tokens % 2 == 1)
    count = tokens - first
    if isqrt(count) ** 2 != count or not count:
        what = f"the places of {count} patches a frame are not known: they make no square"
        raise InputError(Problem("proximity", what, "set class_token, or proximity: false"))
    return isqrt(count), first


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """`enriched`, shaped like the visual tokens, and `face_tokens`, one a frame.

    Raises `InputError` where landmarks are not given, are not those of the regions or have another time than the tokens,
    where the heads do not divide the width, or patches make no square.
    """
    tokens = inputs["tokens"]
    if "landmarks" not in inputs:
        fix = "name a face network's block of them, such as `landmarks: priors.net.landmarks`"
        raise InputError(
            Problem("landmarks", "nothing fills the port 'landmarks', and there is nothing else to mine", fix)
        )
    found = time_problems(inputs, ["landmarks"]) + problems(inputs, settings.regions)
    points = inputs["landmarks"].width
    if settings.proximity and points is not None and points < 2:
        found.append(Problem("port landmarks", f"has {points} number a point where x and y are two"))
    if tokens.width is not None and tokens.width % settings.heads:
        found.append(Problem("heads", f"{settings.heads} heads do not divide the width {tokens.width}"))
    try:
        patches(settings, tokens.tokens)
    except InputError as error:
        found += error.problems
    if found:
        raise InputError(found)
    return {"enriched": tokens, "face_tokens": Shape("tokens", tokens.time, 1, tokens.width)}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    """The miner for these widths; raises what `shapes` raises, and InputError where the patches are not known."""
    from affectkit_plugins.miners.region_guided_net import RegionGuided

    shapes(settings, inputs, width)
    tokens = inputs["tokens"]
    if settings.proximity and tokens.tokens is None:
        what = "the number of visual tokens a frame is not known"
        raise InputError(Problem("proximity", what, "give the encoder's sizes, or set proximity: false"))
    sizes = tokens.width or 0, inputs["landmarks"].width or 0
    return RegionGuided(settings, *sizes, *patches(settings, tokens.tokens))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    ports = (Port("tokens", about="visual tokens, frame by frame, the class token first if there is one"), LANDMARKS)
    tiny = {"heads": 2, "regions": (1, 3)}
    return [Piece("miner", "region_guided", Settings, build, shapes=shapes, ports=ports, needs=("torch",), tiny=tiny)]
