"""AffectGPT's pre-fusion by Q-Former: picture and sound joined in time, read by a few queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affectkit_plugins._values import at_least
from affectkit_plugins.adapters._shapes import filled, llm_width, plus, times, width_of
from affectkit_plugins.projectors._qformer import QFormerSettings

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings(QFormerSettings):
    """Picture and sound, each brought to the larger of their widths, one after the other in time, read by a
    Q-Former.

    Video comes first, then audio; a learned table of positions runs over both. In the published checkpoint
    `video_width` is `multi_video_embs`, `audio_width` is `multi_audio_embs`, `positions` is
    `multi_position_embedding`, `qformer.queries` is `multi_query_tokens` and `projector` is
    `multi_llama_proj`.

    Source: Lian et al., AffectGPT (ICML 2025), section 4 (its variant with a Q-Former).
    """

    queries: int = 1
    """How many learned queries, and so how many tokens come out."""
    layers: int = 2
    """How many layers the Q-Former has."""
    cross_every: int = 1
    """Cross-attention to the tokens in every layer (1), every second (2), …, the first included."""
    positions: int = 264
    """Rows of the table of positions: most steps of video and audio together."""

    def problems(self) -> list[tuple[str, str]]:
        return super().problems() + at_least(self, 1, "positions")


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """`queries` tokens a clip; raises InputError where there are more steps than positions."""
    video, audio = filled(inputs, "video", "audio")
    steps = plus(times(video.time, video.tokens), times(audio.time, audio.tokens))
    if steps is not None and steps > settings.positions:
        what = f"{steps} steps of video and audio are more than positions={settings.positions}"
        raise InputError(Problem("", what, f"set positions={steps}, or pool the streams first"))
    return {"tokens": Shape("tokens", 1, settings.queries, width)}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; parameters `video_width`, `audio_width`, `positions`, `qformer`, `projector`."""
    from affectkit_plugins.fusions.qformer_fusion_net import QFormerFusion

    return QFormerFusion(settings, width_of(inputs, "video"), width_of(inputs, "audio"), llm_width(width))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (
        Port("video", about="faces or frames in time", optional=True),
        Port("audio", about="sound in time", optional=True),
    )
    tiny = {"queries": 2, "hidden": 16, "heads": 2}
    return [Piece("fusion", "qformer_fusion", Settings, build, shapes, ports, ("transformers",), tiny=tiny)]
