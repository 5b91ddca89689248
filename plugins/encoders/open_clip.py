"""The image tower of any CLIP of open_clip."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.encoders._images import PIXELS
from affectkit_plugins.encoders._pixels import Resize, pixels
from affectkit_plugins.encoders._sizes import read_json

from affectkit import weights
from affectkit.errors import nearest
from affectkit.pieces import Piece, Shape, hookimpl
from affectkit.weights import on_disk

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


@dataclass(frozen=True)
class Settings:
    """The image tower of any CLIP of open_clip (Cherti et al. 2023): patch tokens, or the image embedding.

    Sizes come from the model's own configuration; those given here change it, for random weights only.
    """

    model: str = "ViT-B-32"
    """open_clip's name of the model; a folder or hub id names its own."""
    source: str = ""
    """Pretrained tag (`laion2b_s34b_b79k`), file of weights, folder with `open_clip_config.json`, or hub id;
    empty for random weights."""
    pool: Literal["none", "mean", "projected"] = "none"
    """none: patches; mean: over the patches; projected: the image embedding of CLIP."""
    size: int | None = None
    """Side of the image in pixels; None is the model's."""
    patch: int | None = None
    """Side of a patch in pixels; None is the model's."""
    width: int | None = None
    """Width of the tokens; None is the model's."""
    layers: int | None = None
    """Transformer layers; None is the model's."""
    head_width: int | None = None
    """Width of an attention head; None is the model's."""
    embed: int | None = None
    """Width of the image embedding; None is the model's."""
    resize: Resize = "published"
    """How an image becomes a square: as published (most often shorter side, then centre crop), squash, crop
    or pad."""

    def problems(self) -> list[tuple[str, str]]:
        """Settings that are invalid although their types are right."""
        names = [path.stem for path in configs()]
        if not names or self.model in names or own_config(self.source) is not None or "/" in self.source:
            return []
        close = nearest(self.model, names)
        return [("model", f"open_clip knows no {self.model!r}" + (f"; did you mean {close!r}?" if close else ""))]


def configs() -> list[Path]:
    """open_clip's own model configurations, found without importing it."""
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        return []
    return sorted((Path(spec.origin).parent / "model_configs").glob("*.json"))


def own_config(source: str) -> Mapping[str, Any] | None:
    """The `open_clip_config.json` that a folder brings."""
    return read_json(source, "open_clip_config.json")


def config(settings: Settings) -> dict[str, Any] | None:
    """The model's configuration with the recipe's sizes in it; None where only the hub knows it."""
    found = own_config(settings.source)
    if found is not None:
        found = found.get("model_cfg", found)
    elif "/" in settings.source and on_disk(settings.source) is None and not _random():
        return None
    else:
        at = {path.stem: path for path in configs()}.get(settings.model)
        found = None if at is None else read_json(str(at.parent), at.name)
    if found is None:
        return None
    names = {
        "size": "image_size",
        "patch": "patch_size",
        "width": "width",
        "layers": "layers",
        "head_width": "head_width",
    }
    given = {theirs: getattr(settings, ours) for ours, theirs in names.items() if getattr(settings, ours) is not None}
    embed = found["embed_dim"] if settings.embed is None else settings.embed
    return {**found, "embed_dim": embed, "vision_cfg": {**found["vision_cfg"], **given}}


def _random() -> bool:
    return weights.random()


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    t, known = inputs["pixels"].time, config(settings)
    if settings.pool == "projected":
        return {"pooled": Shape("tokens", t, 1, None if known is None else known["embed_dim"])}
    tokens = d = None
    if known is not None:
        vision = known["vision_cfg"]
        plain = isinstance(vision.get("layers", 12), int) and not vision.get("attentional_pool")
        if plain and "timm_model_name" not in vision and isinstance(vision.get("image_size", 224), int):
            d = vision.get("width", 768)
            tokens = (vision.get("image_size", 224) // vision.get("patch_size", 16)) ** 2
    return (
        {"patches": Shape("tokens", t, tokens, d)} if settings.pool == "none" else {"pooled": Shape("tokens", t, 1, d)}
    )


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    from affectkit_plugins.encoders.open_clip_net import look

    return pixels(raw, look(settings))


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    from affectkit_plugins.encoders.open_clip_net import encoder

    return encoder(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny = {"size": 16, "patch": 8, "width": 16, "layers": 2, "head_width": 8, "embed": 8}
    return [
        Piece(
            "encoder",
            "open_clip",
            Settings,
            build,
            shapes,
            PIXELS,
            ("open_clip",),
            tiny=tiny,
            prepare=prepare,
        )
    ]
