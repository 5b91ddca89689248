"""How published networks see an image: resize, crop, mean and standard deviation, exactly. Imports no
torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.encoders._sizes import read_json

from affectkit.errors import InputError, Problem

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from affectkit.raw import RawPixels

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)

Resize = Literal["published", "squash", "crop", "pad"]
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
"""Pillow's numbers, which published preprocessors also write."""


@dataclass(frozen=True)
class Preprocessing:
    """The way from a frame to what a network is fed."""

    size: int
    """Side of the square that the network sees, in pixels."""
    resize: Literal["squash", "crop", "pad"] = "squash"
    """squash: to the square whatever the aspect; crop: shorter side, then the centre; pad: mean-coloured
    square first."""
    edge: int = 0
    """What is resized to before the centre `size` x `size` is cut out; 0 is `size` itself."""
    filter: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    halves: Literal["down", "even"] = "down"
    """How the crop's corner is rounded: down (transformers with Pillow), or to even (torchvision, timm,
    open_clip)."""
    bgr: bool = False
    """Whether colours come in the order blue, green, red; mean and standard deviation stay where they were."""

    def sized(self, size: int | None) -> Preprocessing:
        """The same look at another size."""
        if size is None or size == self.size:
            return self
        return replace(self, size=size, edge=round(self.edge * size / self.size))

    def resized(self, resize: Resize) -> Preprocessing:
        """The same look with another way to a square."""
        return self if resize == "published" else replace(self, resize=resize)


def published(source: str, default: Preprocessing) -> Preprocessing:
    """The look that the `preprocessor_config.json` of a folder states, filled up from `default`."""
    found = read_json(source, "preprocessor_config.json")
    return default if found is None else _stated(source, found, default)


def _stated(source: str, found: Mapping[str, Any], default: Preprocessing) -> Preprocessing:
    size, crop = found.get("size"), found.get("crop_size")
    cropped = bool(found.get("do_center_crop", default.resize == "crop"))
    shortest = size if isinstance(size, int) else (size or {}).get("shortest_edge")
    edge = _side(
        source,
        size if isinstance(size, dict) and shortest is None else shortest,
        default.edge or default.size,
    )
    if not cropped and isinstance(size, dict) and shortest is not None:
        what = "its preprocessor keeps the aspect and crops nothing, which gives images of many sizes"
        raise InputError(Problem(source, what, "give do_center_crop there, or another source"))
    side = _side(source, crop, default.size) if cropped else edge
    filters = {number: name for name, number in FILTERS.items()}
    return replace(
        default,
        size=side,
        edge=edge,
        resize="crop" if cropped and shortest is not None else "squash",
        filter=filters.get(found.get("resample", FILTERS[default.filter]), default.filter),
        mean=tuple(found.get("image_mean") or default.mean),
        std=tuple(found.get("image_std") or default.std),
    )


def _side(source: str, size: Any, default: int) -> int:
    """One number for a square size, however it is written."""
    if size is None:
        return default
    if isinstance(size, int):
        return size
    sides = {int(size[key]) for key in ("height", "width") if key in size}
    if len(sides) != 1:
        raise InputError(Problem(source, f"its preprocessor wants images of {dict(size)}: only squares are read here"))
    return sides.pop()


def pixels(raw: RawPixels, look: Preprocessing) -> np.ndarray:
    """Frames as uint8 [t c h x]; what is not valid stays black."""
    import numpy as np

    out = np.zeros((len(raw.frames), 3, look.size, look.size), np.uint8)
    for index, frame in enumerate(raw.frames):
        if raw.valid[index]:
            square = _square(frame, look)
            out[index] = (square[..., ::-1] if look.bgr else square).transpose(2, 0, 1)
    return out


def _square(frame: np.ndarray, look: Preprocessing) -> np.ndarray:
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(frame))
    edge = look.edge or look.size
    if look.resize == "pad":
        image = _padded(image, look)
    target = (edge, edge)
    if look.resize == "crop":
        short = min(image.size)
        # int(), not round(): transformers and torchvision both cut the longer side down.
        target = tuple(edge if side == short else int(edge * side / short) for side in image.size)  # type: ignore[assignment]
    if target != image.size:
        image = image.resize(target, resample=Image.Resampling(FILTERS[look.filter]))
    left, top = (_corner(side - look.size, look.halves) for side in image.size)
    return np.asarray(image)[top : top + look.size, left : left + look.size]


def _corner(spare: int, halves: str) -> int:
    return spare // 2 if halves == "down" else round(spare / 2)


def _padded(image: Image, look: Preprocessing) -> Image:
    """The image in the middle of a square of the mean colour, as LLaVA and LLaMA-VID do with stills."""
    from PIL import Image

    wide, high = image.size
    side = max(wide, high)
    square = Image.new("RGB", (side, side), tuple(int(m * 255) for m in look.mean))
    square.paste(image, ((side - wide) // 2, (side - high) // 2))
    return square
