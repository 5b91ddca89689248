"""What is read from media files, and the error where nothing can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from affectkit.errors import MediaError, Problem

Choose = Callable[[int], Iterable[int]]
"""From the number of frames in a file to the indices wanted."""

Span = tuple[float | None, float | None]
"""The part of a file: (start, end) in seconds, None for its own."""


@dataclass(frozen=True)
class Info:
    """What a file's headers say of it; nothing is decoded, and headers may be wrong."""

    size: tuple[int, int] | None
    """(height, width) as stored, before rotation; None without a picture."""
    codec: str
    seconds: float | None
    sound: bool
    frame_rate: float | None
    """Frames a second on average."""


@dataclass(frozen=True)
class DecodedMedia:
    """What was read from one file."""

    total: int = 0
    """How many frames the file decodes to (0 without a picture; with `first_only` not counted: 0 or 1)."""
    frames: dict[int, np.ndarray] = field(default_factory=dict)
    """The wanted frames by index: uint8 [height, width, 3], RGB, upright."""
    times: dict[int, float] = field(default_factory=dict)
    """Seconds from the start of the file, by index."""
    sound: np.ndarray | None = None
    """float32 [a], all channels in one (`affectkit.data.sound.mix`) at the rate asked for; None if the file has no sound."""
    damaged: int = 0
    """Packets that did not decode and were left out."""
    partial: str = ""
    """How much decoded of how much that the headers promise, and why not more; empty for a whole file."""
    heard: tuple[str, ...] = ()
    """What was mended in the sound, in words."""


def must_exist(path: Path) -> None:
    """Raises MediaError where there is no such file."""
    if not Path(path).is_file():
        raise broken(path, "there is no such file")


def broken(path: Path, cause: object) -> MediaError:
    """The error of a file that cannot be decoded, with the decoder's own, or a sentence, for a cause."""
    what = cause if isinstance(cause, str) else f"cannot be decoded ({type(cause).__name__}: {cause})"
    return MediaError(Problem(str(path), what))
