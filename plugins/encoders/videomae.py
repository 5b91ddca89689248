"""VideoMAE: sixteen frames of a clip together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from affectkit_plugins.encoders._images import prepare
from affectkit_plugins.encoders._pixels import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from affectkit_plugins.encoders._sizes import Family, grid_tokens, sizes
from affectkit_plugins.encoders._vision import BASE, LARGE, NAMES, TINY, VisionSettings, seen

from affectkit.pieces import Piece, Port, Shape, hookimpl

if TYPE_CHECKING:
    from torch import nn

CLIP = {"frames": 16, "tubelet": 2}
FAMILY = Family(
    names={**NAMES, "frames": "num_frames", "tubelet": "tubelet_size"},
    published={**LARGE, **CLIP},
    absent={**BASE, **CLIP},
    fixed={"layer_norm_eps": 1e-6, "use_mean_pooling": False},
)


@dataclass(frozen=True)
class Settings(VisionSettings):
    """VideoMAE's encoder (Tong et al. 2022, `VideoMAEModel`): sixteen frames to 1,568 tokens of one time
    step, or to one; published: ViT-L/16 at 224 pixels.

    Emotion-LLaMA's temporal view is a ViT-L/16 on sixteen face crops with `pool: mean`. Where a clip has
    fewer real frames than the network wants, or more, its own are drawn evenly, the same one several times if
    need be.
    """

    source: str = ""
    """Hub id, folder written by `save_pretrained`, or a `.pth` in the layout of VideoMAE's own code; empty
    for random weights."""
    frames: int | None = None
    """Frames of a clip; None is the checkpoint's, or as published (16)."""
    tubelet: int | None = None
    """Frames that one patch spans; None is the checkpoint's, or as published (2)."""
    pool: Literal["none", "mean"] = "none"
    """none: all patches; mean: over the patches."""
    normalise: bool = True
    """Whether pixels are centred and scaled as published; false leaves 0 to 1."""

    def look(self) -> Preprocessing:
        """As published: shorter side, then centre crop."""
        return seen(FAMILY, self, Preprocessing(224, "crop", filter="bilinear", mean=IMAGENET_MEAN, std=IMAGENET_STD))


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    known = sizes(FAMILY, settings)
    if settings.pool == "mean":
        return {"pooled": Shape("tokens", 1, 1, known["width"])}
    grid, frames, tubelet = grid_tokens(known["size"], known["patch"]), known["frames"], known["tubelet"]
    tokens = None if grid is None or frames is None or tubelet is None else grid * (frames // tubelet)
    return {"patches": Shape("tokens", 1, tokens, known["width"])}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    from affectkit_plugins.encoders.videomae_net import encoder

    return encoder(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny, needs = {**TINY, "frames": 4}, ("transformers",)
    ports = (Port("pixels", "pixels", "frames or face crops of one clip, in time order"),)
    return [Piece("encoder", "videomae", Settings, build, shapes, ports, needs, tiny=tiny, prepare=prepare)]
