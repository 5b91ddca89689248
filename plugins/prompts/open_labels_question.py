"""The question for emotion words of any kind, and its answer: a fixed sentence that lists them."""

from __future__ import annotations

from dataclasses import dataclass

from affectkit_plugins.prompts._words import fill, said

from affectkit.labels.wheels import string_to_list
from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Sample

GAP = "{labels}"


@dataclass(frozen=True)
class Settings:
    """A question for every emotion word that fits, with no set to choose from; the answer lists them in a fixed sentence.

    The words are read from the sample's answer of this task, a list as text (`[happy, joyful]`). AffectGPT (Lian et al.,
    ICML 2025) asks and trains its open-vocabulary labels so; the wording is ours.
    """

    wording: str = "Which words name what this person feels?"
    """The question."""
    answer: str = "This person feels {labels}."
    """The trained answer, with {labels} where the words go."""
    separator: str = ", "
    """What stands between the words."""
    from_label: bool = False
    """Whether a sample without such a list, but with a label, answers with that one word; otherwise it has no answer."""
    task: str = "open_labels"
    """The task that it asks for, and the name of the list in the data."""

    def problems(self) -> list[tuple[str, str]]:
        return [] if GAP in self.answer else [("answer", f"must have {GAP} where the words go")]


def build(settings: Settings) -> PromptPiece:
    """Question and answer."""

    def open_labels_question(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        if ask.task != settings.task:
            return ()
        question = said(settings.wording)
        words = string_to_list(sample.answers.get(settings.task, ""))
        if not words and settings.from_label and sample.label is not None:
            words = [sample.label]
        if not words:
            return question
        return (*question, fill(settings.answer, trained=True, labels=settings.separator.join(words)))

    return open_labels_question


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("prompt", "open_labels_question", Settings, build)]
