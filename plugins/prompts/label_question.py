"""The question for one of the emotion labels, and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from affectkit_plugins.prompts._words import fill, offered, said

from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Sample


@dataclass(frozen=True)
class Settings:
    """A question whose answer is one of the labels; the answer is trained where the label is known.

    EMO-LLaMA's category instructions and Emotion-LLaMA's label question are of this kind; the wording is
    ours.
    """

    wording: str = "Which emotion does this person show? Answer with one of: {options}."
    """The question, with {options} where the labels go (it may do without)."""
    answer: str = "{label}"
    """The answer, with {label} where the label goes."""
    labels: tuple[str, ...] = ()
    """The labels to offer; empty for those of the data."""
    order: Literal["data", "shuffled"] = "data"
    """Whether the labels are offered as they are ordered, or in training in an order of chance."""
    separator: str = ", "
    """What stands between the labels."""
    task: str = "label"
    """The task that it asks for."""

    def problems(self) -> list[tuple[str, str]]:
        return [] if "{label}" in self.answer else [("answer", "must have {label} where the label goes")]


def build(settings: Settings) -> PromptPiece:
    """Question and answer. Raises InputError where labels are to be offered and none are known."""

    def label_question(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        if ask.task != settings.task:
            return ()
        labels = offered(settings, sample, ask, "label_question")
        question = said(fill(settings.wording, options=settings.separator.join(labels)))
        if sample.label is None:
            return question
        return (*question, fill(settings.answer, trained=True, label=sample.label))

    return label_question


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("prompt", "label_question", Settings, build)]
