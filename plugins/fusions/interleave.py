"""Two to four blocks as one, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affectkit_plugins.adapters._shapes import filled, plus

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, Shape, hookimpl

PORTS = ("tokens", "second", "third", "fourth")


@dataclass(frozen=True)
class Settings:
    """Two to four blocks of one width as one: frame by frame, the tokens of the first, then of the second,
    and so on.

    So the LLM reads what belongs to one moment together (`join: time` of DESIGN). Blocks with fewer frames
    end earlier; a block that a clip lacks leaves no gap. It has no parameters.
    """

    spread: bool = False
    """Whether a block with a single frame goes with every frame of the others, instead of the first alone."""


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """As many frames as the longest, as many tokens as all together; raises InputError where widths
    differ."""
    filled(inputs, *PORTS[:2])
    given = [inputs[p] for p in PORTS if p in inputs]
    widths = {s.width for s in given if s.width is not None}
    if len(widths) > 1:
        told = ", ".join(f"{p} {inputs[p].width}" for p in PORTS if p in inputs)
        fix = "project the blocks to one width first"
        raise InputError(Problem("", f"the blocks differ in width: {told}", fix))
    longest = [s.time for s in given]
    time = None if None in longest else max(t for t in longest if t is not None)
    return {"tokens": Shape("tokens", time, plus(*(s.tokens for s in given)), next(iter(widths), None))}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; it has no parameters."""
    from affectkit_plugins.fusions.interleave_net import Interleave

    shapes(settings, inputs, width)
    return Interleave(settings.spread)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = tuple(
        Port(p, about=f"the {w} of each frame", optional=True)
        for p, w in zip(PORTS, ("first", *PORTS[1:]), strict=True)
    )
    return [Piece("fusion", "interleave", Settings, build, shapes, ports)]
