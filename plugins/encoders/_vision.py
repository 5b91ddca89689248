"""What encoders on transformers' vision transformers share: settings, sizes, the way an image is seen. Imports no
torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from affectkit_plugins.encoders._images import image_shapes
from affectkit_plugins.encoders._pixels import Preprocessing, Resize, published
from affectkit_plugins.encoders._sizes import Family, grid_tokens, sizes

from affectkit.pieces import Shape

NAMES = {"size": "image_size", "patch": "patch_size", "width": "hidden_size", "layers": "num_hidden_layers",
         "heads": "num_attention_heads", "hidden": "intermediate_size"}  # fmt: skip
"""The settings below, as config.json calls them."""
LARGE = {"size": 224, "patch": 16, "width": 1024, "layers": 24, "heads": 16, "hidden": 4096}
BASE = {"size": 224, "patch": 16, "width": 768, "layers": 12, "heads": 12, "hidden": 3072}
"""ViT-L/16 and ViT-B/16 (Dosovitskiy et al. 2021, table 1)."""
TINY = {"size": 16, "patch": 8, "width": 16, "layers": 2, "heads": 2, "hidden": 24}
"""For the contract tests."""


@dataclass(frozen=True)
class VisionSettings:
    """A vision transformer of transformers."""

    source: str = ""
    """Hub id or folder written by `save_pretrained`; empty for random weights."""
    size: int | None = None
    """Side of the image in pixels; None is the checkpoint's, or as published for random weights."""
    patch: int | None = None
    """Side of a patch in pixels; None is the checkpoint's, or as published."""
    width: int | None = None
    """Width of the tokens; None is the checkpoint's, or as published."""
    layers: int | None = None
    """Transformer layers; None is the checkpoint's, or as published."""
    heads: int | None = None
    """Attention heads; None is the checkpoint's, or as published."""
    hidden: int | None = None
    """Width inside the feed-forward layers; None is the checkpoint's, or as published."""
    resize: Resize = "published"
    """How an image becomes a square: as published, squash, crop (shorter side, then the centre) or pad."""
    colours: Literal["rgb", "bgr"] = "rgb"
    """Order of the colours that the network is fed; `bgr` is how AffectGPT's code seems to feed faces (normalised as RGB)."""


def seen(family: Family, settings: VisionSettings, usual: Preprocessing) -> Preprocessing:
    """The look that the checkpoint states (`usual` where it states none), at the recipe's size and resize."""
    stated = published(settings.source, usual)
    look = stated.sized(sizes(family, settings)["size"]).resized(settings.resize)
    return replace(look, bgr=settings.colours == "bgr")


def patch_shapes(family: Family, settings: Any, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    """The blocks of `settings.pool`, frame by frame: patches (and cls), or pooled (and cls)."""
    known = sizes(family, settings)
    return image_shapes(inputs, grid_tokens(known["size"], known["patch"]), known["width"], settings.pool)
