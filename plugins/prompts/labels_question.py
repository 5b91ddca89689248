"""The question for all emotion labels that fit, and its answer: a list of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from affectkit_plugins.prompts._words import fill, offered, said

from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Sample

GAP = "{labels}"


@dataclass(frozen=True)
class Settings:
    """A question whose answer is every label that fits; the trained answer lists them in the set's order.

    A sample with one label only answers with that one. Where labels have shares (votes of annotators), `least` says which
    count; the heaviest always does. The wording is ours.
    """

    wording: str = "Which emotions does this person show? Answer with all that fit of: {options}."
    """The question, with {options} where the labels go (it may do without)."""
    answer: str = "{labels}"
    """The answer, with {labels} where the labels go."""
    labels: tuple[str, ...] = ()
    """The labels to offer; empty for those of the data."""
    order: Literal["data", "shuffled"] = "data"
    """Whether the labels are offered as they are ordered, or in training in an order of chance."""
    separator: str = ", "
    """What stands between labels, in the question and in the answer."""
    least: float = 0.0
    """The smallest weight of a label that is answered."""
    task: str = "labels"
    """The task that it asks for."""

    def problems(self) -> list[tuple[str, str]]:
        found = [] if GAP in self.answer else [("answer", f"must have {GAP} where the labels go")]
        return found + ([] if self.least >= 0 else [("least", f"must be at least 0, got {self.least:g}")])


def build(settings: Settings) -> PromptPiece:
    """Question and answer. Raises InputError where labels are to be offered and none are known."""

    def labels_question(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        if ask.task != settings.task:
            return ()
        labels = offered(settings, sample, ask, "labels_question")
        question = said(fill(settings.wording, options=settings.separator.join(labels)))
        answer = answered(sample, settings.labels or ask.labels, settings.least)
        if not answer:
            return question
        return (*question, fill(settings.answer, trained=True, labels=settings.separator.join(answer)))

    return labels_question


def answered(sample: Sample, order: tuple[str, ...], least: float) -> list[str]:
    """The labels of a sample that its answer lists, in an order; those outside it come last."""
    weights = sample.labels or ({sample.label: 1.0} if sample.label is not None else {})
    most = max(weights.values(), default=0.0)
    chosen = [label for label, weight in weights.items() if weight > 0 and (weight >= least or weight == most)]
    return sorted(chosen, key=lambda label: order.index(label) if label in order else len(order))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("prompt", "labels_question", Settings, build)]
