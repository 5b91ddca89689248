"""Statistics over everything: mean, spread and peak of each feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from affectkit_plugins._values import once
from affectkit_plugins.adapters._shapes import filled

from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings:
    """Statistics pooling: how each feature lies over a whole clip, side by side in one token; no parameters.

    What matters in a voice is often that something happened, not when: x-vectors (Snyder et al. 2018, section 2.1) pool mean
    and standard deviation over time.
    """

    of: tuple[Literal["mean", "std", "max"], ...] = ("mean", "std")
    """Which statistics, in this order."""

    def problems(self) -> list[tuple[str, str]]:
        return once(self, "statistic", "of") if self.of else [("of", "names no statistic")]


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """One token, as wide as the statistics side by side."""
    given = filled(inputs, "tokens")[0]
    return {"tokens": Shape(time=1, tokens=1, width=None if given.width is None else given.width * len(settings.of))}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; it has no parameters."""
    from affectkit_plugins.adapters.pool_net import Statistics

    return Statistics(settings.of)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [
        Piece(
            "adapter",
            "statistics",
            Settings,
            build,
            shapes,
            (Port("tokens", about="any tokens"),),
            tiny={"of": ["mean", "std", "max"]},
        )
    ]
