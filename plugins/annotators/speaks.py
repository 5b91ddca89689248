"""Whether the face that is seen is the one that is heard, from the signal alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from affectkit_plugins._values import at_least

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.pieces import Piece, Port, hookimpl

COARSE = 0.15
"""Seconds from frame to frame above which syllables fall between them."""


@dataclass(frozen=True)
class Settings:
    """Rejects clips whose voice is not the visible person's: `score` is the correlation over time of the sound's loudness with
    the edges in the lower half of the face crops (lips that part are two more edges), both without what changes slowly.

    A check by signal, no network for active speakers such as TalkNet: it misses a mouth that is turned away, covered or a few
    pixels wide, takes nodding in time for speech, and does not see that sound is late by less than a frame. It was measured on
    drawn faces only, 100 puppets of two seconds against the sound of each other (`python -m benchmarks hearing`):
    the area under the curve is 0.91 in their split `test`; at 0.38, chosen on `val`, 84 % of the clips stay and 83 % of those
    with another's sound go. On faces of your own look at scores with sound of others first. It wants many frames (a view with
    `pick: all`), crops that follow the face, and the sound from its beginning.
    """

    least: float = 0.38
    """Score below which a clip is rejected."""
    fewest: int = 12
    """Frames with a face that are needed; a clip with fewer is rejected, and so is one with fewer than one in 0.15 s."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = [] if -1 <= self.least <= 1 else [("least", f"must be from -1 to 1, got {self.least}")]
        return found + at_least(self, 4, "fewest")

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        import numpy as np

        from affectkit.raw import RawPixels, RawWave

        time = np.arange(24) / 12
        for rate in (3.0, 2.0):
            opened = (2 + 6 * np.maximum(np.sin(2 * np.pi * rate * time), 0)).round().astype(int)
            frames = [np.full((64, 64, 3), 180, np.uint8) for _ in time]
            for frame, high in zip(frames, opened, strict=True):
                for row in range(44, 44 + high, 2):
                    frame[row, 24:40] = 40
            fine = np.arange(32000) / 16000
            wave = np.maximum(np.sin(2 * np.pi * 3.0 * fine), 0) * np.sin(2 * np.pi * 200 * fine)
            valid = np.ones(len(time), bool)
            faces = RawPixels(tuple(frames), np.arange(len(time)), time, valid)
            yield {"faces": faces, "wave": RawWave(wave.astype(np.float32), 16000)}, ""


def build(settings: Settings) -> Speaks:
    """The annotator."""
    return Speaks(settings)


@dataclass(frozen=True)
class Speaks:
    """See `Settings`."""

    settings: Settings

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`score` of each row, or why it is rejected."""
        return [self._one(row) for row in rows]

    def _one(self, row: ClipRow) -> Findings | Reject:
        import numpy as np
        from affectkit_plugins.annotators._mouth_signal import edges, loudness, together

        faces = row["faces"]
        times = faces.times[faces.valid]
        step = float(np.median(np.diff(times))) if len(times) > 1 else np.inf
        if len(times) < self.settings.fewest or not 0 < step <= COARSE:
            return Reject("too few frames to tell who speaks", f"{len(times)} frames")
        mouth = edges([faces.frames[i] for i in np.flatnonzero(faces.valid)])
        score = round(together(mouth, loudness(row["wave"], times, step), step), 4)
        if score < self.settings.least:
            return Reject("the voice is not the visible person's", f"score {score:.2f}")
        return {"score": score}


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (
        Port("faces", "pixels", "face crops of many frames"),
        Port("wave", "wave", "a view of the sound, from its beginning"),
    )
    return [Piece("annotator", "speaks", Settings, build, ports=ports, tells=("score",))]
