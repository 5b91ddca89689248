"""Face-api's small networks of expression, landmarks, age and gender as facial priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins._values import named, once
from affectkit_plugins.encoders._bilinear import resized
from affectkit_plugins.encoders._face_api_files import PRIORS, source_faults
from affectkit_plugins.encoders._images import PIXELS
from affectkit_plugins.encoders.clip_face import band
from affectkit_plugins.encoders.face_analysis import AGES, REGIONS

from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

STRIDE, WIDTH = 16, 256
"""Pixels of a place of the expression network's map, and the map's width."""
EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")
"""In the order of the published network."""
GENDERS = ("male", "female")
MEAN = tuple(value / 255 for value in (122.782, 117.001, 104.298))
FactName = Literal["age", "gender", "expression"]


@dataclass(frozen=True)
class Settings:
    """Face-api's networks (npm `@vladmandic/face-api`, MIT), 1.1 million weights in all, as facial priors.

    `global` is the expression network's last map, pooled to `grid` x `grid`, `pooled` its mean; `local` is the same map read at
    the 68 points of the landmark network. Age and gender come from a network of their own; race is not told. Each crop is made a
    square with black and resized as the package does it, without smoothing. The networks want tight crops: with a margin of a
    quarter on every side ages fall by half. Networks of the package are compared with its own runtime in the tests.
    """

    source: str = ""
    """Folder of the package's files (`model`); empty for random weights."""
    size: int = 112
    """Side of the square that each crop is resized to, in pixels: 112 as published; a multiple of 16."""
    grid: int = 7
    """The expression map is pooled to grid x grid global tokens."""
    local: Literal["regions", "points"] = "regions"
    """regions: the map read at the landmarks (bilinear), averaged over each of nine regions; points: at each of the 68."""
    places: Literal["frame", "crop"] = "frame"
    """Whether the block `landmarks` is in fractions of the whole frame, where that is known, or of the crop."""
    tells: tuple[FactName, ...] = ("age", "gender")
    """Which facts it estimates, averaged over the frames with a face; `expression` is the network's own label."""
    ages: tuple[str, ...] = AGES
    """Words for the age bands, such as `20-29` and `70+`, from young to old."""
    age_error: float = 5.7
    """Years by which an age is taken to be off (standard deviation), for the network says no probability: that of a band is
    its share of a normal distribution around the age. 5.7, a guess, is a mean error of 4.5 years; single ages are unsteady."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = []
        if self.size < STRIDE or self.size % STRIDE:
            found.append(("size", f"{self.size} is not a multiple of {STRIDE}"))
        if not 1 <= self.grid <= max(1, self.size // STRIDE):
            found.append(("grid", f"{self.grid} is not between 1 and size / {STRIDE} = {self.size // STRIDE}"))
        if self.age_error <= 0:
            found.append(("age_error", f"must be above 0, got {self.age_error}"))
        bands = {word: band(word) for word in self.ages}
        found += [("ages", f"{word!r} is no band of years such as 20-29") for word, years in bands.items() if not years]
        begins = [years[0] for years in bands.values() if years]
        if begins != sorted(begins):
            found.append(("ages", "must run from young to old"))
        return found + once(self, "fact", "tells") + named(self, "ages") + source_faults(self.source, PRIORS)


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """The blocks, main one first; all have the time of the crops."""
    time = inputs["pixels"].time

    def block(tokens: int, wide: int) -> Shape:
        return Shape("tokens", time, tokens, wide)

    return {
        "global": block(settings.grid**2, WIDTH),
        "local": block(len(REGIONS) if settings.local == "regions" else sum(REGIONS), WIDTH),
        "landmarks": block(sum(REGIONS), 2),
        "pooled": block(1, WIDTH),
        "valid": block(1, 1),
        "age": block(1, len(settings.ages)),
        "gender": block(1, len(GENDERS)),
        "expression": block(1, len(EXPRESSIONS)),
        "years": block(1, 1),
    }


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    """Crops (`RawPixels`) as float32 [t 4 size size], 0 to 255: the crop in the middle of a black square, and in a fourth plane
    which share of the square's width (first row) and height (the others) it fills."""
    import numpy as np

    out = np.zeros((len(raw.frames), 4, settings.size, settings.size), np.float32)
    for i in np.flatnonzero(raw.valid):
        high, wide = raw.frames[i].shape[:2]
        side = max(high, wide)
        top, left = (side - high) // 2, (side - wide) // 2  # an odd pixel goes behind
        square = np.pad(raw.frames[i], ((top, side - high - top), (left, side - wide - left), (0, 0)))
        out[i, :3] = resized(square, settings.size).transpose(2, 0, 1)
        out[i, 3, 0], out[i, 3, 1:] = wide / side, high / side
    return out


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    """The networks; raises InputError where their files are missing or others."""
    from affectkit_plugins.encoders.face_api_net import FaceApi

    return FaceApi(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [
        Piece(
            "encoder",
            "face_api",
            Settings,
            build,
            shapes=shapes,
            ports=PIXELS,
            needs=("torch",),
            tiny={"size": 32, "grid": 2},
            prepare=prepare,
            tells=lambda settings: settings.tells,
        )
    ]
