"""Decoded sound to one array: at one rate, in time with the picture, all channels in one."""

from __future__ import annotations

from typing import Any

import numpy as np

from affectkit.data.faces import SILENCE

GAP = 0.06
"""Seconds by which time stamps may differ from what was decoded; larger gaps are silence."""
FAR = 600.0
"""Seconds that a gap may last where the file does not say how long it is; time stamps beyond mean nothing."""
LOUD = 10.0
"""A peak above this many times full scale is another unit (such as 16-bit numbers in floats), not a loud sound."""
CANCELLED = 0.01
"""Energy of the mix, as a part of its loudest channel's, below which the channels have cancelled each other."""
WEIGHTS = {"LFE": 0.0, "LFE2": 0.0, "FC": 1.414, "FL": 1.0, "FR": 1.0, "DL": 1.0, "DR": 1.0}
"""Channels of a surround layout in the mix, as ITU-R BS.775 weighs them: speech is in the centre."""
BEHIND = 0.707
"""Weight of the other channels that have a name."""


class SoundTrack:
    """Frames of sound to float32 [a]: resampled with the channels kept, placed by their time stamps, then mixed.

    The sound begins at `start` seconds of the file's own time: what comes later has silence before it, gaps are silence,
    what lies before is dropped. `limit` is the file's length in seconds, where it says one.
    """

    def __init__(self, rate: int, start: float = 0.0, limit: float | None = None) -> None:
        self.rate, self.start, self.limit = rate, start, limit
        self.notices: list[str] = []
        """What had to be mended, in words."""
        self.parts: list[np.ndarray] = []
        """What is mixed already."""
        self.reach: float | None = None
        """Where the sound ends so far, in seconds of the file; None before the first frame."""
        self._skip = 0  # samples to drop: the first frame may begin before the start
        self._form: tuple[str, str, int, int] | None = None
        self._names: tuple[str, ...] = ()
        self._channels: list[np.ndarray] = []
        self._resampler: Any = None

    def add(self, frame: Any, at: float | None) -> None:
        """One decoded frame that begins at `at` seconds; a gap, or another format, starts a new resampler."""
        import av

        layout = frame.layout
        form = (frame.format.name, layout.name, layout.nb_channels, frame.sample_rate)
        if self._is_gap(at):
            assert at is not None
            self._mix()
            self._fill(at)
        if form != self._form or self._resampler is None:
            self._mix()
            # Packed: with planes, PyAV reads beyond the eighth. And ffmpeg's own mix adds 3 dB to equal channels.
            self._resampler = av.AudioResampler(format="flt", layout=layout, rate=self.rate)
            self._form, self._names = form, tuple(channel.name for channel in layout.channels)
        if self.reach is None:
            self.reach = self.start if at is None else at
        self.reach += frame.samples / frame.sample_rate
        frame.pts = None  # times are kept here
        self._take(frame)

    def end(self, stop: float | None = None) -> np.ndarray:
        """All samples, up to `stop` seconds of the file."""
        self._mix()
        whole = np.concatenate(self.parts) if self.parts else np.zeros(0, np.float32)
        return whole if stop is None else whole[: max(0, round((stop - self.start) * self.rate))]

    def _is_gap(self, at: float | None) -> bool:
        if at is None:
            return False
        before = self.start if self.reach is None else self.reach
        most = before + FAR if self.limit is None else self.limit + 1
        if self.reach is not None:
            return at - before > GAP and at <= most
        return abs(at - before) > (0.0 if self.start else GAP) and at <= most  # a segment is cut at its sample

    def _fill(self, at: float) -> None:
        """Silence up to that time; before the first frame also a debt of samples that lie before the start."""
        have = sum(map(len, self.parts))
        lacking = round((at - self.start) * self.rate) - have
        if lacking > 0:
            self.parts.append(np.zeros(lacking, np.float32))
        elif self.reach is None:
            self._skip = -lacking
        self.reach = at

    def _take(self, frame: Any) -> None:
        if self._resampler is not None:
            count = len(self._names)
            self._channels += [out.to_ndarray().reshape(-1, count) for out in self._resampler.resample(frame)]

    def _mix(self) -> None:
        """Ends the present resampler; its channels become one."""
        self._take(None)
        self._resampler = None
        if self._channels:
            mixed, notices = mix(np.concatenate(self._channels), self._names)
            self.notices += [n for n in notices if n not in self.notices]
            self.parts.append(mixed[self._skip :])
            self._skip = max(0, self._skip - len(mixed))
            self._channels = []


def mix(channels: np.ndarray, names: tuple[str, ...] = ()) -> tuple[np.ndarray, list[str]]:
    """(float32 [a], what had to be mended) of channels [a n].

    Two channels: their mean. More: the sum weighted by what the layout calls them, those without sound left out, as loud as
    uncorrelated channels are together and never louder than the loudest. Channels that cancel each other: the loudest.
    Infinite numbers and NaN become 0, and a level far beyond full scale is scaled to it.
    """
    channels = channels.astype(np.float32, copy=False)
    notices = []
    odd = int((~np.isfinite(channels)).sum())
    if odd:
        channels = np.nan_to_num(channels, nan=0.0, posinf=0.0, neginf=0.0)
        notices.append(f"{odd} numbers of its sound are infinite or NaN and became 0")
    peaks = abs(channels).max(axis=0) if len(channels) else np.zeros(channels.shape[1])
    if peaks.max() > LOUD:
        notices.append(f"its sound peaks at {peaks.max():.3g} times full scale and was scaled to it")
        channels, peaks = channels / peaks.max(), peaks / peaks.max()
    count = channels.shape[1]
    if count == 1:
        return channels[:, 0], notices
    if count == 2:
        mixed = channels.mean(axis=1)
    else:
        weights = np.array(
            [WEIGHTS.get(n, BEHIND) if n in WEIGHTS or _named(n) else 1.0 for n in names or [""] * count]
        )
        weights = weights * (peaks > SILENCE)
        mixed = channels @ (weights / max(1e-9, float(np.sqrt((weights**2).sum())))).astype(np.float32)
        loudest = abs(mixed).max() if len(mixed) else 0.0
        mixed = mixed * np.float32(min(1.0, peaks.max() / loudest)) if loudest > 0 else mixed
    energies = (channels.astype(np.float64) ** 2).sum(axis=0)
    if peaks.max() > SILENCE and (mixed.astype(np.float64) ** 2).sum() < CANCELLED * energies.max():
        best = int(energies.argmax())
        notices.append(f"its {count} channels cancel each other: channel {best + 1} is heard alone")
        mixed = channels[:, best]
    return np.ascontiguousarray(mixed, dtype=np.float32), notices


def _named(name: str) -> bool:
    """Whether the file says where a channel belongs."""
    return bool(name) and name.upper() not in ("NONE", "UNKNOWN", "UNK", "UNSD", "USR")
