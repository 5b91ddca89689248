"""LLaMA-VID's aggregator: a frame as one context token that read the question, and content tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal

from affectkit_plugins.adapters._shapes import filled, llm_width, plus, width_of
from affectkit_plugins.projectors._qformer import NEEDS, TINY, TextQFormerSettings, check_tokenizer, prepare, stand_in

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings(TextQFormerSettings):
    """Each frame as one context token, which a text-conditioned Q-Former picks, followed by content tokens.

    The Q-Former reads the normed tokens and the question; its queries, projected, attend to the frame's
    patches; the mean of what they saw is the context token. The content tokens are the patches, pooled as
    `compress` says, through a two-layer GELU network. Checkpoint keys of LLaMA-VID here: `vlm_att_query` is
    `qformer.queries`, `vlm_att_ln` is `norm`, `vlm_att_projector` is `query`, `vlm_att_key_projector` is
    `key`, `vlm_att_val_projector` is `value`, `mm_projector` is `content`.

    Source: Li et al., LLaMA-VID (ECCV 2024), section 3.1, and its released code; EMO-LLaMA (2024) calls the
    like of it a clue aggregator.
    """

    compress: str = "mean"
    """What becomes of the patches: `mean` (one token), `grid:G` (G x G cells, averaged) or `none` (all of
    them)."""
    class_token: Literal["auto", "first", "none"] = "auto"
    """Whether the first token is no patch and left out of context and content; `auto`: if the count of
    tokens is odd."""

    def problems(self) -> list[tuple[str, str]]:
        found = super().problems()
        if self.compress not in ("mean", "none") and cells(self.compress) is None:
            found.append(("compress", f"must be mean, none or grid:G with a whole number G, got {self.compress!r}"))
        return found


def cells(compress: str) -> int | None:
    """G of `grid:G`; None for anything else."""
    head, _, tail = compress.partition(":")
    return int(tail) if head == "grid" and tail.isascii() and tail.isdigit() and int(tail) > 0 else None


def patches(settings: Settings, tokens: int | None) -> int | None:
    """How many of the tokens are patches; raises InputError where a grid does not fit them."""
    if tokens is None:
        return None
    drop = settings.class_token == "first" or (settings.class_token == "auto" and tokens % 2 == 1)
    count = tokens - drop
    grid, side = cells(settings.compress), isqrt(count)
    if grid and (side * side != count or side % grid):
        what = f"{count} patches cannot be averaged to {grid} x {grid} cells"
        fix = "take a G that divides the side of the patch grid, or compress: mean"
        raise InputError(Problem("", what, fix))
    return count


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """One context token and the content tokens, for each frame."""
    given = filled(inputs, "tokens")[0]
    count, grid = patches(settings, given.tokens), cells(settings.compress)
    content = {"mean": 1, "none": count}.get(settings.compress, grid * grid if grid else None)
    return {"tokens": Shape("tokens", given.time, plus(1, content), width)}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; raises InputError where the number of tokens is needed and not known."""
    from affectkit_plugins.projectors.context_content_net import ContextContent, Pooling

    check_tokenizer(settings)
    tokens = filled(inputs, "tokens")[0].tokens
    grid = cells(settings.compress)
    if tokens is None and (grid or settings.class_token == "auto"):
        fix = "set class_token to first or none, and compress to mean or none"
        raise InputError(Problem("", "the number of tokens a frame is not known", fix))
    count = patches(settings, tokens)
    first = settings.class_token == "first" if tokens is None else count != tokens
    pooling = Pooling(first, settings.compress == "mean", grid or 0, isqrt(count or 0))
    reads = "question" in inputs
    made = ContextContent(settings, width_of(inputs, "tokens"), llm_width(width), reads, pooling)
    made.stand_in = stand_in(settings, reads)
    return made


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (
        Port("tokens", about="a frame's tokens, the class token first if there is one"),
        Port("question", "text", "what the queries read beside them", optional=True),
    )
    return [Piece("projector", "context_content", Settings, build, shapes, ports, NEEDS, tiny=TINY, prepare=prepare)]
