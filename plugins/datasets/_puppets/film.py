"""Frames and sound into an mp4 (H.264 + AAC), the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from .voice import RATE

_X264 = {"preset": "veryfast", "crf": "20", "threads": "1", "x264-params": "weightp=0:mbtree=0"}
"""With weighted prediction and macroblock trees one film in 20 came out different, on one thread too."""


def write_film(path: Path, frames: Sequence[np.ndarray], wave: np.ndarray, fps: int) -> None:
    """Write frames (uint8 [h, w, 3], even sizes) and a mono wave (float32, 16 kHz), on one thread."""
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as film:
        video = film.add_stream("libx264", rate=fps, options=_X264)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.thread_count = 1
        audio = film.add_stream("aac", rate=RATE, layout="mono")
        audio.bit_rate = 64_000
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            film.mux(video.encode(frame))
        film.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
        sound.sample_rate = RATE
        sound.pts = 0
        film.mux(audio.encode(sound))
        film.mux(audio.encode(None))
