"""The encoder of a masked autoencoder (ViT-MAE), seeing every patch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from affectkit_plugins.encoders._images import PIXELS, prepare
from affectkit_plugins.encoders._pixels import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from affectkit_plugins.encoders._sizes import Family
from affectkit_plugins.encoders._vision import BASE, LARGE, NAMES, TINY, VisionSettings, patch_shapes, seen

from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    from torch import nn

FAMILY = Family(NAMES, published=LARGE, absent=BASE, fixed={"layer_norm_eps": 1e-6})


@dataclass(frozen=True)
class Settings(VisionSettings):
    """The encoder of a masked autoencoder (ViT-MAE, He et al. 2022, `ViTMAEModel`) with nothing masked;
    published: ViT-L/16 at 224 pixels.

    Emotion-LLaMA's FaceMAE is one, ViT-L/16 pretrained on faces, with `pool: mean` and `normalise: false` on
    every face of a clip.
    """

    source: str = ""
    """Hub id, folder written by `save_pretrained`, or a `.pth` in the layout of MAE's own code; empty for
    random weights."""
    pool: Literal["none", "mean", "cls"] = "none"
    """none: patches and cls; mean: over the patches; cls: the class token."""
    normalise: bool = True
    """Whether pixels are centred and scaled as published; false leaves 0 to 1, as Emotion-LLaMA's face
    features."""

    def look(self) -> Preprocessing:
        """As published: squashed to a square."""
        return seen(FAMILY, self, Preprocessing(224, "squash", filter="bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD))


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    return patch_shapes(FAMILY, settings, inputs)


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    from affectkit_plugins.encoders.vit_mae_net import encoder

    return encoder(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    needs = ("transformers",)
    return [Piece("encoder", "vit_mae", Settings, build, shapes, PIXELS, needs, tiny=TINY, prepare=prepare)]
