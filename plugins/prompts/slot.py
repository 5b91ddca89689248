"""The place of a stream's tokens, with text around it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from affectkit_plugins.prompts._words import dropped, said, shares_problems, speaks

from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Sample


@dataclass(frozen=True)
class Settings:
    """The place where a stream's tokens go, with text before and after it.

    The text stays where a clip has nothing for the stream: the LLM reads an empty place.
    """

    stream: str
    """Name of the stream; it must end in the LLM's width."""
    before: str = ""
    """Text right before the tokens, spaces included."""
    after: str = ""
    """Text right after the tokens, spaces included."""
    turns: Literal["first", "every"] = "first"
    """Whether the place is in the first turn of a conversation, or in each (for streams that read the
    question)."""
    task: str = ""
    """The only task in which it stands; empty for every task."""
    layout: str = ""
    """The only layout in which it stands; empty for every layout. See the template's `layouts`."""
    place: Literal["listed", "random"] = "listed"
    """Where it stands in its turn: where the recipe lists the part, or in training by chance there or behind all that is
    said, the text around it mirrored. All slots of a turn go to the same side (LLaMA-VID, for each turn)."""
    drop: dict[str, float] = field(default_factory=dict)
    """Task to share of training samples that go without this part (modality dropout), so that the model learns to use the
    others; `{label: 0.3}`."""

    def problems(self) -> list[tuple[str, str]]:
        return shares_problems("drop", self.drop)

    def slots(self) -> tuple[str, ...]:
        """The streams that this part has places for."""
        return (self.stream,)


def build(settings: Settings) -> PromptPiece:
    """Text, slot, text."""

    def slot(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        silent = not speaks(settings.task, settings.turns, ask, settings.layout)
        if silent or dropped(settings.drop, settings.stream, ask):
            return ()
        if settings.place == "random" and ask.phase == "train" and ask.draw(f"place {ask.turn}").random() < 0.5:
            mirrored = (*said(settings.after), Segment(slot=settings.stream), *said(settings.before))
            return tuple(replace(s, behind=True) for s in mirrored)
        return (*said(settings.before), Segment(slot=settings.stream), *said(settings.after))

    return slot


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("prompt", "slot", Settings, build, tiny={"stream": "face"})]
