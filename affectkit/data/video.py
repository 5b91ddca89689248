"""Clips and sound to arrays, through PyAV: each file is read once, frames are counted by decoding."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affectkit.data import image as images
from affectkit.data.image import Choose, DecodedMedia, Info, broken, must_exist

if TYPE_CHECKING:
    import av

log = logging.getLogger(__name__)

NOTHING = "it holds neither picture nor sound in a format that is known"


def probe(path: Path) -> Info:
    """The headers of a video or sound file. Raises MediaError if there are none."""
    if Path(path).is_dir():
        return images.probe(Path(path))
    with _open(path) as container:
        video, audio = _video(container), _audio(container)
        if video is None and audio is None:
            raise broken(path, NOTHING)
        size = (video.height, video.width) if video else None
        return Info(size, container.duration / 1e6 if container.duration else None, audio is not None)


def read(
    path: Path, choose: Choose | None = None, rate: int | None = None, *, first_only: bool = False
) -> DecodedMedia:
    """Frames and sound of one file, in one pass; a folder is a clip of the images in it, in the order of their numbers.

    `choose` says which frames to keep (None: no picture wanted), `rate` at which rate the sound (None: none wanted);
    `first_only` promises that `choose` only ever wants frame 0, and stops there. The number of frames that the header
    gives is only a guess of which frames will be kept; if decoding finds another number, and frames are missing
    because of it, the file is read a second time. Packets that do not decode are left out and counted, `partial` says
    what is missing; a file of which nothing decodes raises MediaError. Display rotation is applied, pixel shape is not.
    Colours follow the tagged matrix and range, BT.601 limited where there is no tag. One decoding thread, so that
    results never vary.
    """
    if Path(path).is_dir():
        return images.read(Path(path), choose)
    guess = _Pass(path, choose, rate, first_only)
    decoded = guess.run(None)
    if choose is not None and not first_only:
        missing = _chosen_frames(choose, decoded.total) - set(decoded.frames)
        if missing:
            again = _Pass(path, choose, None, False).run(decoded.total)
            decoded = replace(decoded, frames=again.frames, times=again.times)
        wanted = _chosen_frames(choose, decoded.total)
        kept = {i: f for i, f in decoded.frames.items() if i in wanted}
        decoded = replace(decoded, frames=kept, times={i: decoded.times[i] for i in kept})
    if decoded.partial:
        log.warning("%s: damaged: %s", path, decoded.partial)
    return decoded


class _Pass:
    """One pass through a file."""

    def __init__(self, path: Path, choose: Choose | None, rate: int | None, first_only: bool) -> None:
        self.path, self.choose, self.rate, self.first_only = path, choose, rate, first_only
        self.total = self.damaged = 0
        self.stretches: dict[int, Stretch] = {}
        self.stopped = False
        self.frames: dict[int, np.ndarray] = {}
        self.times: dict[int, float] = {}

    def run(self, total: int | None) -> DecodedMedia:
        """Decode; `total` is the number of frames where it is known already."""
        from av.video.reformatter import VideoReformatter

        to_rgb = VideoReformatter()
        with _open(self.path) as container:
            video = _video(container) if self.choose else None
            audio = _audio(container) if self.rate else None
            if video is None and audio is None:
                if _video(container) is None and _audio(container) is None:
                    raise broken(self.path, NOTHING)
                return DecodedMedia()
            if video is not None and self.choose is not None:
                wanted = _chosen_frames(self.choose, total or (1 if self.first_only else _guess(self.path, video)))
                rate = float(video.average_rate or 25)
            else:
                wanted, rate = set(), 25.0
            streams = [s for s in (video, audio) if s is not None]
            start = (container.start_time or 0) / 1e6
            sound = SoundResampler(self.rate) if audio and self.rate else None
            for stream in streams:
                stream.codec_context.thread_count = 1
                self.stretches[stream.index] = stretch(self.path, container, stream)
            for stream, frame in self._decoded(container, streams):
                at = None if frame.time is None else max(0.0, frame.time - start)
                going = self.stretches[stream.index]
                if stream is audio:
                    assert sound is not None
                    going.reach((going.end if at is None else at) + frame.samples / frame.sample_rate)
                    sound.add(frame)
                    continue
                going.reach((self.total / rate if at is None else at) + 1 / rate)
                index = self.total
                self.total += 1
                if index in wanted:
                    rgb = to_rgb.reformat(frame, format="rgb24").to_ndarray()
                    self.frames[index] = _upright(rgb, frame)
                    self.times[index] = max(0.0, index / rate - start) if at is None else at
                if self.first_only and audio is None:
                    self.stopped = True
                    break
            samples = sound.end() if sound else None
        self._check(video is not None, sound is not None, samples)
        return DecodedMedia(self.total, self.frames, self.times, samples, self._partial())

    def _partial(self) -> str:
        """What is missing of the streams that were read, in words."""
        if self.stopped:  # nothing behind the first frame was asked for
            return ""
        found = [s.words() for s in self.stretches.values()]
        return "; ".join(w for w in (*found, missing_bytes(self.path)) if w)

    def _decoded(self, container: Any, streams: list[Any]) -> Iterator[tuple[Any, Any]]:
        """The frames of those streams as they come, each with its stream; what does not decode is counted."""
        import av

        for stream, decode in self._packets(container, streams):
            try:
                yield from ((stream, frame) for frame in decode())
            except av.error.FFmpegError:
                self._lost(stream)

    def _packets(self, container: Any, streams: list[Any]) -> Iterator[tuple[Any, Callable[[], Any]]]:
        """The stream of each packet and what decodes it; where the file ends in the middle of one, what decoders still hold."""
        import av

        try:
            yield from ((packet.stream, packet.decode) for packet in container.demux(streams))
        except av.error.FFmpegError:
            self._lost(None)
            yield from ((stream, partial(stream.codec_context.decode, None)) for stream in streams)

    def _lost(self, stream: Any) -> None:
        """A packet did not decode; without its stream it may have been of any."""
        self.damaged += 1
        for found in self.stretches.values() if stream is None else [self.stretches[stream.index]]:
            found.damaged += 1

    def _check(self, video: bool, sound: bool, samples: np.ndarray | None) -> None:
        """Raises MediaError for a file of which nothing decodes although its header promises a stream."""
        nothing = not self.total and (samples is None or not samples.size)
        if nothing and (self.damaged or video):
            what = "picture" if video else "sound"
            raise broken(self.path, f"no {what} could be decoded ({self.damaged} broken packets)")
        if video and not self.total:
            raise broken(self.path, f"no frame of the picture could be decoded ({self.damaged} broken packets)")


def _open(path: Path) -> Any:
    import av

    must_exist(path)
    try:
        try:
            return av.open(str(path))
        except UnicodeDecodeError:  # tags in another encoding; from PyAV 19 on they do no harm
            return av.open(str(path), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise broken(path, error) from error


def _video(container: av.container.InputContainer) -> Any:
    """The first real video stream; covers of music files are none."""
    from av.stream import Disposition

    streams = (s for s in container.streams.video if s.codec_context is not None)
    return next((s for s in streams if not s.disposition & Disposition.attached_pic), None)


def _audio(container: av.container.InputContainer) -> Any:
    """The first stream of sound that there is a decoder for."""
    return next((s for s in container.streams.audio if s.codec_context is not None), None)


def _guess(path: Path, stream: Any) -> int:
    """About how many frames: what the header says, else the packets counted without decoding."""
    import av

    count = int(stream.frames)
    if not count:
        with _open(path) as container, suppress(av.error.FFmpegError):
            for packet in container.demux(container.streams[stream.index]):
                count += bool(packet.size)
    return count


def _chosen_frames(choose: Choose, total: int) -> set[int]:
    return {i for i in choose(total) if 0 <= i < total} if total else set()


def _upright(rgb: np.ndarray, frame: Any) -> np.ndarray:
    """The frame turned by its display matrix, to the nearest quarter turn."""
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


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


class SoundResampler:
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
