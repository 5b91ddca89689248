"""Each channel to mean 0 and spread 1, as measured over the training samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affectkit_plugins.adapters._shapes import width_of

from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings:
    """Each channel of the tokens to mean 0 and spread 1, as measured over the training samples; nothing in it trains.

    For features that lie far from 0 or whose channels differ in size by orders of magnitude: a projector behind them would feel
    little else than the largest. Put it right behind the frozen encoder (or behind pooling without parameters): what the encoder
    gives stays cached, and does not hang on the split that was measured.
    """


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; it has no parameters, and learns its scale by `fit`."""
    from affectkit_plugins.adapters.standardise_net import Standardise

    return Standardise(width_of(inputs, "tokens"))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("adapter", "standardise", Settings, build, ports=(Port("tokens", about="any tokens"),), fits=True)]
