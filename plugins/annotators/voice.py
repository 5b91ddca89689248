"""How a voice sounds, measured from the signal, and in words against what the speaker usually sounds like."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.pieces import Piece, Port, hookimpl

MEASURES = ("pitch", "pitch_spread", "energy", "rate", "pauses")
"""What is measured: Hz, semitones, dB, peaks a second, share."""
WORDS = {
    "pitch": ("The voice is low", "The voice is high"),
    "pitch_spread": ("it is flat", "it moves up and down"),
    "energy": ("quiet", "loud"),
    "rate": ("slow", "fast"),
    "pauses": ("without pauses", "with pauses"),
}
"""What is said of a measure below and above the speaker's own mean."""


@dataclass(frozen=True)
class Measure:
    """Pitch, its spread, energy, rate and pauses of the sound, from the signal and without a model: median pitch by
    autocorrelation (Boersma 1993), energy in dB below full scale, peaks of energy a second of speech, share of pauses.
    A clip without a voice is rejected."""

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        import numpy as np

        from affectkit.raw import RawWave

        time = np.arange(16000) / 16000
        for pitch in (120.0, 220.0):
            wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 6))
            loud = 0.1 * (1 + 0.9 * np.sin(2 * np.pi * 4 * time))
            yield {"wave": RawWave((wave * loud).astype(np.float32), 16000)}, ""


def build_measure(settings: Measure) -> Any:
    """The annotator."""
    return _measured


def _measured(rows: Sequence[ClipRow]) -> list[Findings | Reject]:
    """The measures of each row."""
    from affectkit_plugins.annotators._voice_signal import measure

    found = (measure(row["wave"].samples, row["wave"].rate) for row in rows)
    return [Reject("no voice is heard") if one is None else {n: round(v, 4) for n, v in one.items()} for one in found]


@dataclass(frozen=True)
class Describe:
    """The measures of a voice in English, each against the mean of the same speaker's other clips: only what is at least `apart`
    of his own standard deviations away is said. A speaker of one clip is compared with everybody."""

    apart: float = 0.5
    """Standard deviations from the speaker's mean at which a measure is said."""
    usual: str = "The voice is as usual."
    """What is said where nothing is."""
    fewest: int = 3
    """Clips that a speaker needs to be compared with himself."""
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Other words for a measure, below and above the mean: `{energy: [soft, strong]}`."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = [("words", f"{n} is none of {', '.join(MEASURES)}, or has not two texts") for n, w in self.words.items()
                 if n not in MEASURES or len(w) != 2]  # fmt: skip
        found += [] if self.apart >= 0 else [("apart", f"must be at least 0, got {self.apart}")]
        return found + ([] if self.fewest >= 2 else [("fewest", f"must be at least 2, got {self.fewest}")])

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        for pitch in (100.0, 110.0, 180.0):
            row = {"pitch": pitch, "pitch_spread": 2.0, "energy": -20.0, "rate": 4.0, "pauses": 0.1}
            yield {**row, "person": "a"}, ""


def build_describe(settings: Describe) -> _Describer:
    """The annotator."""
    return _Describer(settings)


@dataclass(frozen=True)
class _Describer:
    settings: Describe

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`text` of each row, and `away`: each measure in standard deviations from the speaker's mean."""
        groups: dict[str, list[ClipRow]] = {}
        for row in rows:
            groups.setdefault(str(row["person"]), []).append(row)
        found: list[Findings | Reject] = []
        for row in rows:
            own = groups[str(row["person"])]
            among = own if row["person"] is not None and len(own) >= self.settings.fewest else rows
            away = {name: _away(row[name], [float(r[name]) for r in among]) for name in MEASURES}
            found.append({"text": self._text(away), "away": {n: round(v, 2) for n, v in away.items()}})
        return found

    def _text(self, away: dict[str, float]) -> str:
        words = {**WORDS, **self.settings.words}
        said = [words[name][away[name] > 0] for name in MEASURES if abs(away[name]) >= max(self.settings.apart, 1e-9)]
        if not said:
            return self.settings.usual
        first = said[0] if said[0][0].isupper() else f"The voice is {said[0].removeprefix('it is ')}"
        return f"{first}{', ' + ', '.join(said[1:]) if said[1:] else ''}."


def _away(value: float, among: Sequence[float]) -> float:
    spread = statistics.pstdev(among)
    return 0.0 if spread < 1e-9 else (float(value) - statistics.fmean(among)) / spread


@hookimpl
def affectkit_pieces() -> list[Piece]:
    wave = (Port("wave", "wave", "a view of the whole sound"),)
    measured = tuple(Port(name, "finding", f"the {name.replace('_', ' ')}") for name in MEASURES)
    who = Port("person", "fact", "who speaks", optional=True)
    return [
        Piece("annotator", "voice", Measure, build_measure, ports=wave, tells=MEASURES),
        Piece(
            "annotator",
            "voice_words",
            Describe,
            build_describe,
            ports=(*measured, who),
            tells=("text", "away"),
            per_batch=True,
        ),
    ]
