"""The mean over tokens, over time, or over both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from affectkit_plugins.adapters._shapes import filled

from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings:
    """The mean of what is real over tokens, over time, or over both; it has no parameters, so it may be part
    of a head.

    Emotion-LLaMA pools its face, motion and audio features over both.
    """

    over: Literal["tokens", "time", "both"] = "both"
    """What is averaged: a frame's tokens, each token over the frames, or everything."""


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """One token a frame, one frame, or one token in all."""
    given = filled(inputs, "tokens")[0]
    if settings.over == "tokens":
        return {"tokens": replace(given, tokens=1)}
    return {"tokens": replace(given, time=1, tokens=given.tokens if settings.over == "time" else 1)}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; it has no parameters."""
    from affectkit_plugins.adapters.pool_net import MeanPool

    return MeanPool({"tokens": (2,), "time": (1,), "both": (1, 2)}[settings.over])


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("adapter", "mean", Settings, build, shapes, (Port("tokens", about="any tokens"),))]
