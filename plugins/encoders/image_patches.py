"""A small vision transformer that trains from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.encoders._images import PIXELS, image_shapes
from affectkit_plugins.encoders._pixels import HALF, Preprocessing, pixels

from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


@dataclass(frozen=True)
class Settings:
    """A small vision transformer that trains from nothing on a CPU (ours): convolutions to patches, then
    attention."""

    size: int = 64
    """Side of the square that each image is resized to, in pixels."""
    patch: int = 8
    """Side of a patch in pixels: a power of two that divides the size."""
    width: int = 64
    """Width of the tokens."""
    layers: int = 2
    """Attention layers; 0 for convolutions alone."""
    heads: int = 4
    """Attention heads."""
    hidden: int = 0
    """Width inside the feed-forward layers; 0 is twice the width."""
    stem: Literal["conv", "patch"] = "conv"
    """conv: 3 x 3 convolutions that halve the image until patches are left; patch: one linear map a patch."""
    colour: Literal["rgb", "grey"] = "rgb"
    """Whether colours are seen."""
    standardise: bool = False
    """Bring each image to zero mean and unit variance by itself, against differences of light."""
    dropout: float = 0.0
    """Share of activations dropped in training."""
    pool: Literal["none", "mean"] = "none"
    """none: the patches; mean: their mean."""
    resize: Literal["squash", "crop", "pad"] = "squash"
    """How an image becomes a square: squash, crop (shorter side, then the centre) or pad."""

    def problems(self) -> list[tuple[str, str]]:
        """Settings that are invalid although their types are right."""
        found = []
        if self.patch < 2 or self.patch & (self.patch - 1) or self.size % self.patch:
            found.append(("patch", f"{self.patch} is not a power of two that divides the size, {self.size}"))
        if self.width % self.heads:
            found.append(("heads", f"the width, {self.width}, is no multiple of {self.heads} heads"))
        if not 0 <= self.dropout < 1:
            found.append(("dropout", "must be 0 or more and below 1"))
        return found


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    tokens = (settings.size // settings.patch) ** 2
    return image_shapes(inputs, tokens, settings.width, settings.pool, cls=False)


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    return pixels(raw, Preprocessing(settings.size, settings.resize, filter="bilinear", mean=HALF))


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    from affectkit_plugins.encoders.image_patches_net import encoder

    return encoder(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny = {"size": 16, "patch": 8, "width": 16, "layers": 1, "heads": 2}
    return [Piece("encoder", "image_patches", Settings, build, shapes, PIXELS, tiny=tiny, prepare=prepare)]
