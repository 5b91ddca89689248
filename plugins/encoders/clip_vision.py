"""CLIP's vision tower through transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.encoders._images import PIXELS, image_shapes
from affectkit_plugins.encoders._pixels import CLIP_MEAN, CLIP_STD, Look, Resize, pixels, published
from affectkit_plugins.encoders._sizes import Family, grid_tokens, sizes

from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

FAMILY = Family(
    names={
        "size": "image_size",
        "patch": "patch_size",
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "hidden": "intermediate_size",
        "embed": "projection_dim",
    },
    published={
        "size": 224,
        "patch": 14,
        "width": 1024,
        "layers": 24,
        "heads": 16,
        "hidden": 4096,
        "embed": 768,
    },
    absent={"size": 224, "patch": 32, "width": 768, "layers": 12, "heads": 12, "hidden": 3072, "embed": 512},
    section="vision_config",
)


@dataclass(frozen=True)
class Settings:
    """CLIP's vision transformer (Radford et al. 2021, `CLIPVisionModelWithProjection`): patch tokens, class
    token, or the image embedding.

    AffectGPT reads faces with `pool: projected` at ViT-L/14, one 768-wide token an image.
    """

    source: str = ""
    """Hub id (`openai/clip-vit-large-patch14`) or folder written by `save_pretrained`; empty for random
    weights."""
    size: int | None = None
    """Side of the image in pixels; None is the checkpoint's (224 for random weights)."""
    patch: int | None = None
    """Side of a patch in pixels; None is the checkpoint's (14)."""
    width: int | None = None
    """Width of the tokens; None is the checkpoint's (1024)."""
    layers: int | None = None
    """Transformer layers; None is the checkpoint's (24)."""
    heads: int | None = None
    """Attention heads; None is the checkpoint's (16)."""
    hidden: int | None = None
    """Width inside the feed-forward layers; None is the checkpoint's (4096)."""
    embed: int | None = None
    """Width of the image embedding, for `pool: projected`; None is the checkpoint's (768)."""
    take: int = -1
    """Which layer's tokens are put out, counted from the end (-2 as in LLaVA); without effect on `pool:
    projected`."""
    pool: Literal["none", "mean", "cls", "projected"] = "none"
    """none: patches and cls; mean: over the patches; cls: the class token; projected: the image embedding of
    CLIP."""
    resize: Resize = "published"
    """How an image becomes a square: as published (shorter side, then centre crop), squash, crop or pad."""

    def problems(self) -> list[tuple[str, str]]:
        return [("take", "counted from the end: -1 is the last layer")] if self.take > -1 else []


def look(settings: Settings) -> Look:
    base = Look(224, "crop", mean=CLIP_MEAN, std=CLIP_STD)
    stated = published(settings.source, base)
    side = sizes(FAMILY, settings)["size"]
    return stated.sized(side).resized(settings.resize)


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    known = sizes(FAMILY, settings)
    if settings.pool == "projected":
        return {"pooled": Shape("tokens", inputs["pixels"].time, 1, known["embed"])}
    return image_shapes(inputs, grid_tokens(known["size"], known["patch"]), known["width"], settings.pool)


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    return pixels(raw, look(settings))


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    from affectkit_plugins.encoders.clip_vision_net import encoder

    return encoder(settings, look(settings))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny = {"size": 16, "patch": 8, "width": 16, "layers": 2, "heads": 2, "hidden": 24, "embed": 8}
    return [
        Piece(
            "encoder",
            "clip_vision",
            Settings,
            build,
            shapes,
            PIXELS,
            ("transformers",),
            tiny=tiny,
            prepare=prepare,
        )
    ]
