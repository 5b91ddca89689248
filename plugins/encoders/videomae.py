"""VideoMAE: sixteen frames of a clip together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.encoders._pixels import IMAGENET_MEAN, IMAGENET_STD, Look, Resize, pixels, published
from affectkit_plugins.encoders._sizes import Family, grid_tokens, sizes

from affectkit.pieces import Piece, Port, Shape, hookimpl

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
        "frames": "num_frames",
        "tubelet": "tubelet_size",
    },
    published={
        "size": 224,
        "patch": 16,
        "width": 1024,
        "layers": 24,
        "heads": 16,
        "hidden": 4096,
        "frames": 16,
        "tubelet": 2,
    },
    absent={
        "size": 224,
        "patch": 16,
        "width": 768,
        "layers": 12,
        "heads": 12,
        "hidden": 3072,
        "frames": 16,
        "tubelet": 2,
    },
    fixed={"layer_norm_eps": 1e-6, "use_mean_pooling": False},
)


@dataclass(frozen=True)
class Settings:
    """VideoMAE's encoder (Tong et al. 2022, `VideoMAEModel`): sixteen frames to 1,568 tokens of one time
    step, or to one.

    Emotion-LLaMA's temporal view is a ViT-L/16 on sixteen face crops with `pool: mean`. Where a clip has
    fewer real
    frames than the network wants, or more, its own are drawn evenly, the same one several times if need be.
    """

    source: str = ""
    """Hub id, folder written by `save_pretrained`, or a `.pth` in the layout of VideoMAE's own code; empty
    for random weights."""
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
    frames: int | None = None
    """Frames of a clip; None is the checkpoint's (16)."""
    tubelet: int | None = None
    """Frames that one patch spans; None is the checkpoint's (2)."""
    pool: Literal["none", "mean"] = "none"
    """none: all patches; mean: over the patches."""
    normalise: bool = True
    """Whether pixels are centred and scaled as published; false leaves 0 to 1."""
    resize: Resize = "published"
    """How an image becomes a square: as published (shorter side, then centre crop), squash, crop or pad."""


def look(settings: Settings) -> Look:
    base = Look(224, "crop", filter="bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return published(settings.source, base).sized(sizes(FAMILY, settings)["size"]).resized(settings.resize)


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    known = sizes(FAMILY, settings)
    if settings.pool == "mean":
        return {"pooled": Shape("tokens", 1, 1, known["width"])}
    grid, frames, tubelet = grid_tokens(known["size"], known["patch"]), known["frames"], known["tubelet"]
    tokens = None if grid is None or frames is None or tubelet is None else grid * (frames // tubelet)
    return {"patches": Shape("tokens", 1, tokens, known["width"])}


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    return pixels(raw, look(settings))


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    from affectkit_plugins.encoders.videomae_net import encoder

    return encoder(settings, look(settings))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny = {"size": 16, "patch": 8, "width": 16, "layers": 2, "heads": 2, "hidden": 24, "frames": 4}
    port = Port("pixels", "pixels", "frames or face crops of one clip, in time order")
    return [
        Piece(
            "encoder",
            "videomae",
            Settings,
            build,
            shapes,
            (port,),
            ("transformers",),
            tiny=tiny,
            prepare=prepare,
        )
    ]
