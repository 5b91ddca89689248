"""Fewer tokens by pooling or convolution with a stride."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from affectkit_plugins._values import at_least
from affectkit_plugins.adapters._shapes import filled, over, width_of

from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings:
    """One token for every `stride` tokens (or frames): their mean, their largest values, or a convolution
    over them.

    What is not real counts for nothing: means are over real tokens, and a convolution sees zeros there.
    """

    how: Literal["mean", "max", "conv"] = "mean"
    """How a window of tokens becomes one; only `conv` has parameters."""
    stride: int = 4
    """How far apart windows begin."""
    kernel: int | None = None
    """How many tokens a window holds; null for as many as `stride`."""
    axis: Literal["tokens", "time"] = "tokens"
    """Whether windows run along a frame's tokens, or along the frames, token by token."""

    def problems(self) -> list[tuple[str, str]]:
        found = at_least(self, 1, "stride", "kernel")
        if self.kernel is not None and 0 < self.kernel < self.stride:
            found.append(
                (
                    "kernel",
                    f"must be at least stride ({self.stride}), or tokens are skipped; got {self.kernel}",
                )
            )
        return found


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """`stride` times fewer along the axis, rounded up."""
    given = filled(inputs, "tokens")[0]
    if settings.axis == "time":
        return {"tokens": replace(given, time=over(given.time, settings.stride))}
    return {"tokens": replace(given, tokens=over(given.tokens, settings.stride))}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; parameters `conv` where there is one."""
    from affectkit_plugins.adapters.pool_net import Strided

    kernel = settings.kernel or settings.stride
    conv_width = width_of(inputs, "tokens") if settings.how == "conv" else 0
    return Strided(settings.how, settings.stride, kernel, settings.axis == "time", conv_width)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("adapter", "strided", Settings, build, shapes, (Port("tokens", about="tokens in order"),))]
