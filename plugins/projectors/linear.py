"""One linear layer from a stream's width to the LLM's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from affectkit_plugins._values import shares
from affectkit_plugins.adapters._shapes import filled, llm_width, width_of

from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings:
    """One linear layer from a stream's width to the LLM's, token by token (Emotion-LLaMA projects every view
    so).

    Source: Cheng et al., Emotion-LLaMA (NeurIPS 2024), section 3.2.
    """

    bias: bool = True
    """Add a learned offset."""
    norm: Literal["none", "layer"] = "none"
    """What is done to each token before: nothing, or a layer norm, which evens out encoders of different
    scale."""

    dropout: float = 0.0
    """Share of each token's values that training leaves out, so that few training samples are not learnt by heart."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return shares(self, "dropout")


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """As many tokens as come in, as wide as the LLM."""
    return {"tokens": replace(filled(inputs, "tokens")[0], width=width)}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; parameters `layers.0` (and `norm`)."""
    from affectkit_plugins.projectors.mlp_net import Projector

    widths = width_of(inputs, "tokens"), llm_width(width)
    return Projector(widths, settings.bias, settings.norm == "layer", settings.dropout)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("projector", "linear", Settings, build, shapes, (Port("tokens", about="any tokens"),))]
