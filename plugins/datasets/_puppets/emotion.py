"""What an emotion does to a face and to a voice: action units, manners of speaking, and their course in time."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from . import EMOTIONS as EMOTIONS

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 20, 23, 25, 26, 45)
"""The FACS action units that a puppet's face has (45 is the blink)."""
UNIT_NAMES = tuple(f"AU{unit}" for unit in UNITS)

PROTOTYPES: dict[str, tuple[dict[int, float], dict[int, float]]] = {
    "happy": ({6: 0.9, 12: 1.0}, {25: 0.6}),
    "sad": ({1: 1.0, 4: 0.5, 15: 1.0}, {17: 0.6}),
    "neutral": ({}, {}),
    "angry": ({4: 1.0, 7: 0.8, 23: 1.0}, {5: 0.5, 10: 0.4, 17: 0.5}),
    "surprise": ({1: 1.0, 2: 1.0, 5: 0.9, 26: 0.9, 25: 0.5}, {}),
    "disgust": ({9: 1.0, 10: 0.8}, {15: 0.5, 17: 0.6}),
    "fear": ({1: 0.9, 2: 0.7, 4: 0.9, 5: 1.0, 20: 1.0, 25: 0.5}, {7: 0.4, 26: 0.4}),
}
"""Emotion -> units that always come, and units that come in half of the clips, each with its strength
(the usual FACS prototypes; the same rules choose the clips of MERR, the data set of Emotion-LLaMA)."""

UNIT_WORDS: dict[int, str] = {
    1: "the inner brows are raised",
    2: "the outer brows are raised",
    4: "the brows are drawn together",
    5: "the upper eyelids are raised",
    6: "the cheeks are raised",
    7: "the eyelids are tightened",
    9: "the nose is wrinkled",
    10: "the upper lip is raised",
    12: "the lip corners are pulled up",
    15: "the lip corners are pulled down",
    17: "the chin is pushed up",
    20: "the lips are stretched sideways",
    23: "the lips are pressed tight",
    25: "the lips are parted",
    26: "the jaw has dropped",
}
NEUTRAL_FACE = "the face is at rest"


@dataclass(frozen=True)
class Manner:
    """How somebody speaks; pitch is in semitones around the speaker's own, so that its level says nothing."""

    rate: float = 4.4
    """Syllables a second."""
    gap: float = 0.12
    """Share of a syllable that is silent."""
    slope: float = -0.4
    """Semitones from the first syllable to the last."""
    swing: float = 0.0
    """Height of the rises and falls that run over several syllables."""
    late: float = 0.0
    """Height of one rise near the end."""
    drop: float = 0.3
    """How far pitch falls within each syllable."""
    tremor: float = 0.0
    """Depth of an 8 Hz tremor of pitch (and, in proportion, of energy)."""
    attack: float = 0.040
    """Seconds in which a syllable gets loud."""
    decay: float = 0.5
    """How much of its energy a syllable loses before its end."""
    fade: float = 2.0
    """Decibels lost from start to end."""
    breath: float = 0.06
    """Share of breath in the voice."""
    creak: float = 0.0
    """Irregularity of the vocal folds' periods."""


MANNERS: dict[str, Manner] = {
    "neutral": Manner(),
    "happy": Manner(rate=5.6, slope=0.5, swing=9.0, drop=-0.5),
    "sad": Manner(rate=2.8, gap=0.22, slope=-6.0, drop=0.8, attack=0.100, fade=14.0, breath=0.25),
    "angry": Manner(rate=5.0, gap=0.30, slope=-0.5, drop=6.0, attack=0.006, decay=2.2, fade=0.0),
    "surprise": Manner(rate=4.6, slope=0.0, late=13.0, drop=0.0, fade=-3.0),
    "disgust": Manner(rate=2.9, gap=0.25, slope=-1.0, drop=6.5, attack=0.070, creak=1.0, decay=1.2),
    "fear": Manner(rate=5.6, gap=0.10, slope=1.5, tremor=1.9, drop=0.0, breath=0.15, fade=-1.0),
}
VOICE_WORDS: dict[str, str] = {
    "happy": "the voice is lively and swings up and down",
    "sad": "the voice is slow, soft and sinking",
    "neutral": "the voice is even and flat",
    "angry": "the voice is sharp and hits every syllable",
    "surprise": "the voice jumps up at the end",
    "disgust": "the voice is drawn out and creaks as it falls",
    "fear": "the voice is fast and trembles",
}


def manner_of(emotion: str, strength: float) -> Manner:
    """The manner between neutral (0) and the emotion's own (1)."""
    rest, full = MANNERS["neutral"], MANNERS[emotion]
    mixed = {
        f.name: getattr(rest, f.name) + strength * (getattr(full, f.name) - getattr(rest, f.name))
        for f in fields(Manner)
    }
    return Manner(**mixed)


MANNER_NAMES: tuple[str, ...] = tuple(f.name for f in fields(Manner))
"""What the fact `manner` holds, in this order."""


def measured(manner: Manner) -> list[float]:
    """How a voice is used: each part of the manner as its distance from neutral, 1 being the furthest of all emotions."""
    rest = MANNERS["neutral"]
    out = []
    for name in MANNER_NAMES:
        far = max(abs(getattr(m, name) - getattr(rest, name)) for m in MANNERS.values())
        out.append((getattr(manner, name) - getattr(rest, name)) / (far or 1.0))
    return out


def ramp(times: np.ndarray, start: float, end: float) -> np.ndarray:
    """A smooth step from 0 at `start` to 1 at `end` (seconds)."""
    x = np.clip((times - start) / max(end - start, 1e-6), 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


@dataclass(frozen=True)
class Course:
    """Action units over time, for the two halves of the face: float [frames, units], 0 to 1."""

    left: np.ndarray
    right: np.ndarray
    shown: tuple[int, ...]
    """Units that the emotion raised, strongest first."""

    @property
    def both(self) -> np.ndarray:
        """The mean of both halves: what is recorded."""
        return (self.left + self.right) / 2


def action_units(emotion: str, times: np.ndarray, mouth: np.ndarray, rng: np.random.Generator) -> Course:
    """The course of all units: the emotion's onset, apex and offset; talking (`mouth`, 0 to 1 a frame); blinks.

    Small movements that mean nothing come in every clip, with the neutral ones too.
    """
    always, sometimes = PROTOTYPES[emotion]
    strength = rng.uniform(0.6, 1.0)
    levels = {unit: level * strength * rng.uniform(0.85, 1.1) for unit, level in always.items()}
    levels |= {u: level * strength * rng.uniform(0.8, 1.1) for u, level in sometimes.items() if rng.random() < 0.5}
    end = float(times[-1])
    rise, hold, fall = rng.uniform(0.15, 0.35), rng.uniform(0.4, 0.65), rng.uniform(0.15, 0.4)
    start = rng.uniform(0.0, max(end - rise - hold * end, 0.05))
    values = np.zeros((len(times), len(UNITS)))
    for unit, level in levels.items():
        begin = start + rng.uniform(0.0, 0.08)
        apex = begin + rise
        leave = apex + hold * end * rng.uniform(0.8, 1.1)
        values[:, UNITS.index(unit)] = level * ramp(times, begin, apex) * (1 - ramp(times, leave, leave + fall))
    _fidget(values, times, rng)
    talk = rng.uniform(0.6, 1.0) * mouth * (1 - 0.9 * values[:, UNITS.index(23)])
    values[:, UNITS.index(25)] += 0.55 * talk
    values[:, UNITS.index(26)] += 0.25 * talk
    _blink(values, times, rng)
    skew = rng.uniform(-0.12, 0.12, len(UNITS))
    skew[UNITS.index(45)] = 0.0
    shown = tuple(sorted(levels, key=lambda unit: -levels[unit]))
    return Course(np.clip(values * (1 + skew), 0, 1), np.clip(values * (1 - skew), 0, 1), shown)


def _fidget(values: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> None:
    """Two or three faint movements of any unit, at any time."""
    for _ in range(int(rng.integers(1, 4))):
        column = int(rng.integers(0, len(UNITS) - 3))
        begin = rng.uniform(0.0, times[-1])
        bump = ramp(times, begin, begin + 0.2) * (1 - ramp(times, begin + 0.35, begin + 0.6))
        values[:, column] += rng.uniform(0.03, 0.15) * bump


def _blink(values: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> None:
    """None to two blinks of a fifth of a second."""
    for _ in range(int(rng.integers(0, 3))):
        middle = rng.uniform(0.0, times[-1])
        values[:, UNITS.index(45)] += np.clip(1.25 - np.abs(times - middle) / 0.10, 0, 1)
