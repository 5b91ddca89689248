"""A sentence on the person's age, gender and race, from labels or from a network's estimates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from affectkit_plugins._values import once
from affectkit_plugins.prompts._words import said, speaks

from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Fact, Sample

LABELS = "labels"
Name = Literal["age", "gender", "race"]
FIELDS: tuple[Name, ...] = get_args(Name)
GAP = re.compile(r"\{(\w+)\}")
PIECE = re.compile(r"\[([^\[\]]*\{\w+\}[^\[\]]*)\]|\{(\w+)\}")
"""A stretch in brackets that holds a gap, or a gap alone."""


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
    sources: dict[str, str] = field(default_factory=dict)
    """Fields whose facts come from elsewhere, each with its source (`{race: labels}`)."""
    fields: tuple[Name, ...] = FIELDS
    """Which of them may be said, in this order."""
    threshold: float = 0.5
    """The least probability with which an estimate is said; one without a probability counts as 0."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """Fields with another threshold (`{race: 0.8}`)."""
    drop: float = 0.1
    """Share of training samples whose sentence is left out at random."""
    drops: dict[str, float] = field(default_factory=dict)
    """Share of training samples in which a field alone is taken for missing at random (`{race: 0.3}`)."""
    sentence: str | None = None
    """A whole sentence with gaps `{age}`, `{gender}` and `{race}` instead of the list; a stretch in square brackets is left
    out where a gap in it is missing (`The person[ is {age} years old][, {gender}].`), all of it where another gap is."""
    unknown: dict[str, str] = field(default_factory=dict)
    """What is said of a missing field where another one is known (`{age: "of unknown age"}`)."""
    words: dict[str, str] = field(default_factory=dict)
    """What is said instead of a word of the data or the network (`{male: man, "70+": over seventy}`)."""
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
        """Values that the types allow and that mean nothing."""
        shares = [("threshold", self.threshold), ("drop", self.drop)]
        shares += [("thresholds", v) for v in self.thresholds.values()] + [("drops", v) for v in self.drops.values()]
        found = [(n, f"must be between 0 and 1, got {v}") for n, v in shares if not 0 <= v <= 1]
        found += once(self, "field", "fields")
        for name in ("sources", "thresholds", "drops", "unknown"):
            found += [(name, f"{k!r} is none of {', '.join(FIELDS)}") for k in getattr(self, name) if k not in FIELDS]
        return found + [("sentence", what) for what in _mistakes(self)]

    def reads(self) -> dict[str, tuple[str, ...]]:
        """Addresses of the steps whose estimates it reads, each with the fields."""
        used = {name: self.sources.get(name, self.source) for name in self.fields}
        steps = [source for source in dict.fromkeys(used.values()) if source != LABELS]
        return {step: tuple(name for name, source in used.items() if source == step) for step in steps}


def _mistakes(settings: Settings) -> list[str]:
    """What is wrong with the sentence."""
    if settings.sentence is None:
        return []
    gaps = GAP.findall(settings.sentence)
    strange = [g for g in gaps if g not in FIELDS]
    if strange or not gaps:
        known = ", ".join(f"{{{name}}}" for name in FIELDS)
        return [f"knows no gap {{{strange[0]}}}, only {known}" if strange else f"has none of the gaps {known}"]
    if settings.sentence.count("[") != settings.sentence.count("]"):
        return ["has a bracket without its other half"]
    bare = {m[2] for m in PIECE.finditer(settings.sentence) if m[2]} - {*settings.fields, *settings.unknown}
    return [f"wants {{{g}}}, which `fields` leaves out: it would never be said" for g in sorted(bare)]


def build(settings: Settings) -> PromptPiece:
    """The sentence."""

    def age_gender_race(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        if not ask.demographics or not speaks(settings.task, settings.turns, ask):
            return ()
        if ask.phase == "train" and ask.draw("age_gender_race").random() < settings.drop:
            return ()
        known: dict[str, str] = {
            name: word for name in settings.fields if (word := _known(settings, name, sample, ask))
        }
        return said(Segment(_sentence(settings, known))) if known else ()

    return age_gender_race


def _known(settings: Settings, name: str, sample: Sample, ask: Ask) -> str:
    """The word for one field, or nothing; `ask.stated` goes before everything that is known."""
    share = settings.drops.get(name, 0.0) if ask.phase == "train" else 0.0
    if share and ask.draw(f"age_gender_race {name}").random() < share:
        return ""
    if ask.stated is not None:
        return ask.stated.get(name, "").strip()
    return _word(_fact(settings, name, sample, ask), settings.thresholds.get(name, settings.threshold))


def _fact(settings: Settings, name: str, sample: Sample, ask: Ask) -> Fact | None:
    """The fact of one origin: what somebody annotated, or what that step estimated."""
    source = settings.sources.get(name, settings.source)
    facts: Mapping[str, Fact] = sample.facts if source == LABELS else ask.estimates.get(source, {})
    fact = facts.get(name)
    return fact if fact is not None and fact.origin == ("label" if source == LABELS else "estimate") else None


def _word(fact: Fact | None, threshold: float) -> str:
    """The word of a fact, or nothing: it is missing, unsure, or no single word."""
    if fact is None or fact.per_frame or not isinstance(fact.value, str | int | float):
        return ""
    if fact.origin == "estimate" and (fact.probability or 0.0) < threshold:
        return ""
    return str(fact.value).strip()


def _sentence(settings: Settings, known: Mapping[str, str]) -> str:
    """The list, or the recipe's own sentence; empty where that wants a word that nobody knows."""
    missing = {n: settings.unknown[n] for n in settings.fields if n not in known and n in settings.unknown}
    if settings.sentence is None:
        told = {name: _listed(settings, name, word) for name, word in known.items()} | missing
        return settings.before + settings.separator.join(told[n] for n in settings.fields if n in told) + settings.after
    told = {name: settings.words.get(word, word) for name, word in known.items()} | missing
    if any(m[2] and m[2] not in told for m in PIECE.finditer(settings.sentence)):
        return ""

    def filled(match: re.Match[str]) -> str:
        if match[2]:
            return told[match[2]]
        whole = all(gap in told for gap in GAP.findall(match[1]))
        return GAP.sub(lambda gap: told[gap[1]], match[1]) if whole else ""

    return PIECE.sub(filled, settings.sentence)


def _listed(settings: Settings, name: str, word: str) -> str:
    """A word as an entry of the list: a bare age gets its unit."""
    if word in settings.words:
        return settings.words[word]
    return f"{word} years old" if name == "age" and word[:1].isdigit() and word[-1] in "0123456789+" else word


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("prompt", "age_gender_race", Settings, build)]
