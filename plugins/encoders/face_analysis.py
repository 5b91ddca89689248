"""A small face-analysis network, trainable from scratch: action units, landmarks, age, gender, skin tone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affectkit_plugins._values import named

from affectkit.pieces import Piece, Port, Shape, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

REGIONS = (17, 5, 5, 4, 5, 6, 6, 12, 8)
"""Points a region of the 68 iBUG landmarks: jaw, brows, nose bridge, nostrils, eyes, outer and inner lips."""

UNITS = (
    "AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU10",
    "AU12", "AU15", "AU17", "AU20", "AU23", "AU25", "AU26", "AU45",
)  # fmt: skip
AGES = ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")
GENDERS = ("female", "male")
SKIN_TONES = tuple(f"monk {shade}" for shade in range(1, 11))
"""The ten shades of the Monk Skin Tone Scale, light to dark."""


@dataclass(frozen=True)
class Settings:
    """Face crops to facial priors: a small network for action units, 68 landmarks, age, gender and skin tone.

    It stands where EMO-LLaMA has its "pretrained facial analysis network" (read as FaceXFormer), at a size
    that trains from nothing in a minute on two cores; race is not among its heads. Each frame is looked at by
    itself.
    """

    size: int = 48
    """Side of the square that each face crop is resized to, in pixels; a multiple of 8."""
    channels: tuple[int, ...] = (16, 24, 48)
    """Channels of the three convolution stages, which work at a half, a quarter and an eighth of the size."""
    width: int = 64
    """Width of the global and local tokens."""
    layers: int = 1
    """Attention layers among the global and local tokens of a frame."""
    heads: int = 4
    """Attention heads in each of those layers."""
    grid: int = 3
    """The face map is pooled to grid x grid global tokens."""
    units: tuple[str, ...] = UNITS
    """Names of the action units that are predicted, named as in the data, in its order if it names none."""
    ages: tuple[str, ...] = AGES
    """Words for the age bands; bands written like `20-29` and `70+` also take ages given as numbers."""
    genders: tuple[str, ...] = GENDERS
    """Words for the genders."""
    skin_tones: tuple[str, ...] = SKIN_TONES
    """Words for the skin tones, never mapped to race."""
    grey: bool = False
    """Turn the crop to grey inside the network, so that colours of drawn faces are not learned."""
    augment: bool = False
    """In training, jitter brightness, contrast, place, scale and side (a mirror) of each crop at random."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and the network cannot take."""
        found = []
        if self.size < 16 or self.size % 8:
            found.append(("size", f"{self.size} is not a multiple of 8 of at least 16"))
        if len(self.channels) != 3 or any(c < 8 or c % 8 for c in self.channels):
            found.append(("channels", f"{self.channels} are not three multiples of 8"))
        if self.heads < 1 or self.width < 1 or self.width % self.heads:
            found.append(("heads", f"{self.heads} heads do not divide the width {self.width}"))
        if not 1 <= self.grid <= max(1, self.size // 8):
            found.append(("grid", f"{self.grid} is not between 1 and size / 8 = {self.size // 8}"))
        if self.layers < 0:
            found.append(("layers", f"{self.layers} is less than 0"))
        return found + named(self, "units", "ages", "genders", "skin_tones")


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """The blocks, main one first; all have the time of the crops."""
    time = inputs["pixels"].time

    def block(tokens: int, wide: int) -> Shape:
        return Shape("tokens", time, tokens, wide)

    return {
        "global": block(settings.grid**2, settings.width),
        "local": block(len(REGIONS), settings.width),
        "landmarks": block(sum(REGIONS), 2),
        "units": block(1, len(settings.units)),
        "valid": block(1, 1),
        "age": block(1, len(settings.ages)),
        "gender": block(1, len(settings.genders)),
        "skin_tone": block(1, len(settings.skin_tones)),
    }


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    """Face crops (`RawPixels`) resized to uint8 [t c h x]; bilinear with anti-aliasing."""
    import numpy as np
    from PIL import Image

    side = settings.size
    out = np.zeros((len(raw.frames), 3, side, side), np.uint8)
    for i, (frame, valid) in enumerate(zip(raw.frames, raw.valid, strict=True)):
        if valid:
            small = Image.fromarray(frame).resize((side, side), Image.Resampling.BILINEAR)
            out[i] = np.asarray(small).transpose(2, 0, 1)
    return out


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    """The network, with random weights."""
    from affectkit_plugins.encoders.face_analysis_net import FaceAnalysis

    return FaceAnalysis(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [
        Piece(
            "encoder",
            "face_analysis",
            Settings,
            build,
            shapes=shapes,
            ports=(Port("pixels", "pixels", "square face crops, with the boxes where they were taken"),),
            needs=("torch", "PIL"),
            tiny={"size": 16, "channels": (8, 8, 8), "width": 8, "heads": 2, "grid": 2},
            prepare=prepare,
            tells=("age", "gender", "skin_tone"),
            objective=True,
        )
    ]
