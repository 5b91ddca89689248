"""What a view hands to an encoder's `prepare`: decoded media as numpy arrays, nothing resized."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RawPixels:
    """Frames or face crops of one sample, in time order."""

    frames: tuple[np.ndarray, ...]
    """Each uint8 [height, width, 3], RGB; sizes may differ from frame to frame (face crops)."""
    indices: np.ndarray
    """int64 [t]: the index of each in the media file (0 for a still)."""
    times: np.ndarray
    """float64 [t]: seconds from the start of the file."""
    valid: np.ndarray
    """bool [t]: False where there is nothing to look at (no face in that frame; the array is then black)."""
    boxes: np.ndarray | None = None
    """float32 [t, 4], x0 y0 x1 y1 in pixels of the whole frame: where each crop was taken; None for whole frames."""
    frame_size: tuple[int, int] | None = None
    """(height, width) of the whole frame."""

    def resized(self, height: int, width: int) -> np.ndarray:
        """uint8 [t, 3, height, width], as most image networks want it (Pillow's bicubic); black where there is nothing to
        look at."""
        from PIL import Image

        out = np.zeros((len(self.frames), 3, height, width), np.uint8)
        for i in np.flatnonzero(self.valid):
            out[i] = np.asarray(Image.fromarray(self.frames[i]).resize((width, height))).transpose(2, 0, 1)
        return out


@dataclass(frozen=True)
class RawWave:
    """Sound of one sample, mono."""

    samples: np.ndarray
    """float32 [a], -1 to 1; [clips, a] where the view cuts clips of one length, padded with zeros."""
    rate: int
    """Samples a second."""


RawView = RawPixels | RawWave | str | np.ndarray
"""A string is a text view (subtitle, question); a bare array float32 [t n d] is precomputed features."""
