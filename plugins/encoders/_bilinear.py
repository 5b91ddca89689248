"""Bilinear resizing that smooths nothing, as networks of TensorFlow and OpenCV were fed. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def resized(image: np.ndarray, side: int, half: bool = False) -> np.ndarray:
    """An image [h w c] as float32 [side side c].

    Place i reads i * size / side, as TensorFlow 1 did; with `half` the pixels' centres are held to each other, as in OpenCV.
    """
    import numpy as np

    def places(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.arange(side) * (size / side)
        if half:
            at = np.clip(at + (size / side - 1) / 2, 0, size - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, size - 1), (at - low).astype(np.float32)

    (top, bottom, down), (left, right, across) = (places(size) for size in image.shape[:2])
    rows = image.astype(np.float32)
    down, across = down[:, None, None], across[None, :, None]
    upper = rows[top][:, left] * (1 - across) + rows[top][:, right] * across
    lower = rows[bottom][:, left] * (1 - across) + rows[bottom][:, right] * across
    return upper * (1 - down) + lower * down
