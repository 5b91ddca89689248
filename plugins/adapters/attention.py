"""Attentive pooling: learned queries read the tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from affectkit_plugins._values import at_least
from affectkit_plugins.adapters._shapes import check_heads, filled, width_of

from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings:
    """A few learned queries attend to the tokens, and what they read are the new tokens (attentive pooling).

    Source: Lee et al., Set Transformer (ICML 2019), section 3.2, without its feed-forward layers.
    """

    queries: int = 1
    """How many learned queries, and so how many tokens come out."""
    heads: int = 4
    """Attention heads; they must divide the width of the tokens."""
    per: Literal["frame", "clip"] = "clip"
    """Whether each frame is read by itself, or all frames of a clip together."""

    def problems(self) -> list[tuple[str, str]]:
        return at_least(self, 1, "queries", "heads")


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """`queries` tokens a frame or a clip, as wide as before; raises InputError where the heads do not
    divide that."""
    given = filled(inputs, "tokens")[0]
    check_heads(settings.heads, given.width)
    return {"tokens": Shape("tokens", given.time if settings.per == "frame" else 1, settings.queries, given.width)}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; parameters `queries`, `norm` and `attention`. Raises InputError where the heads do not
    divide the width."""
    from affectkit_plugins.adapters.attention_net import AttentivePool

    wide = width_of(inputs, "tokens")
    check_heads(settings.heads, wide)
    return AttentivePool(wide, settings.queries, settings.heads, settings.per == "frame")


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("tokens", about="what the queries read"),)
    return [Piece("adapter", "attention", Settings, build, shapes, ports, tiny={"queries": 2, "heads": 2})]
