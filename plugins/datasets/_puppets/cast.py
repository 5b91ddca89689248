"""Who plays: identities, and the plan of every clip. All of it follows from the seed, the split and the number."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from .emotion import EMOTIONS
from .voice import Speaker

SPLITS = ("train", "val", "test", "conflict")
_PEOPLE = {"train": 160, "val": 40, "test": 70, "conflict": 30}
"""Identities of each split; no two splits share one."""
_EVIDENCE = ("face", "voice", "words", "face", "voice", "all", "face", "voice", "words", "all")
"""Ten clips of an emotion: 3 by face, 3 by voice, 2 by words, 2 by all."""
_SHOWN = ("face", "voice", "words", "all")
"""The order in which a few clips for people show the evidence; four and seven emotions meet in all ways in 28 clips."""
_CONFLICTS = (
    ("face", "voice"), ("voice", "words"), ("words", "face"), ("face", "words"), ("voice", "face"), ("words", "voice"),
)  # fmt: skip
"""In the conflict split: which modality tells the truth, and which one misleads."""
AGES = ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")
GENDERS = ("female", "male")
SKIN_TONES = tuple(f"monk {number}" for number in range(1, 11))


@dataclass(frozen=True)
class Person:
    """An identity: what stays from clip to clip. Numbers without a unit are 0 to 1 unless said otherwise."""

    name: str
    age: int
    """Index into `AGES`."""
    gender: int
    """Index into `GENDERS`."""
    tone: int
    """Index into `SKIN_TONES`."""
    hair: int
    """Index of the hair's colour."""
    style: int
    """Index of the hair's cut: 0 bald, 1 short, 2 fringe, 3 long, 4 curly."""
    grey: float
    jaw: float
    """Width of the jaw, about 1."""
    eyes: float
    """Size of the eyes, about 1."""
    nose: float
    """Width of the nose, about 1."""
    lips: float
    """Fullness of the lips, about 1."""
    brow: float
    """Thickness of the brows, about 1."""
    spread: float
    """Distance of the eyes, about 1."""
    iris: int
    glasses: bool
    beard: float
    """0 shaven to 1 full."""
    clothes: tuple[int, int, int]
    voice: Speaker


@dataclass(frozen=True)
class ClipPlan:
    """One clip: who, and what each modality shows."""

    name: str
    split: str
    number: int
    seed: int
    label: str
    evidence: str
    face: str
    voice: str
    words: str
    misleads: str = ""
    """The modality that shows another emotion (conflict split)."""
    misleading: str = ""
    """That emotion."""

    def rng(self, part: int) -> np.random.Generator:
        """The random numbers of one part of this clip (0 plan, 1 face, 2 voice, 3 words, 4 camera)."""
        return np.random.default_rng((self.seed, SPLITS.index(self.split), self.number, part))

    def person(self) -> Person:
        """Who plays."""
        return person_of(self.seed, self.split, int(self.rng(0).integers(_PEOPLE[self.split])))

    def as_dict(self) -> dict[str, str | int]:
        """For a message to a worker process."""
        return asdict(self)


def plan_of(seed: int, split: str, number: int) -> ClipPlan:
    """The plan of clip `number` of a split: every run of 7 clips has all labels, every run of 70 all evidence."""
    turn, column = divmod(number, len(EMOTIONS))
    label = EMOTIONS[column]
    shown = {"face": "neutral", "voice": "neutral", "words": "neutral"}
    misleads, misleading = "", ""
    if split == "conflict":
        evidence, misleads = _CONFLICTS[(turn + column) % len(_CONFLICTS)]
        others = [e for e in EMOTIONS if e not in (label, "neutral")]
        misleading = others[(turn * 5 + column) % len(others)]
        shown[misleads] = misleading
    else:
        evidence = _EVIDENCE[(turn + 3 * column) % len(_EVIDENCE)]
    for modality in shown:
        if evidence in (modality, "all"):
            shown[modality] = label
    name = f"{split}-{number:05d}"
    return ClipPlan(name, split, number, seed, label, evidence, **shown, misleads=misleads, misleading=misleading)


def spread(seed: int, count: int) -> list[ClipPlan]:
    """`count` training clips for people to look at: each emotion in turn, and beside it each evidence in turn."""
    chosen: list[ClipPlan] = []
    next_turn: dict[tuple[int, str], int] = {}
    for i in range(count):
        column, wanted = i % len(EMOTIONS), _SHOWN[i % len(_SHOWN)]
        turn = next_turn.get((column, wanted), 0)
        while (plan := plan_of(seed, "train", turn * len(EMOTIONS) + column)).evidence != wanted:
            turn += 1
        next_turn[column, wanted] = turn + 1
        chosen.append(plan)
    return chosen


def person_of(seed: int, split: str, number: int) -> Person:
    """Identity `number` of a split; ages, genders and skin tones are spread evenly."""
    rng = np.random.default_rng((seed, 1000 + SPLITS.index(split), number))
    age, gender, tone = number % len(AGES), (number // len(AGES)) % 2, int(rng.integers(len(SKIN_TONES)))
    adult = age >= 2
    male = gender == 1
    hair = int(rng.integers(5)) if tone < 5 else int(rng.integers(2))
    styles = (0, 1, 1, 2, 4) if male and adult else (1, 2, 4) if male else (2, 3, 3, 4)
    grey = float(np.clip((age - 4 + rng.uniform(-0.5, 1.0)) / 3.0, 0, 1)) if age >= 4 else 0.0
    base = 275.0 if age == 0 else 205.0 if not male else 165.0 if age == 1 else 118.0
    voice = Speaker(
        pitch=base * 2 ** (rng.uniform(-3.0, 3.0) / 12),
        formants=(1.28 if age == 0 else 1.0 if male and adult else 1.13) * rng.uniform(0.94, 1.06),
        tilt=rng.uniform(-5.0, 0.0),
        tempo=rng.uniform(0.92, 1.08),
    )
    return Person(
        name=f"{split}-person-{number:03d}",
        age=age,
        gender=gender,
        tone=tone,
        hair=hair,
        style=int(rng.choice(styles)),
        grey=grey,
        jaw=rng.uniform(0.84, 0.98) + 0.10 * (male and adult),
        eyes=rng.uniform(0.92, 1.06),
        nose=rng.uniform(0.85, 1.15) + 0.08 * male,
        lips=rng.uniform(0.85, 1.15) - 0.12 * (male and adult),
        brow=rng.uniform(0.8, 1.1) + 0.35 * (male and adult),
        spread=rng.uniform(0.94, 1.06),
        iris=int(rng.integers(4)) if tone < 5 else 0,
        glasses=bool(rng.random() < (0.05 if age == 0 else 0.18)),
        beard=float(rng.choice([0, 0, 0.35, 1.0])) if male and adult else 0.0,
        clothes=(int(rng.integers(40, 220)), int(rng.integers(40, 220)), int(rng.integers(40, 220))),
        voice=voice,
    )
