"""What the headers of a media file promise, held against what was decoded of it. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRITTEN = ("mov", "matroska", "avi", "flac", "asf", "flv")
"""Formats whose header says how long the file is; elsewhere it is guessed from the bit rate, and promises nothing."""
FREE = 0.15
"""Seconds by which whole files may be shorter than their headers say: encoders pad, containers round."""
UNKNOWN = (0, 0xFFFFFFFF)
"""Sizes that a RIFF file has in its header when it was written to a pipe."""


@dataclass
class Stretch:
    """One stream of a file: how far it should go and how far it went."""

    kind: str
    """`picture` or `sound`."""
    seconds: float | None
    """What the header promises, None where it does not say."""
    end: float = 0.0
    """Seconds from the file's start to the end of the last frame that decoded."""
    promised: int = 0
    """Frames of a picture that the header says there are."""
    frames: int = 0
    """Frames that decoded."""
    damaged: int = 0
    """Packets that did not decode."""

    def reach(self, end: float | None) -> None:
        """A frame was decoded that ends there."""
        self.frames += 1
        self.end = max(self.end, end or 0.0)

    @property
    def short(self) -> bool:
        """Whether it stops well before its promised end."""
        return self.seconds is not None and self.end < self.seconds - max(FREE, 0.02 * self.seconds)

    def words(self) -> str:
        """What is missing, in words; empty for a whole stream."""
        if not (self.short or self.damaged):
            return ""
        count = self.kind == "picture" and max(self.promised, self.frames) > 0
        of = f" of {self.promised}" if self.promised >= self.frames > 0 else ""
        parts = [f"{self.frames}{of} frames"] if count else []
        if self.seconds is not None:
            parts.append(f"{min(self.end, self.seconds):.1f} of {self.seconds:.1f} s")
        why = [f"{self.damaged} broken packet{'s' * (self.damaged > 1)}"] if self.damaged else []
        why += ["it breaks off"] if self.short else []
        return f"{self.kind}: {', '.join(parts) or 'a part'} could be decoded ({', '.join(why)})"


def stretch(path: Path, container: Any, stream: Any) -> Stretch:
    """What an open file promises of one of its streams."""
    kind = "picture" if stream.type == "video" else "sound"
    return Stretch(kind, _seconds(path, container, stream), promised=int(stream.frames) if kind == "picture" else 0)


def _seconds(path: Path, container: Any, stream: Any) -> float | None:
    known = set(container.format.name.split(","))
    if not known & {*WRITTEN} and not ("mp3" in known and _tells_length(path)):
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    tag = {k.upper(): v for k, v in stream.metadata.items()}.get("DURATION")  # Matroska: hours:minutes:seconds
    if tag:
        try:
            hours, minutes, seconds = (float(n) for n in tag.split(":"))
        except ValueError:
            return None
        return 3600 * hours + 60 * minutes + seconds
    alone = len(container.streams) == 1
    return container.duration / 1e6 if container.duration and alone else None


def _tells_length(path: Path) -> bool:
    """Whether an MP3 file has the frame that says how many frames it has."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    return b"Xing" in head or b"Info" in head


def missing_bytes(path: Path) -> str:
    """How much of a RIFF file (WAV, AVI) is not there, in words; decoders take its end for the promised one."""
    with path.open("rb") as file:
        head = file.read(8)
    size = int.from_bytes(head[4:8], "little")
    if not head.startswith(b"RIFF") or size in UNKNOWN:
        return ""
    have, want = path.stat().st_size, size + 8
    return f"file: {have} of {want} bytes are there (it breaks off)" if have < want - 1 else ""
