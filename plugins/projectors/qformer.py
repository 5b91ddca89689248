"""A Q-Former to the width of the LLM, plain (BLIP-2) or reading the question (InstructBLIP)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from affectkit_plugins.adapters._shapes import filled, llm_width, width_of
from affectkit_plugins.projectors._qformer import NEEDS, TINY, TextQFormerSettings, check_tokenizer, prepare, stand_in

from affectkit import weights
from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings(TextQFormerSettings):
    """Learned queries that read a stream's tokens through a Q-Former, then a linear layer to the LLM's width.

    With the port `question` filled the queries read the question too (InstructBLIP), and the step runs once a
    turn; without it this is BLIP-2's. `qformer.model` has the checkpoint keys of transformers'
    `InstructBlipQFormerModel` and `Blip2QFormerModel`.

    Sources: Li et al., BLIP-2 (ICML 2023), section 3; Dai et al., InstructBLIP (NeurIPS 2023), section 2.3;
    with `positions` and `per: clip` the video Q-Former of Zhang et al., Video-LLaMA (EMNLP 2023), section
    2.1, which reads what BLIP-2's (a `source`, `project: false`) makes of each frame.
    """

    per: Literal["frame", "clip"] = "frame"
    """Whether the queries read each frame by itself, or all frames of a clip together."""
    positions: int = 0
    """Rows of a learned table of time positions, added to the tokens before the queries read them; 0 for
    none."""
    norm: Literal["none", "layer"] = "none"
    """What is done to each token before: nothing, or a layer norm."""
    project: bool = True
    """Whether a linear layer brings the queries to the LLM's width; false leaves them for another step to read."""
    source: str = ""
    """Folder of BLIP-2, its file of LAVIS, or a hub id that was fetched before; empty for random weights. Without a
    question only."""

    def problems(self) -> list[tuple[str, str]]:
        return super().problems() + ([("positions", "must not be negative")] if self.positions < 0 else [])


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """`queries` tokens a frame or a clip; raises InputError where there are more frames than positions, and for a
    source beside a question."""
    time = filled(inputs, "tokens")[0].time
    if settings.positions and time is not None and time > settings.positions:
        what = f"{time} time steps are more than positions={settings.positions}"
        raise InputError(Problem("", what, f"set positions={time} or take fewer frames"))
    if settings.source and "question" in inputs:
        what = "a Q-Former that reads a question has no published weights that are read here"
        raise InputError(Problem("source", what, "leave `source` out, or set `question: null`"))
    wide = width if settings.project else settings.hidden
    return {"tokens": Shape("tokens", time if settings.per == "frame" else 1, settings.queries, wide)}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; parameters `qformer.queries`, `qformer.model`, `projector` (and `norm`, `positions`). Raises
    InputError for a source that cannot be read or does not fit."""
    from affectkit_plugins.projectors.qformer_net import QFormerProjector, load

    check_tokenizer(settings)
    llm = llm_width(width) if settings.project else None
    reads = "question" in inputs
    made = QFormerProjector(settings, width_of(inputs, "tokens"), llm, reads)
    made.stand_in = stand_in(settings, reads)
    if settings.source:
        made.qformer.weights_origin = load(made.qformer, settings.source)  # type: ignore[assignment]
        # what the source does not hold is random: `affectkit.weights.origin_of` then calls the step so
        for own in (made.projector, made.positions):
            if own is not None and any(True for _ in own.parameters()):
                own.weights_origin = weights.RANDOM  # type: ignore[assignment]
    return made


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (
        Port("tokens", about="what the queries read"),
        Port("question", "text", "what they read beside it", optional=True),
    )
    return [Piece("projector", "qformer", Settings, build, shapes, ports, NEEDS, tiny=TINY, prepare=prepare)]
