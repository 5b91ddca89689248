"""AffectGPT's pre-fusion by attention: picture and sound in one token before the LLM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from affectkit_plugins._values import at_least
from affectkit_plugins.adapters._shapes import filled, llm_width, width_of

from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings:
    """Picture and sound in one token: both averaged over the clip, brought to one width, weighted and summed.

    The two weights come from both vectors through two linear layers with neither a non-linearity nor a
    softmax. A modality that a clip lacks gets no weight. In the published checkpoint `video_width` is
    `multi_video_embs`, `audio_width` is `multi_audio_embs`, `mix` is `attention_mlp`, `weigh` is `fc_att` and
    `projector` is `multi_llama_proj`.

    Source: Lian et al., AffectGPT (ICML 2025), section 4; its released code for what the paper leaves open.
    """

    common: int = 1024
    """Width that both are brought to."""
    start: Literal["random", "even"] = "random"
    """What training starts from: random weights, as published, which may take a modality off as well as add it; or nearly those
    of a mean, which a small LLM without pretraining learns from sooner."""

    def problems(self) -> list[tuple[str, str]]:
        return at_least(self, 1, "common")


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """One token a clip, as wide as the LLM."""
    filled(inputs, "video", "audio")
    return {"tokens": Shape("tokens", 1, 1, width)}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; parameters `video_width`, `audio_width`, `mix`, `weigh`, `projector`."""
    from affectkit_plugins.fusions.attention_fusion_net import AttentionFusion

    made = AttentionFusion(width_of(inputs, "video"), width_of(inputs, "audio"), settings.common, llm_width(width))
    if settings.start == "even":
        made.begin_even()
    return made


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (
        Port("video", about="faces or frames in time", optional=True),
        Port("audio", about="sound in time", optional=True),
    )
    return [Piece("fusion", "attention_fusion", Settings, build, shapes, ports, tiny={"common": 8})]
