"""What is said in the clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from affectkit_plugins.prompts._words import fill, said, speaks

from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Sample


@dataclass(frozen=True)
class Settings:
    """What is said in the clip, in a sentence; where nothing is known to be said, another sentence or
    silence."""

    wording: str = 'The person says: "{subtitle}"'
    """The sentence, with {subtitle} where the words go."""
    missing: str = ""
    """The sentence where a sample has no subtitle; empty for none."""
    turns: Literal["first", "every"] = "first"
    """Whether it stands in the first turn of a conversation, or in each."""
    task: str = ""
    """The only task in which it stands; empty for every task."""

    def problems(self) -> list[tuple[str, str]]:
        return (
            [] if "{subtitle}" in self.wording else [("wording", "must have {subtitle} where the words go")]
        )


def build(settings: Settings) -> PromptPiece:
    """The sentence."""

    def subtitle(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        if not speaks(settings.task, settings.turns, ask):
            return ()
        words = " ".join(sample.subtitle.split())
        return said(fill(settings.wording, subtitle=words) if words else settings.missing)

    return subtitle


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("prompt", "subtitle", Settings, build)]
