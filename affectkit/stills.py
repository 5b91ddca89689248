"""Pictures to arrays, through Pillow. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from affectkit.decoded import broken, must_exist


def probe_still(path: Path) -> tuple[int, int]:
    """(height, width) of a still by its header, as stored; raises MediaError if there is none, or a checksum is wrong."""
    from PIL import Image

    must_exist(path)
    try:
        with Image.open(path) as image:
            width, height = image.size
            image.verify()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise broken(path, error) from error
    return height, width


def read_still(path: Path) -> np.ndarray:
    """A still as uint8 [height, width, 3], RGB, turned upright by its EXIF orientation.

    Grey and palette pictures become RGB, transparency is dropped, 16-bit grey is scaled to 8. Raises MediaError.
    """
    from PIL import Image, ImageOps

    must_exist(path)
    try:
        with Image.open(path) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                deep = np.asarray(upright).astype(np.float64)
                grey = np.clip(np.round(deep / 257), 0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            return np.array(upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise broken(path, error) from error
