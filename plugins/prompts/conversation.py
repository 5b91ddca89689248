"""A conversation about a clip, turn by turn."""

from __future__ import annotations

from dataclasses import dataclass

from affectkit_plugins._values import at_least
from affectkit_plugins.prompts._words import said

from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Sample


@dataclass(frozen=True)
class Settings:
    """The questions and answers of a sample's conversation, all in one row; every answer is trained.

    The other parts stand in the first turn, or in every one where they say `turns: every`. Slots of a stream that reads the
    question hold what it gave for the words of their own turn. A sample without turns is not asked.

    Source: LLaMA-VID (ECCV 2024) trains so, with the place of its image tokens in every turn; EMO-LLaMA's data, FERID
    (2024), has one or two turns a sample.
    """

    task: str = "conversation"
    """The task that it asks for."""
    most: int | None = None
    """Turns that are trained at most, from the first on; null trains all of them."""

    def problems(self) -> list[tuple[str, str]]:
        return at_least(self, 1, "most")

    def count_turns(self, sample: Sample, task: str) -> int | None:
        """How many turns it lays out for a sample; None where the task is not its own."""
        if task != self.task:
            return None
        return len(sample.turns) if self.most is None else min(self.most, len(sample.turns))


def build(settings: Settings) -> PromptPiece:
    """Question and answer of the turn."""

    def conversation(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        if ask.task != settings.task or ask.turn >= len(sample.turns):
            return ()
        question, answer = sample.turns[ask.turn]
        return (*said(Segment(question)), *([Segment(answer, trained=True)] if answer else []))

    return conversation


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("prompt", "conversation", Settings, build, tiny={"task": "another"})]
