"""CLIP's vision tower through transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from affectkit_plugins.encoders._images import PIXELS, prepare
from affectkit_plugins.encoders._pixels import CLIP_MEAN, CLIP_STD, Preprocessing
from affectkit_plugins.encoders._sizes import Family, sizes
from affectkit_plugins.encoders._vision import BASE, LARGE, NAMES, TINY, VisionSettings, patch_shapes, seen

from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    from torch import nn

FAMILY = Family(
    names={**NAMES, "embed": "projection_dim"},
    published={**LARGE, "patch": 14, "embed": 768},
    absent={**BASE, "patch": 32, "embed": 512},
    section="vision_config",
)


@dataclass(frozen=True)
class Settings(VisionSettings):
    """CLIP's vision transformer (Radford et al. 2021, `CLIPVisionModelWithProjection`): patch tokens, class
    token, or the image embedding; published: ViT-L/14 at 224 pixels.

    AffectGPT reads faces with `pool: projected` at ViT-L/14, one 768-wide token an image.
    """

    source: str = ""
    """Hub id (`openai/clip-vit-large-patch14`) or folder written by `save_pretrained`; empty for random weights."""
    embed: int | None = None
    """Width of the image embedding, for `pool: projected`; None is the checkpoint's, or as published (768)."""
    take: int = -1
    """Which layer's tokens are put out, counted from the end (-2 as in LLaVA); without effect on `pool:
    projected`."""
    pool: Literal["none", "mean", "cls", "projected"] = "none"
    """none: patches and cls; mean: over the patches; cls: the class token; projected: the image embedding of
    CLIP."""

    def problems(self) -> list[tuple[str, str]]:
        return [("take", "counted from the end: -1 is the last layer")] if self.take > -1 else []

    def look(self) -> Preprocessing:
        """As published: shorter side, then centre crop."""
        return seen(FAMILY, self, Preprocessing(224, "crop", mean=CLIP_MEAN, std=CLIP_STD))


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    if settings.pool == "projected":
        return {"pooled": Shape("tokens", inputs["pixels"].time, 1, sizes(FAMILY, settings)["embed"])}
    return patch_shapes(FAMILY, settings, inputs)


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    from affectkit_plugins.encoders.clip_vision_net import encoder

    return encoder(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny, needs = {**TINY, "embed": 8}, ("transformers",)
    return [Piece("encoder", "clip_vision", Settings, build, shapes, PIXELS, needs, tiny=tiny, prepare=prepare)]
