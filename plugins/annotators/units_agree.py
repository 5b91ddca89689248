"""Whether a label's action units are seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from affectkit_plugins._values import at_least

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.errors import InputError
from affectkit.pieces import Piece, Port, hookimpl

RULES: dict[str, tuple[int, ...]] = {
    "happy": (6, 12, 14),
    "angry": (4, 5, 7, 10, 17, 23),
    "worried": (20, 28),
    "surprise": (1, 2, 5, 26),
    "sad": (1, 4, 14, 15),
    "fear": (1, 2, 4, 5, 7, 20, 26),
    "doubt": (25,),
    "contempt": (10, 12, 15, 17),
    "disgust": (9, 15),
    "neutral": (),
}
"""By emotion, the units of which some are to be seen."""
OTHERS = {"contempt": (10, 12, 14, 17)}
"""Where MER-Factory's units are other ones."""
SAME = {
    "happiness": "happy", "joy": "happy", "joyful": "happy", "anger": "angry", "sadness": "sad", "worry": "worried",
    "surprised": "surprise", "fearful": "fear", "disgusted": "disgust", "contemptuous": "contempt", "doubtful": "doubt",
    "calm": "neutral",
}  # fmt: skip
"""Other words for the same emotions."""


@dataclass(frozen=True)
class Settings:
    """Rejects clips whose action units speak against their label: the filter of pseudo labels in Emotion-LLaMA's MERR and in
    MER-Factory. The tables were read off their data and code: of MERR's fine-grained clips 100 % of happy ones keep to them, 92 %
    and more of angry, worried, surprised and afraid ones, 80 % of doubt, 44 % of contempt. Neutral needs no unit.

    `units` are those of the label that are seen, with their intensities, `score` their mean (0 for neutral).
    """

    rule: Literal["merr", "mer_factory"] = "merr"
    """merr: one of the label's units is enough (`fewest`); mer_factory: half of them. Both count a unit from `least` on."""
    fewest: int = 1
    """For `merr`: how many of the label's units are to be seen, or all where it has fewer."""
    least: float = 0.8
    """Intensity from which a unit counts, on FACS' scale of 0 to 5 (MER-Factory's own 0.8)."""
    rules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Other units for a label, or those of one that has none here (`{pain: [AU04, AU07, AU09]}`); an empty list needs none."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        from affectkit_plugins.annotators._units import name_of

        found = at_least(self, 1, "fewest") + at_least(self, 0, "least")
        for name in (one for names in self.rules.values() for one in names):
            try:
                name_of(name)
            except InputError as error:
                found.append(("rules", error.problems[0].what))
        return found

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        yield {"label": "happy", "units": {"AU06": 1.2, "AU12": 2.5, "AU25": 0.9}}, ""
        yield {"label": "anger", "units": {"AU12": 2.5}}, ""
        yield {"label": "neutral", "units": {}}, ""


def build(settings: Settings) -> Agree:
    """The annotator."""
    return Agree(settings)


class Agree:
    """See `Settings`."""

    def __init__(self, settings: Settings) -> None:
        from affectkit_plugins.annotators._units import name_of

        self.settings = settings
        table = RULES if settings.rule == "merr" else {**RULES, **OTHERS}
        self.rules = {label: [name_of(unit) for unit in units] for label, units in {**table, **settings.rules}.items()}

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`units` and `score` of each row, or why it is rejected. Raises InputError for units of no such name."""
        return [self._one(str(row["label"]), row["units"]) for row in rows]

    def _one(self, label: str, value: object) -> Findings | Reject:
        from affectkit_plugins.annotators._units import at_once

        word = label.strip().casefold()
        word = word if word in self.rules else SAME.get(word, word)
        if word not in self.rules:
            return Reject("no action units are known of the label", label)
        rule, seen = self.rules[word], at_once(value)
        strong = {unit: seen[unit] for unit in rule if seen.get(unit, 0.0) >= self.settings.least and seen.get(unit)}
        needed = min(self.settings.fewest, len(rule)) if self.settings.rule == "merr" else len(rule) / 2
        if len(strong) < needed:
            own = ", ".join(unit for unit, strength in seen.items() if strength >= self.settings.least) or "none"
            return Reject("the action units speak against the label", f"{label}: {own}")
        mean = sum(strong.values()) / len(strong) if strong else 0.0
        return {"units": {unit: round(v, 4) for unit, v in strong.items()}, "score": round(mean, 4)}


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("label", "finding", "an emotion label"), Port("units", "finding", "action units, best at the peak"))
    return [Piece("annotator", "units_agree", Settings, build, ports=ports, tells=("units", "score"))]
