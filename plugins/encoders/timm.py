"""Any image network of timm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.encoders._images import PIXELS
from affectkit_plugins.encoders._pixels import Resize, pixels
from affectkit_plugins.encoders._sizes import read_json

from affectkit import weights
from affectkit.pieces import Piece, Shape, hookimpl
from affectkit.weights import on_disk

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


@dataclass(frozen=True)
class Settings:
    """Any image network of timm (Wightman 2019): its last feature map as tokens, or pooled.

    What timm says of a network is known when it is built; `width` and `tokens` state it before, and are
    checked then.
    """

    model: str = "vit_small_patch16_224"
    """timm's name of the architecture; a folder or hub id names its own."""
    source: str = ""
    """Hub id (`timm/…`), folder written by timm's `save_for_hf`, file of weights, or pretrained tag
    (`augreg_in1k`); empty for random weights."""
    size: int | None = None
    """Side of the image in pixels; None is the network's own."""
    pool: Literal["none", "mean", "cls", "head"] = "none"
    """none: every place of the last feature map; mean: over those; cls: the class token; head: as the
    network's own head pools."""
    width: int | None = None
    """Width of the tokens, stated ahead of building."""
    tokens: int | None = None
    """Tokens an image with `pool: none`, stated ahead of building."""
    resize: Resize = "published"
    """How an image becomes a square: as published (most often shorter side, then centre crop), squash, crop
    or pad."""


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    t, stated = inputs["pixels"].time, read_json(settings.source, "config.json") or {}
    # The head of some networks widens what it pools, so its width is known only when built.
    known = settings.width or (None if settings.pool == "head" else stated.get("num_features"))
    if settings.pool == "none":
        return {"patches": Shape("tokens", t, settings.tokens, known)}
    return {"pooled": Shape("tokens", t, 1, known)}


def name_of(settings: Settings) -> str:
    """The model name for `timm.create_model`."""
    path = on_disk(settings.source)
    if path is not None and path.is_dir():
        return str((read_json(settings.source, "config.json") or {}).get("architecture", settings.model)) \
            if weights.random() else f"local-dir:{path}"  # fmt: skip
    if not settings.source or weights.random() or path is not None:
        return settings.model
    return f"hf-hub:{settings.source}" if "/" in settings.source else f"{settings.model}.{settings.source}"


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    from affectkit_plugins.encoders.timm_net import look

    return pixels(raw, look(settings))


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    from affectkit_plugins.encoders.timm_net import encoder

    return encoder(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny = {"model": "test_vit", "size": 32}
    return [Piece("encoder", "timm", Settings, build, shapes, PIXELS, ("timm",), tiny=tiny, prepare=prepare)]
