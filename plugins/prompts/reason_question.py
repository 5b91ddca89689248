"""The question for an explanation, and its answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from affectkit_plugins._values import at_least
from affectkit_plugins.prompts._words import said

from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Sample

POOL = (
    "What emotion does this person show, and which signs in the face, the voice and the words tell you so?",
    "Describe how this person feels and name the facial, vocal and spoken evidence for it.",
    "Look at the face, listen to the voice, read the words: what do they say about the person's emotion?",
    "Explain which emotion is expressed here and what in expression, tone and wording gives it away.",
    "Which clues, seen, heard or spoken, reveal the emotional state of this person, and what is that state?",
)


@dataclass(frozen=True)
class Settings:
    """A question for the emotion and the clues that show it; the answer is trained where the sample has one.

    Emotion-LLaMA draws such a question from five paraphrases; these five are ours.
    """

    wordings: tuple[str, ...] = POOL
    """The paraphrases: in training one is drawn, otherwise the first stands."""
    clean: Literal["none", "blip"] = "none"
    """What is done to the answer: nothing, or what BLIP does to captions (lower case, most punctuation to
    blanks)."""
    most_words: int = 200
    """Words that `clean: blip` leaves at most."""
    task: str = "reason"
    """The task that it asks for, and the name of the answer in the data unless `answer` says another."""
    answer: str = ""
    """Name of the answer in the data, where it is not the task's."""

    def problems(self) -> list[tuple[str, str]]:
        found = [] if self.wordings else [("wordings", "must have at least one wording")]
        return found + at_least(self, 1, "most_words")


def build(settings: Settings) -> PromptPiece:
    """Question and answer."""

    def reason_question(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        if ask.task != settings.task:
            return ()
        wording = settings.wordings[0]
        if ask.phase == "train":
            wording = ask.draw("reason_question").choice(settings.wordings)
        answer = sample.answers.get(settings.answer or settings.task, "")
        answer = blip(answer, settings.most_words) if settings.clean == "blip" else answer
        return (*said(wording), Segment(answer, trained=True)) if answer else said(wording)

    return reason_question


def blip(caption: str, most: int) -> str:
    """A caption as Emotion-LLaMA trains it: lower case, `. ! " ( ) * # : ; ~` to blanks, at most `most`
    words."""
    words = re.sub(r'[.!"()*#:;~]', " ", caption.lower()).split()
    return " ".join(words[:most])


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("prompt", "reason_question", Settings, build)]
