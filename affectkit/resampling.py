"""Decoded frames of sound to one array at the rate that is wanted. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np


class Sound:
    """Frames of sound to one float32 array: resampled with the channels kept, then their mean."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.parts: list[np.ndarray] = []
        self.form: tuple[str, str, int] | None = None
        self.resampler: Any = None

    def add(self, frame: Any) -> None:
        """One decoded frame; a change of format in mid-file starts a new resampler."""
        import av

        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self.form:
            self._take(None)
            # ffmpeg's own mix to mono adds 3 dB to equal float channels, so the mean is taken here
            self.resampler = av.AudioResampler(format="fltp", layout=frame.layout.name, rate=self.rate)
            self.form = form
        frame.pts = None  # gaps in the time stamps would become silence of any length
        self._take(frame)

    def _take(self, frame: Any) -> None:
        if self.resampler is not None:
            self.parts += [out.to_ndarray().mean(axis=0) for out in self.resampler.resample(frame)]

    def end(self) -> np.ndarray:
        """All samples."""
        self._take(None)
        whole = np.concatenate(self.parts) if self.parts else np.zeros(0, np.float32)
        return np.nan_to_num(whole.astype(np.float32))
