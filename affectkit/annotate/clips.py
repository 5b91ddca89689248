"""A sample on its way through annotators: what may be known of it, what was found, how it ended, its items. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from affectkit.annotate.plan import ESTIMATES, GIVEN, PERSON, AnnotationPlan, Input, main_finding
from affectkit.annotators import FoundValue, Reject
from affectkit.files import Json, plain
from affectkit.sample import Sample

BOX = "face_box"
"""The fact that says where a face is."""


@dataclass
class Clip:
    """A sample on its way: what may be known of it, and what was found."""

    sample: Sample
    split: str
    blind: Sample
    """The sample without its label, answers, facts and all else that somebody said of it."""
    key: str = ""
    """All of its files that views look at, by content."""
    findings: dict[str, dict[str, FoundValue]] = field(default_factory=dict)
    """By annotator, then by finding."""
    rejected: tuple[str, Reject] | None = None
    """The annotator that rejected it, and why."""
    failed: tuple[str, str] | None = None
    """The annotator whose model did not reply, or which raised, and what was said; asked about again next time."""
    todo: str = ""
    """The annotator that had not come to it when the run ended."""

    @property
    def live(self) -> bool:
        """Whether annotators still look at it."""
        return not (self.rejected or self.failed or self.todo)


def media_of(sample: Sample) -> dict[str, Path]:
    """Its files, by what they are."""
    return {kind: Path(path) for kind in ("video", "image", "audio") if (path := getattr(sample, kind)) is not None}


def blinded(sample: Sample) -> Sample:
    """A sample as annotators may see it: its media, its words, who it is, where its face is, and what a network estimated of it.
    Whoever drew a box, it says where to look, as a set of cropped faces does, and not what is to be seen."""
    known = {name: sample.fact(name) for name in (PERSON, BOX)}
    facts = {name: fact for name, fact in known.items() if fact.value is not None}
    facts |= {name: fact for name in ESTIMATES if (fact := sample.fact(name)).origin == "estimate"}
    return replace(sample, label=None, labels={}, numbers={}, answers={}, turns=(), facts=facts, features={})


@dataclass(frozen=True)
class Outcome:
    """What an annotation came to."""

    clips: Sequence[Clip]
    calls: int
    cost: float
    kept: Mapping[str, int]
    """By annotator, how many answers were there from before."""
    made: Mapping[str, int]
    """By annotator, how many were made now."""
    seconds: float
    stopped: str = ""
    """Why it ended before all was done; empty where all was."""


def found_value(clip: Clip, ref: Input) -> Json:
    """What fills a port that is neither view nor clip: a finding's value, a fact's (the person's as a word), or the label where
    it is given."""
    if ref.annotator:
        found = clip.findings.get(ref.annotator, {}).get(ref.finding)
        return None if found is None else found.value
    if ref.fact == GIVEN:
        return clip.sample.label
    known = clip.blind.fact(ref.fact).value
    return None if known is None else str(known) if ref.fact == PERSON else plain(known)


def item_values(plan: AnnotationPlan, clip: Clip) -> list[dict[str, Json]]:
    """The instruction items of a clip that was not rejected: those whose findings are there."""
    found: list[dict[str, Json]] = []
    for name, settings in plan.items.items() if clip.live else ():
        annotator, finding = main_finding(plan, settings.answer or settings.turns)
        one = clip.findings.get(annotator, {}).get(finding)
        if one is None or one.value in (None, "", []):
            continue
        asked = {"question": settings.question} if settings.question else {}
        found.append({"name": name, "task": settings.task, **asked, "answer" if settings.answer else "turns": one.value,
                      "from": f"{annotator}.{finding}"})  # fmt: skip
    return found
