"""What the encoders of images share: blocks and their sizes, the pixel port, preprocessing. Imports no
torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from affectkit_plugins.encoders._pixels import Preprocessing, pixels

from affectkit.pieces import Port, Shape

if TYPE_CHECKING:
    import numpy as np

PIXELS = (Port("pixels", "pixels", "frames or face crops"),)


class Looks(Protocol):
    """Settings that say how the network sees an image."""

    def look(self) -> Preprocessing: ...


def prepare(settings: Looks, port: str, raw: Any) -> np.ndarray:
    """Frames or crops (`RawPixels`) as the network sees them, uint8 [t c h x]."""
    return pixels(raw, settings.look())


def image_shapes(
    inputs: Mapping[str, Shape], tokens: int | None, width: int | None, pool: str, cls: bool = True
) -> dict[str, Shape]:
    """The blocks of a choice of pooling: patches (and cls), or pooled (and cls)."""
    t = inputs["pixels"].time
    token = Shape("tokens", t, 1, width)
    extra = {"cls": token} if cls else {}
    if pool == "none":
        return {"patches": Shape("tokens", t, tokens, width), **extra}
    return {"pooled": token} if pool == "cls" else {"pooled": token, **extra}
