"""Fixed words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from affectkit_plugins.prompts._words import said, speaks

from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Sample


@dataclass(frozen=True)
class Settings:
    """Words that are the same for every sample."""

    text: str
    """The words, spaces included."""
    turns: Literal["first", "every"] = "first"
    """Whether they stand in the first turn of a conversation, or in each."""
    task: str = ""
    """The only task in which they stand; empty for every task."""
    layout: str = ""
    """The only layout in which they stand; empty for every layout. See the template's `layouts`."""


def build(settings: Settings) -> PromptPiece:
    """The text."""

    def text(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        return said(settings.text) if speaks(settings.task, settings.turns, ask, settings.layout) else ()

    return text


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("prompt", "text", Settings, build, tiny={"text": "Look."})]
