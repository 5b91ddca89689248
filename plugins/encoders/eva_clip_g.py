"""The EVA vision transformer that BLIP-2, LLaMA-VID and Emotion-LLaMA look through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from affectkit_plugins.adapters._shapes import plus
from affectkit_plugins.encoders._images import PIXELS, image_shapes, prepare
from affectkit_plugins.encoders._pixels import CLIP_MEAN, CLIP_STD, Preprocessing, Resize
from affectkit_plugins.encoders._sizes import Family, grid_tokens, sizes
from affectkit_plugins.encoders._vision import NAMES, TINY, VisionSettings

from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    from torch import nn

# `size` is the recipe's alone here: positions are interpolated to it, so the checkpoint's goes by another name.
GIANT = {"trained_size": 224, "patch": 14, "width": 1408, "layers": 39, "heads": 16, "hidden": 6144}
FAMILY = Family(
    names={"trained_size": NAMES["size"], **{k: v for k, v in NAMES.items() if k != "size"}},
    published=GIANT,
    absent=GIANT,
    section="vision_config",
    # The published default of 1e-10 would leave random weights at zero.
    fixed={"initializer_range": 0.02},
)


@dataclass(frozen=True)
class Settings(VisionSettings):
    """EVA-CLIP ViT-G/14 as BLIP-2 uses it (`InstructBlipVisionModel`: 39 of 40 blocks, 1408 wide): patch and
    class tokens.

    LLaMA-VID and EMO-LLaMA take its tokens before the final norm at 224 pixels; Emotion-LLaMA after it, at
    448.
    """

    source: str = ""
    """Hub id or folder of BLIP-2 or InstructBLIP, or `eva_vit_g.pth` itself; empty for random weights."""
    size: int = 224
    """Side of the image in pixels; other than the checkpoint's, its positions are interpolated (bicubic)."""
    resize: Resize = "published"
    """How an image becomes a square: as published (squash), crop (LLaMA-VID's video frames) or pad (its
    stills)."""
    trained_size: int | None = None
    """Side of the image that the checkpoint's positions are for; None is the checkpoint's, or as published (224)."""
    norm: Literal["before", "after"] = "before"
    """Whether tokens are taken before the final norm (`ln_vision`) or after it."""
    norm_eps: float = 1e-6
    """Epsilon of that norm: 1e-6 in transformers, 1e-5 in LAVIS, MiniGPT-v2 and Emotion-LLaMA."""
    pool: Literal["none", "all", "mean", "cls"] = "none"
    """none: patches and cls; all: one block, the class token before the patches (LLaMA-VID); mean: over the
    patches; cls: the class token."""

    def problems(self) -> list[tuple[str, str]]:
        patch = self.patch or FAMILY.published["patch"]
        return [("size", f"{self.size} is no multiple of the patch, {patch} pixels")] if self.size % patch else []

    def look(self) -> Preprocessing:
        """As published: squashed to a square."""
        bgr = self.colours == "bgr"
        return Preprocessing(self.size, "squash", mean=CLIP_MEAN, std=CLIP_STD, bgr=bgr).resized(self.resize)


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    known = sizes(FAMILY, settings)
    patches = grid_tokens(settings.size, known["patch"])
    if settings.pool == "all":
        return {"tokens": Shape("tokens", inputs["pixels"].time, plus(patches, 1), known["width"])}
    return image_shapes(inputs, patches, known["width"], settings.pool)


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    from affectkit_plugins.encoders.eva_clip_g_net import encoder

    return encoder(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny, needs = {**TINY, "size": 24, "trained_size": 16}, ("transformers",)
    return [Piece("encoder", "eva_clip_g", Settings, build, shapes, PIXELS, needs, tiny=tiny, prepare=prepare)]
