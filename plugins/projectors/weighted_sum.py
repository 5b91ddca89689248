"""AffectGPT's attention projection: a clip's steps as one weighted sum, in one token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from affectkit_plugins._values import at_least
from affectkit_plugins.adapters._shapes import filled, llm_width, width_of

from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings:
    """All tokens of a clip in one: each gets a weight from a linear layer, they are summed, the sum goes to
    the LLM's width.

    The weights are raw outputs (no softmax), so that a longer clip gives a longer sum. In the published
    checkpoint `score` is `video_attention_mlp` or `audio_attention_mlp`, and `projector` is `affectgpt_proj`
    or `audio_llama_proj`.

    Source: Lian et al., AffectGPT (ICML 2025), section 4; its released code for the missing softmax.
    """

    count: int = 1
    """How often the one token is repeated, as the published code does for more than one query."""
    start: Literal["random", "even"] = "random"
    """What training starts from: random weights, as published, which may take a step off as well as add it; or nearly those
    of a mean, which a small LLM without pretraining learns from sooner."""

    def problems(self) -> list[tuple[str, str]]:
        return at_least(self, 1, "count")


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """`count` tokens a clip."""
    filled(inputs, "tokens")
    return {"tokens": Shape("tokens", 1, settings.count, width)}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; parameters `score` (to one weight) and `projector`."""
    from affectkit_plugins.projectors.weighted_sum_net import WeightedSum

    made = WeightedSum(width_of(inputs, "tokens"), llm_width(width), settings.count)
    if settings.start == "even":
        made.begin_even(filled(inputs, "tokens")[0].time or 1)
    return made


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("projector", "weighted_sum", Settings, build, shapes, (Port("tokens", about="steps in time"),))]
