"""A sentence on the person's age, gender and race, from labels or from a network's estimates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from affectkit_plugins.prompts._words import said, speaks

from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Fact, Sample

LABELS = "labels"


@dataclass(frozen=True)
class Settings:
    """A handcrafted sentence on the person's age, gender and race, as far as they are known.

    What is missing is not said, and nothing is said where nothing is known. Labels are never filled up with
    estimates, nor estimates with labels, and skin tone is never taken for race. `predict` leaves the sentence
    out unless it is asked for; random dropping in training keeps the model able to do without.

    Source: EMO-LLaMA (2024) puts age, gender and race into a handcrafted prompt; the wording is ours.
    """

    states_demographics: ClassVar[bool] = True
    """Reports say that prompts may have stated age, gender or race."""
    source: str = LABELS
    """Where the facts come from: `labels`, or the address of a step that estimates them, such as
    `priors.net`."""
    fields: tuple[Literal["age", "gender", "race"], ...] = ("age", "gender", "race")
    """Which of them may be said, in this order."""
    threshold: float = 0.5
    """The least probability with which an estimate is said; one without a probability counts as 0."""
    drop: float = 0.1
    """Share of training samples whose sentence is left out at random."""
    before: str = "Subject: "
    """What stands before the list."""
    separator: str = ", "
    """What stands between its entries."""
    after: str = "."
    """What stands after it."""
    turns: Literal["first", "every"] = "first"
    """Whether it stands in the first turn of a conversation, or in each."""
    task: str = ""
    """The only task in which it stands; empty for every task."""

    def problems(self) -> list[tuple[str, str]]:
        shares = (("threshold", self.threshold), ("drop", self.drop))
        found = [(n, f"must be between 0 and 1, got {v}") for n, v in shares if not 0 <= v <= 1]
        twice = len(set(self.fields)) < len(self.fields)
        return found + ([("fields", "names a field twice")] if twice else [])

    def reads(self) -> tuple[str, ...]:
        """Addresses of the steps whose estimates it reads."""
        return () if self.source == LABELS else (self.source,)


def build(settings: Settings) -> PromptPiece:
    """The sentence."""

    def age_gender_race(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        if not ask.demographics or not speaks(settings.task, settings.turns, ask):
            return ()
        if ask.phase == "train" and ask.draw("age_gender_race").random() < settings.drop:
            return ()
        known = _facts(settings, sample, ask)
        words = [w for w in (_word(name, known.get(name), settings.threshold) for name in settings.fields) if w]
        return said(settings.before + settings.separator.join(words) + settings.after) if words else ()

    return age_gender_race


def _facts(settings: Settings, sample: Sample, ask: Ask) -> Mapping[str, Fact]:
    """The facts of one origin: what somebody annotated, or what that step estimated."""
    if settings.source == LABELS:
        return {name: fact for name, fact in sample.facts.items() if fact.origin == "label"}
    estimates = ask.estimates.get(settings.source, {})
    return {name: fact for name, fact in estimates.items() if fact.origin == "estimate"}


def _word(name: str, fact: Fact | None, threshold: float) -> str:
    """What to say of one fact, or nothing: it is missing, unsure, or no single word."""
    if fact is None or fact.per_frame or not isinstance(fact.value, str | int | float):
        return ""
    if fact.origin == "estimate" and (fact.probability or 0.0) < threshold:
        return ""
    word = str(fact.value).strip()
    return f"{word} years old" if name == "age" and word[:1].isdigit() and word[-1] in "0123456789+" else word


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("prompt", "age_gender_race", Settings, build)]
