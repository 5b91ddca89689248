"""A sample: one clip or still, its words, its facts and the answers a model should give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

LABEL, LABELS, NUMBERS = "label", "labels", "numbers"
"""The tasks whose answers are no free text: one label, several of them, and ratings by name."""

Origin = Literal["label", "estimate", "missing"]


@dataclass(frozen=True)
class Fact:
    """A value with its origin. An estimate is never taken for a label."""

    value: Any
    """A word, a number, or an array. With `per_frame` the first axis runs over the frames of the media file."""
    origin: Origin = "label"
    """`label` (somebody annotated it), `estimate` (a network said so) or `missing`."""
    probability: float | None = None
    """How sure the network was, for an estimate."""
    per_frame: bool = False
    """Whether `value` has one entry for each frame of the video, in frame order."""


MISSING = Fact(None, "missing")


@dataclass(frozen=True)
class Sample:
    """One clip or still. Nothing in it is decoded: it holds paths, words and facts.

    Facts with agreed names: `age` (band as a word), `gender`, `race`, `skin_tone` (words), `action_units` (per frame,
    array [frames, units], 0 to 1), `peak_frame` (index of the frame that shows most), `landmarks` (per frame,
    [frames, points, 2], pixels), `face_box` (per frame, [frames, 4] as x0 y0 x1 y1 in pixels; NaN where there is no
    face), `person` (a name or number of who it is: clips of one person are not counted as independent). Other names are
    free.
    """

    id: str
    """Unique within a data set and split."""
    video: Path | None = None
    """A clip, with or without sound: a file, or a folder of frame images."""
    image: Path | None = None
    """A still."""
    audio: Path | None = None
    """Sound in a file of its own; where it is None the sound of `video` is used."""
    subtitle: str = ""
    """What is said, in words."""
    label: str | None = None
    """The emotion label, one word of the data set's label set; None where unknown."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """The text that a model should answer, by task (`reason`: "The brows are drawn together …")."""
    turns: tuple[tuple[str, str], ...] = ()
    """A conversation about it: each question with its answer, in order."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """What is known of the person and of the clip, by name."""
    features: Mapping[str, Path] = field(default_factory=dict)
    """Precomputed features (`.npy`), by name."""
    start: float | None = None
    """Where the sample begins in its video and sound, in seconds; None is their beginning. Facts by frame count from there."""
    end: float | None = None
    """Where it ends there, in seconds; None is their end."""
    labels: Mapping[str, float] = field(default_factory=dict)
    """Several emotion labels with their weights: 1 for each of a set, or shares that add up to 1 (votes of annotators). Empty
    where nobody said; a sample with one label only has `label`."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Ratings by name (`valence`, `arousal`, `dominance`, `intensity`, `sentiment`), on the data set's own scale."""

    def fact(self, name: str) -> Fact:
        """The fact of that name, or `MISSING`."""
        return self.facts.get(name, MISSING)


@dataclass(frozen=True)
class Targets:
    """What a data set can have answered: its labels, and the numbers that it rates."""

    labels: tuple[str, ...] = ()
    """The label set, in its order."""
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Ratings by name, each with the ends of its scale; infinite where the scale has none."""


def targets_in(samples: Sequence[Sample]) -> Targets:
    """What the samples of a split can have answered: its attributes `labels` and `numbers`, nothing where it has none."""
    return Targets(labels_in(samples), dict(getattr(samples, "numbers", {})))


def labels_in(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The label set of a split; empty where it has none."""
    return tuple(getattr(samples, "labels", ()))
