"""The kinds of view a recipe can name, and their settings.

`affectkit.data.views.look` turns a sample and these settings into arrays and text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from affectkit.pieces import Shape
from affectkit.recipe.sections import at_least

Flip = Literal["never", "random", "always"]


@dataclass(frozen=True)
class Frames:
    """Whole frames of a clip, or a still as one frame, upright and RGB.

    Frames are counted by decoding, from 0, so that also with a variable frame rate each is one step. With n frames
    and a count of k, `uniform` takes frames floor((i + 0.5) n / k), the centres of k equal segments; `middle` is the
    same with k = 1. `peak` is the sample's fact `peak_frame`, else the frame with the largest sum of action units
    (Emotion-LLaMA's MERR), read from its fact `action_units`; where there is neither fact it is the middle frame.
    """

    pick: Literal["uniform", "first", "middle", "peak", "all"] = "uniform"
    """Which frames: `uniform` takes `count`, `all` takes `max`, the others take one."""
    count: int = 8
    """Most frames for `uniform`."""
    repeat: bool = False
    """For `uniform`: repeat frames of a clip shorter than `count` so that there are always `count` of them."""
    max: int | None = None
    """For `all`: most frames, chosen as for `uniform` where the clip has more; null keeps every one."""
    grey: bool = False
    """Turn frames to grey (three equal channels), so that colour cannot give the answer away."""
    flip: Flip = "never"
    """Mirror left and right: `random` in training only, by the draw of each sample and epoch."""
    hide: Literal["none", "faces"] = "none"
    """`faces` paints mid-grey over every face box, 10 % larger on each side: an ablation."""
    detector: dict[str, Any] | None = None
    """For `hide`: the detector that finds boxes in samples without the fact `face_box` (`{use: NAME, …}`)."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return at_least(self, 1, "count", "max")

    def shape(self) -> Shape:
        """Pixels, with the most frames that the pick can give."""
        most = {"uniform": self.count, "all": self.max}.get(self.pick, 1)
        return Shape("pixels", time=most)


@dataclass(frozen=True)
class Faces:
    """The face of one person, cut from the frames of another view, in the same order.

    Boxes come from the sample's fact `face_box`, else from the detector, whose faces are linked over time so that one
    person is followed. A frame without that face keeps its place and is marked as not valid.
    """

    of: str = "frames"
    """The frames view to cut from; both have the same frames."""
    margin: float = 0.25
    """How far the crop reaches beyond the box on each side, as a fraction of the box."""
    square: bool = True
    """Widen the shorter side to a square; what lies outside the picture is black. False: keep the box's own shape."""
    detector: dict[str, Any] | None = None
    """The detector for samples without the fact `face_box` (`{use: NAME, …}`); null uses facts only."""
    person: int = 0
    """Which face to follow where a detector finds several: 0 is the largest over time, 1 the next, and so on."""
    whole: Literal["auto", "always", "never"] = "auto"
    """When the whole picture counts as the face: `auto` for a still in which no face is known or found."""
    grey: bool = False
    """Turn crops to grey (three equal channels)."""
    flip: Flip = "never"
    """Mirror left and right: `random` in training only, by the draw of each sample and epoch."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return at_least(self, 0, "margin", "person")

    def shape(self) -> Shape:
        """Pixels; as many frames as the view that they are cut from, which only the recipe knows."""
        return Shape("pixels", time=None)


@dataclass(frozen=True)
class Wave:
    """The sound of a clip: one channel (the mean of all), resampled, as a whole or as short clips spread over it.

    With `clips`, clip i of k starts at i (length - seconds) / (k - 1), so that the first begins with the sound and the
    last ends with it; what is missing in a shorter sound is silence (zeros).
    """

    rate: int = 16000
    """Samples a second."""
    seconds: float | None = None
    """Most seconds (for `clips`, of each one); null keeps all."""
    cut: Literal["start", "centre"] = "centre"
    """Which part of a longer sound to keep: its `start` or its `centre`."""
    clips: int | None = None
    """Cut this many pieces of `seconds` each, spread evenly over the sound; null keeps it in one piece."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = at_least(self, 1, "rate")
        if self.seconds is not None and self.seconds <= 0:
            found.append(("seconds", f"must be more than 0, got {self.seconds}"))
        found += at_least(self, 1, "clips")
        if self.clips is not None and self.seconds is None:
            found.append(("clips", "wants `seconds`, the length of each clip"))
        return found

    def most(self) -> int | None:
        """Most samples (of each clip)."""
        return None if self.seconds is None else max(1, round(self.seconds * self.rate))

    def shape(self) -> Shape:
        """A wave: time = clips, tokens = most samples, width = samples a second."""
        return Shape("wave", time=self.clips or 1, tokens=self.most(), width=self.rate)


@dataclass(frozen=True)
class Subtitle:
    """What is said, in words; nothing where the sample has no subtitle."""

    def shape(self) -> Shape:
        """Text of any length."""
        return Shape("text")


@dataclass(frozen=True)
class Question:
    """The words of the prompt's turn, for steps that look at what is asked; made by the prompt, not by the sample."""

    def shape(self) -> Shape:
        """Text of any length."""
        return Shape("text")


@dataclass(frozen=True)
class Features:
    """Precomputed features of the sample, read from its `.npy` file.

    An array [d] is one token, [t d] one token a time step, [t n d] is taken as it is.
    """

    name: str
    """Which of the sample's feature files."""
    width: int | None = None
    """d, checked against the file; null is known when built."""
    time: int | None = 1
    """Most time steps, checked against the file; null if any number may come."""
    tokens: int | None = 1
    """Most tokens a time step, checked against the file; null if any number may come."""

    def shape(self) -> Shape:
        """Tokens."""
        return Shape("tokens", time=self.time, tokens=self.tokens, width=self.width)


ViewSettings = Frames | Faces | Wave | Subtitle | Question | Features
VIEWS: dict[str, type] = {
    "frames": Frames, "faces": Faces, "wave": Wave, "subtitle": Subtitle, "question": Question, "features": Features,
}  # fmt: skip
"""A view's `use` to its settings."""
