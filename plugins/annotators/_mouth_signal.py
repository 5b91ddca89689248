"""How open a mouth is over time, from the edges in the lower half of face crops, and how loud the sound is. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

SIDE = 64
"""Pixels of a crop's side before it is looked at."""
MOUTH = (slice(38, 60), slice(16, 48))
"""Rows and columns in which the mouth is looked for."""
SLOW = 0.4
"""Seconds over which a mean is taken off: an expression that comes and goes is no speech."""


def edges(frames: Sequence[np.ndarray]) -> np.ndarray:
    """[t]: how much the grey of each crop changes from row to row where the mouth is. Lips that part are two more edges."""
    from PIL import Image

    found = []
    for frame in frames:
        small = Image.fromarray(frame).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        place = np.asarray(small, np.float64)[MOUTH] / 255
        found.append(abs(np.diff(place, axis=0)).mean())
    return np.array(found)


def loudness(wave: Any, times: np.ndarray, step: float) -> np.ndarray:
    """[t]: root mean square of a `RawWave` around each time, over one step of the frames."""
    samples = np.asarray(wave.samples, np.float64).reshape(-1)
    total = np.concatenate([[0.0], np.cumsum(samples**2)])
    low, high = (np.clip(((times + side * step / 2) * wave.rate).astype(int), 0, len(samples)) for side in (-1, 1))
    return np.sqrt(np.maximum(total[high] - total[low], 0.0) / np.maximum(high - low, 1))


def together(one: np.ndarray, other: np.ndarray, step: float) -> float:
    """The correlation of two courses without what is slow in them; 0 where one does not move."""
    one, other = (_quick(course, step) for course in (one, other))
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return 0.0 if scale < 1e-12 else float((one * other).sum() / scale)


def _quick(course: np.ndarray, step: float) -> np.ndarray:
    width = max(3, 2 * round(SLOW / step / 2) + 1)
    padded = np.pad(course, width // 2, mode="edge")
    left = course - np.convolve(padded, np.ones(width) / width, "valid")
    moving: np.ndarray = left - left.mean()
    return moving
