"""Clips and sound to arrays, through PyAV: each file is read once, frames are counted by decoding."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affectkit.data import image as images
from affectkit.data.image import Choose, DecodedMedia, Info, TimeSpan, broken, must_exist
from affectkit.data.sound import SoundTrack
from affectkit.errors import MediaError, Problem

if TYPE_CHECKING:
    import av

log = logging.getLogger(__name__)

SEEK = 1.0
"""Seconds before a segment's start from which decoding begins; files are not cut at every frame."""
SLOWEST = 1000
"""Samples a second below which a header lies: resampled from there, a small file would fill the memory."""
NEAR = 1e-3
"""Seconds by which a time stamp may be rounded."""
NOTHING = "it holds neither picture nor sound in a format that is known"


def probe(path: Path) -> Info:
    """The headers of a video or sound file. Raises MediaError if there are none."""
    if Path(path).is_dir():
        return images.probe(Path(path))
    with _open(path) as container:
        video, audio = _video(container), _audio(container)
        if video is None and audio is None:
            raise broken(path, NOTHING)
        if audio is not None:
            _refuse_rate(path, audio.codec_context.sample_rate or SLOWEST)
        size = (video.height, video.width) if video else None
        return Info(size, container.duration / 1e6 if container.duration else None, audio is not None)


def read(
    path: Path,
    choose: Choose | None = None,
    rate: int | None = None,
    *,
    first_only: bool = False,
    span: TimeSpan = (None, None),
) -> DecodedMedia:
    """Frames and sound of one file, in one pass; a folder is a clip of the images in it, in the order of their numbers.

    `span` is the part to read, (start, end) in seconds of the file: frames are counted, and times told, from its start.
    Sound is in time with the picture: what begins later has silence before it, and gaps are silence. Of several sounds, or
    pictures, the one that the file calls its default is read.

    `choose` says which frames to keep (None: no picture wanted), `rate` at which rate the sound (None: none wanted);
    `first_only` promises that `choose` only ever wants frame 0, and stops there. The number of frames that the header
    gives is only a guess of which frames will be kept; if decoding finds another number, and frames are missing
    because of it, the file is read a second time. Packets that do not decode are left out and counted, `partial` says
    what is missing; a file of which nothing decodes raises MediaError. The display matrix is applied to the nearest quarter
    turn, mirrors included; pixel shape is not.
    Colours follow the tagged matrix and range, BT.601 limited where there is no tag. One decoding thread, so that
    results never vary.
    """
    try:
        if Path(path).is_dir():
            return images.read(Path(path), choose, span)
        decoded = _read(path, choose, rate, first_only, span)
    except MediaError:
        raise
    except Exception as error:  # whatever a damaged file makes a decoder raise, it costs that file
        raise broken(path, error) from error
    if decoded.partial:
        log.warning("%s: damaged: %s", path, decoded.partial)
    return decoded


def _read(path: Path, choose: Choose | None, rate: int | None, first_only: bool, span: TimeSpan) -> DecodedMedia:
    """`read` of a file, which may take two passes."""
    decoded = _Pass(path, choose, rate, first_only, span).run(None)
    if choose is not None and not first_only:
        missing = _chosen_frames(choose, decoded.total) - set(decoded.frames)
        if missing:
            again = _Pass(path, choose, None, False, span).run(decoded.total)
            decoded = replace(decoded, frames=again.frames, times=again.times)
        wanted = _chosen_frames(choose, decoded.total)
        kept = {i: f for i, f in decoded.frames.items() if i in wanted}
        decoded = replace(decoded, frames=kept, times={i: decoded.times[i] for i in kept})
    return decoded


class _Pass:
    """One pass through a file."""

    def __init__(self, path: Path, choose: Choose | None, rate: int | None, first_only: bool, span: TimeSpan) -> None:
        self.path, self.choose, self.rate, self.first_only = path, choose, rate, first_only
        self.start, self.stop = span[0] or 0.0, span[1]
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
            rate = float(video.average_rate or 25) if video is not None else 25.0
            wanted = set[int]()
            if video is not None and self.choose is not None:
                count = total or (1 if self.first_only else self._guess(container, video, rate))
                wanted = _chosen_frames(self.choose, count)
            streams = [s for s in (video, audio) if s is not None]
            offset = (container.start_time or 0) / 1e6
            limit = container.duration / 1e6 if container.duration else None
            sound = SoundTrack(self.rate, self.start, limit) if audio and self.rate else None
            for stream in streams:
                stream.codec_context.thread_count = 1
                self.stretches[stream.index] = self._stretch(container, stream)
            self._seek(container, offset)
            for stream, frame in self._decoded(container, streams):
                at = None if frame.time is None else max(0.0, frame.time - offset)
                going = self.stretches[stream.index]
                if stream is audio:
                    assert sound is not None
                    self._hear(sound, frame, at, going)
                elif self._see(frame, at, rate, going):
                    if self.total - 1 in wanted:
                        rgb = to_rgb.reformat(frame, format="rgb24").to_ndarray()
                        self.frames[self.total - 1] = _upright(rgb, frame)
                    if self.first_only and audio is None:
                        self.stopped = True
                        break
                if self.stop is not None and all(s.end >= self.stop for s in self.stretches.values()):
                    break
            samples = sound.end(self.stop) if sound else None
        self._check(video is not None, sound is not None, samples)
        times = {i: t for i, t in self.times.items() if i in self.frames}
        heard = tuple(sound.notices) if sound else ()
        return DecodedMedia(self.total, self.frames, times, samples, self._partial(), heard)

    def _seek(self, container: Any, offset: float) -> None:
        """To the key frame before the start, where the file can."""
        import av

        if self.start > SEEK:
            with suppress(av.error.FFmpegError):  # then all of it is decoded up to there
                container.seek(int((self.start + offset - SEEK) * 1e6))

    def _hear(self, sound: SoundTrack, frame: Any, at: float | None, going: Stretch) -> None:
        """One frame of sound, unless it lies outside the span."""
        _refuse_rate(self.path, frame.sample_rate)
        begin = going.end if at is None else at
        end = begin + frame.samples / frame.sample_rate
        if end > self.start and (self.stop is None or begin < self.stop):
            sound.add(frame, at)
        going.reach(end)

    def _see(self, frame: Any, at: float | None, rate: float, going: Stretch) -> bool:
        """Whether a frame of the picture lies in the span; then it is counted."""
        begin = self.start + self.total / rate if at is None else at
        inside = begin >= self.start - NEAR and (self.stop is None or begin < self.stop - NEAR)
        going.reach(begin + 1 / rate)
        if inside:
            self.times[self.total] = begin - self.start if self.start or at is not None else self.total / rate
            self.total += 1
        return inside

    def _guess(self, container: Any, stream: Any, rate: float) -> int:
        """About how many frames lie in the span: what the header says, else the packets counted without decoding."""
        if self.start or self.stop is not None:
            stop = self.stop if self.stop is not None else (container.duration or 0) / 1e6
            return max(1, round((stop - self.start) * rate))
        count = int(stream.frames)
        return count or _packets(self.path, stream.index)

    def _stretch(self, container: Any, stream: Any) -> Stretch:
        """What the span of a stream should hold."""
        made = stretch(self.path, container, stream)
        if self.stop is not None:
            return Stretch(made.kind, self.stop)
        return replace(made, promised=0) if self.start else made

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
        ends = max((s.end for s in self.stretches.values()), default=0.0)
        if nothing and self.start and ends <= self.start and not self.damaged:
            raise broken(self.path, f"the segment starts at {self.start:g} s, and the file ends at {ends:.1f} s")
        if nothing and (self.damaged or video):
            what = "picture" if video else "sound"
            raise broken(self.path, f"no {what} could be decoded ({self.damaged} broken packets)")
        if video and not self.total:
            raise broken(self.path, f"no frame of the picture could be decoded ({self.damaged} broken packets)")


def _refuse_rate(path: Path, rate: int) -> None:
    """Raises MediaError for a rate that no sound has."""
    if rate < SLOWEST:
        what = f"its header says {rate} samples a second, which is no sound's rate"
        raise MediaError(Problem(str(path), what, "save it anew with its true rate"))


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """An open file; closed behind the `with`. Raises MediaError for one that no reader takes."""
    must_exist(path)
    with ExitStack() as stack:
        # An absolute path behind file: is never taken for a protocol (`10:32.mp4`, `concat:…`).
        name: Any = f"file:{os.path.abspath(path)}"
        try:
            name.encode()
        except UnicodeEncodeError:  # FFmpeg wants names in UTF-8
            name = stack.enter_context(path.open("rb"))
        yield stack.enter_context(_container(path, name))


def _container(path: Path, file: Any) -> Any:
    import av

    try:
        try:
            return av.open(file)
        except UnicodeDecodeError:  # tags in another encoding; from PyAV 19 on they do no harm
            return av.open(file, metadata_errors="ignore")
    except Exception as error:  # a damaged header fails in as many ways as there are formats
        raise broken(path, error) from error


def _video(container: av.container.InputContainer) -> Any:
    """The default stream of pictures, else the first; covers of music files are none."""
    from av.stream import Disposition

    return _default([s for s in container.streams.video if not s.disposition & Disposition.attached_pic])


def _audio(container: av.container.InputContainer) -> Any:
    """The default stream of sound, else the first."""
    return _default(list(container.streams.audio))


def _default(streams: list[Any]) -> Any:
    """Of those that there is a decoder for, the one that the file calls its default, else the first; None for none."""
    from av.stream import Disposition

    known = [s for s in streams if s.codec_context is not None]
    return next((s for s in known if s.disposition & Disposition.default), next(iter(known), None))


def _packets(path: Path, index: int) -> int:
    """The packets of a stream, counted without decoding."""
    import av

    count = 0
    with _open(path) as container, suppress(av.error.FFmpegError):
        for packet in container.demux(container.streams[index]):
            count += bool(packet.size)
    return count


def _chosen_frames(choose: Choose, total: int) -> set[int]:
    return {i for i in choose(total) if 0 <= i < total} if total else set()


def _upright(rgb: np.ndarray, frame: Any) -> np.ndarray:
    """The frame as its display matrix shows it, to the nearest quarter turn, mirrored where that mirrors."""
    from av.sidedata.sidedata import Type

    side = frame.side_data.get(Type.DISPLAYMATRIX)
    if side is None:
        return rgb
    right_x, right_y, _, down_x, down_y = np.frombuffer(side, "<i4", 5).astype(float)  # of 16.16: signs and order count
    if abs(right_y) + abs(down_x) > abs(right_x) + abs(down_y):
        rgb, right_x, down_y = rgb.swapaxes(0, 1), down_x, right_y
    return np.ascontiguousarray(rgb[:: -1 if down_y < 0 else 1, :: -1 if right_x < 0 else 1])


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
    # Matroska's lengths count from 0, ours from where the file begins
    begun = (container.start_time or 0) / 1e6 if "matroska" in known else 0.0
    tag = {k.upper(): v for k, v in stream.metadata.items()}.get("DURATION")  # Matroska: hours:minutes:seconds
    if tag:
        try:
            hours, minutes, seconds = (float(n) for n in tag.split(":"))
        except ValueError:
            return None
        return 3600 * hours + 60 * minutes + seconds - begun
    alone = len(container.streams) == 1
    return container.duration / 1e6 - begun if container.duration and alone else None


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
