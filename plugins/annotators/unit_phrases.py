"""Action units in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.errors import InputError
from affectkit.pieces import Piece, Port, hookimpl

PHRASES: dict[str, tuple[str, ...]] = {
    "AU01": ("the inner brows go up", "the inner ends of the brows are lifted", "the brows slant upwards in the middle",
             "the middle of the forehead is creased"),
    "AU02": ("the outer brows go up", "the outer ends of the brows are lifted", "the brows arch at their ends"),
    "AU04": ("the brows are lowered", "the brows are drawn together", "a crease stands between the brows", "the person frowns"),
    "AU05": ("the upper lids are raised", "the eyes are opened wide", "the white above the iris shows", "the eyes widen"),
    "AU06": ("the cheeks are raised", "the cheeks push up under the eyes", "the corners of the eyes wrinkle",
             "crow's feet show beside the eyes"),
    "AU07": ("the lids are tightened", "the eyes are narrowed", "the lower lids are tense", "the eyes are pinched"),
    "AU09": ("the nose is wrinkled", "creases run over the bridge of the nose", "the nose is pulled up"),
    "AU10": ("the upper lip is raised", "the upper lip is drawn up", "the upper lip bends upwards",
             "the folds beside the nose deepen"),
    "AU12": ("the corners of the mouth are pulled up", "the lip corners rise towards the cheeks", "the mouth smiles",
             "the person smiles"),
    "AU14": ("dimples show beside the mouth", "the corners of the mouth are pressed in", "the mouth's corners are tucked in"),
    "AU15": ("the corners of the mouth are pulled down", "the mouth turns down", "the lip corners droop", "the mouth sags"),
    "AU17": ("the chin is raised", "the chin is bunched", "the lower lip is pushed up by the chin", "the chin wrinkles"),
    "AU20": ("the lips are stretched sideways", "the mouth is drawn wide", "the lip corners are pulled back flat"),
    "AU23": ("the lips are tightened", "the lips are narrow and firm", "the mouth is tense", "the lips are drawn thin"),
    "AU25": ("the lips are parted", "the mouth is slightly open", "the lips come apart", "the teeth can be seen"),
    "AU26": ("the jaw drops", "the jaw hangs", "the mouth falls open", "the lower jaw is let down"),
    "AU28": ("the lips are sucked in", "the lips are rolled inwards", "the lips vanish between the teeth"),
    "AU45": ("the eyes blink", "the eyes are shut for a moment", "the lids close and open"),
}  # fmt: skip
"""By unit, ways to say it: our own, after the names of FACS."""


@dataclass(frozen=True)
class Settings:
    """Action units in words, one phrase each, drawn from its list: the visual clues of Emotion-LLaMA's MERR (its step 5; the
    phrases are our own). The same units draw the same phrases, in any order of the data.

    `phrases` are aligned with the units, `text` joins them. Units without phrases are passed over; a clip without any other is
    rejected.
    """

    seed: int = 0
    """Another number draws other phrases."""
    strongest: int | None = None
    """Only so many units, those of the largest intensity; null tells all."""
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Other phrases for a unit (`{AU12: [smiling, grinning]}`); an empty list passes it over."""
    joined: str = ", "
    """What stands between the phrases in `text`."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        from affectkit_plugins.annotators._units import name_of

        found = []
        for name in self.words:
            try:
                name_of(name)
            except InputError as error:
                found.append(("words", error.problems[0].what))
        few = self.strongest is not None and self.strongest < 1
        return found + ([("strongest", f"must be at least 1, got {self.strongest}")] if few else [])

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        yield {"units": {"AU06": 1.2, "AU12": 2.5}}, ""
        yield {"units": ["AU04", "AU07"]}, ""


def build(settings: Settings) -> Phrases:
    """The annotator."""
    return Phrases(settings)


class Phrases:
    """See `Settings`."""

    def __init__(self, settings: Settings) -> None:
        from affectkit_plugins.annotators._units import name_of

        self.settings = settings
        self.words = {**PHRASES, **{name_of(name): tuple(words) for name, words in settings.words.items()}}

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`text`, `phrases` and `units` of each row, or why it is rejected. Raises InputError for units of no such name."""
        return [self._one(row["units"]) for row in rows]

    def _one(self, value: object) -> Findings | Reject:
        from affectkit_plugins.annotators._units import at_once

        found = {name: strength for name, strength in at_once(value).items() if self.words.get(name)}
        ranked = sorted(found, key=lambda name: (-found[name], name))[: self.settings.strongest]
        units = [name for name in found if name in ranked]
        if not units:
            return Reject("no action unit to tell")
        content = json.dumps([self.settings.seed, sorted(found.items())])
        phrases = [self._drawn(name, content) for name in units]
        text = self.settings.joined.join(phrases)
        return {"text": text[:1].upper() + text[1:] + ".", "phrases": phrases, "units": units}

    def _drawn(self, name: str, content: str) -> str:
        """One of a unit's phrases, by a hash of all that was found: no order of calls changes it."""
        drawn = hashlib.blake2b(f"{name}\0{content}".encode(), digest_size=8).digest()
        return self.words[name][int.from_bytes(drawn, "little") % len(self.words[name])]


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("units", "finding", "action units, best those at the peak"),)
    tells = ("text", "phrases", "units")
    return [Piece("annotator", "unit_phrases", Settings, build, ports=ports, tells=tells)]
