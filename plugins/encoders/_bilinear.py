"""Bilinear resizing that smooths nothing, as networks of TensorFlow 1 were fed. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def resized(image: np.ndarray, side: int) -> np.ndarray:
    """An image [h w c] as float32 [side side c]: place i reads i * size / side."""
    import numpy as np

    def places(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.arange(side) * (size / side)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, size - 1), (at - low).astype(np.float32)

    (top, bottom, down), (left, right, across) = (places(size) for size in image.shape[:2])
    rows = image.astype(np.float32)
    down, across = down[:, None, None], across[None, :, None]
    upper = rows[top][:, left] * (1 - across) + rows[top][:, right] * across
    lower = rows[bottom][:, left] * (1 - across) + rows[bottom][:, right] * across
    return upper * (1 - down) + lower * down
