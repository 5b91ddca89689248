"""What is said in the clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from affectkit_plugins.prompts._words import dropped, fill, said, shares_problems, speaks

from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Sample


@dataclass(frozen=True)
class Settings:
    """What is said in the clip, in a sentence; where nothing is known to be said, another sentence or
    silence."""

    wording: str = 'The person says: "{subtitle}"'
    """The sentence, with {subtitle} where the words go."""
    missing: str | None = ""
    """The sentence where a sample has no subtitle; empty for none, null for the wording with nothing in its place."""
    turns: Literal["first", "every"] = "first"
    """Whether it stands in the first turn of a conversation, or in each."""
    task: str = ""
    """The only task in which it stands; empty for every task."""
    drop: dict[str, float] = field(default_factory=dict)
    """Task to share of training samples that go without the subtitle (modality dropout), so that the model does not learn
    sentences by heart; `{label: 0.3}`."""
    drop_words: float = 0.0
    """Share of a subtitle's words that are left out at random in training."""

    def problems(self) -> list[tuple[str, str]]:
        gap = [] if "{subtitle}" in self.wording else [("wording", "must have {subtitle} where the words go")]
        words = [] if 0 <= self.drop_words < 1 else [("drop_words", f"must be from 0 to below 1, is {self.drop_words}")]
        return gap + words + shares_problems("drop", self.drop)


def build(settings: Settings) -> PromptPiece:
    """The sentence."""

    def subtitle(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        if not speaks(settings.task, settings.turns, ask):
            return ()
        if dropped(settings.drop, "subtitle", ask):
            return ()
        words = " ".join(_thinned(sample.subtitle.split(), settings.drop_words, ask))
        spoken = words or settings.missing is None
        return said(fill(settings.wording, subtitle=words) if spoken else settings.missing or "")

    return subtitle


def _thinned(words: list[str], share: float, ask: Ask) -> list[str]:
    """The words that stay in this epoch of training; all of them otherwise."""
    if ask.phase != "train" or share == 0:
        return words
    draw = ask.draw("drop words")
    return [w for w in words if draw.random() >= share]


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("prompt", "subtitle", Settings, build)]
