"""The encoder of a masked autoencoder (ViT-MAE), seeing every patch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.encoders._images import PIXELS, image_shapes
from affectkit_plugins.encoders._pixels import IMAGENET_MEAN, IMAGENET_STD, Look, Resize, pixels, published
from affectkit_plugins.encoders._sizes import Family, grid_tokens, sizes

from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

FAMILY = Family(
    names={"size": "image_size", "patch": "patch_size", "width": "hidden_size", "layers": "num_hidden_layers",
           "heads": "num_attention_heads", "hidden": "intermediate_size"},
    published={"size": 224, "patch": 16, "width": 1024, "layers": 24, "heads": 16, "hidden": 4096},
    absent={"size": 224, "patch": 16, "width": 768, "layers": 12, "heads": 12, "hidden": 3072},
    fixed={"layer_norm_eps": 1e-6},
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The encoder of a masked autoencoder (ViT-MAE, He et al. 2022, `ViTMAEModel`) with nothing masked.

    Emotion-LLaMA's FaceMAE is one, ViT-L/16 pretrained on faces, with `pool: mean` and `normalise: false` on
    every face
    of a clip.
    """

    source: str = ""
    """Hub id, folder written by `save_pretrained`, or a `.pth` in the layout of MAE's own code; empty for
    random weights."""
    size: int | None = None
    """Side of the image in pixels; None is the checkpoint's (224 for random weights)."""
    patch: int | None = None
    """Side of a patch in pixels; None is the checkpoint's (16)."""
    width: int | None = None
    """Width of the tokens; None is the checkpoint's (1024)."""
    layers: int | None = None
    """Transformer layers; None is the checkpoint's (24)."""
    heads: int | None = None
    """Attention heads; None is the checkpoint's (16)."""
    hidden: int | None = None
    """Width inside the feed-forward layers; None is the checkpoint's (4096)."""
    pool: Literal["none", "mean", "cls"] = "none"
    """none: patches and cls; mean: over the patches; cls: the class token."""
    normalise: bool = True
    """Whether pixels are centred and scaled as published; false leaves 0 to 1, as Emotion-LLaMA's face
    features."""
    resize: Resize = "published"
    """How an image becomes a square: as published (squash), squash, crop or pad."""


def look(settings: Settings) -> Look:
    base = Look(224, "squash", filter="bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return published(settings.source, base).sized(sizes(FAMILY, settings)["size"]).resized(settings.resize)


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    known = sizes(FAMILY, settings)
    return image_shapes(inputs, grid_tokens(known["size"], known["patch"]), known["width"], settings.pool)


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    return pixels(raw, look(settings))


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    from affectkit_plugins.encoders.vit_mae_net import encoder

    return encoder(settings, look(settings))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny = {"size": 16, "patch": 8, "width": 16, "layers": 2, "heads": 2, "hidden": 24}
    return [
        Piece(
            "encoder",
            "vit_mae",
            Settings,
            build,
            shapes,
            PIXELS,
            ("transformers",),
            tiny=tiny,
            prepare=prepare,
        )
    ]
