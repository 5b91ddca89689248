"""A small GELU network from a stream's width to the LLM's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from affectkit_plugins._values import at_least, shares
from affectkit_plugins.adapters._shapes import filled, llm_width, width_of

from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings:
    """Linear layers with GELU between them, from a stream's width to the LLM's, token by token (LLaVA-1.5).

    With the defaults this is the projector published as `mlp2x_gelu`: its checkpoint keys `0.weight`,
    `0.bias`, `2.weight` and `2.bias` are `layers.0.weight` … `layers.2.bias` here.

    Source: Liu et al., Improved Baselines with Visual Instruction Tuning (2023), section 3.3.
    """

    depth: int = 2
    """How many linear layers."""
    hidden: int | None = None
    """Width between the layers; null for the LLM's."""
    norm: Literal["none", "layer"] = "none"
    """What is done to each token before: nothing, or a layer norm, which evens out encoders of different
    scale."""

    dropout: float = 0.0
    """Share of each token's values that training leaves out, so that few training samples are not learnt by heart."""
    copies: int = 1
    """How many tokens each becomes, all from the last layer: the LLM has more places to read a pooled token from (ClipCap, Mokady
    et al. 2021, makes ten of one)."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return at_least(self, 1, "depth", "hidden", "copies") + shares(self, "dropout")


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """As many tokens as come in, or `copies` times as many, as wide as the LLM."""
    given = filled(inputs, "tokens")[0]
    count = None if given.tokens is None else given.tokens * settings.copies
    return {"tokens": replace(given, tokens=count, width=width)}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; parameters `layers.0`, `layers.2`, … (and `norm`)."""
    from affectkit_plugins.projectors.mlp_net import Projector

    last = llm_width(width)
    hidden = [settings.hidden or last] * (settings.depth - 1)
    widths = (width_of(inputs, "tokens"), *hidden, last * settings.copies)
    return Projector(widths, norm=settings.norm == "layer", dropout=settings.dropout, copies=settings.copies)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("projector", "mlp", Settings, build, shapes, (Port("tokens", about="any tokens"),))]
