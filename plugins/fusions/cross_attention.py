"""Tokens that read other tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from affectkit_plugins._values import at_least
from affectkit_plugins.adapters._shapes import check_heads, filled, width_of

from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings:
    """Tokens attend to other tokens, of another stream for example, and add what they read to themselves.

    Pre-norm cross-attention with a residual connection (Vaswani et al. 2017); a gate that starts at zero
    leaves the tokens as they were at first (Alayrac et al., Flamingo, NeurIPS 2022, section 2.2). Where there
    is nothing to read the tokens stay as they are.
    """

    heads: int = 4
    """Attention heads; they must divide the width of the tokens."""
    layers: int = 1
    """How often, with parameters of its own each time."""
    per: Literal["frame", "clip"] = "clip"
    """Whether a frame's tokens read the context of that frame, or that of the whole clip."""
    gate: Literal["none", "tanh"] = "none"
    """Whether what was read is scaled by a learned gate, tanh(a) with a = 0 at first."""

    def problems(self) -> list[tuple[str, str]]:
        return at_least(self, 1, "heads", "layers")


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """The shape of `tokens`; raises InputError where the heads do not divide its width."""
    filled(inputs, "tokens", "context")
    check_heads(settings.heads, inputs["tokens"].width)
    return {"tokens": inputs["tokens"]}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; parameters `layers`. Raises InputError where the heads do not divide the width."""
    from affectkit_plugins.fusions.cross_attention_net import CrossAttention

    wide, context = width_of(inputs, "tokens"), width_of(inputs, "context")
    check_heads(settings.heads, wide)
    return CrossAttention(wide, context, settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("tokens", about="what reads"), Port("context", about="what is read", optional=True))
    return [Piece("fusion", "cross_attention", Settings, build, shapes, ports, tiny={"heads": 2})]
