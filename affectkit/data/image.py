"""Pictures and folders of frames to arrays, through Pillow; and the records of what is read from media files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from affectkit.errors import MediaError, Problem

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

Choose = Callable[[int], Iterable[int]]
"""From the number of frames in a file to the indices wanted."""
TimeSpan = tuple[float | None, float | None]
"""The part of a file: (start, end) in seconds, None for its own."""


@dataclass(frozen=True)
class Info:
    """What a file's headers say of it; nothing is decoded, and headers may be wrong."""

    size: tuple[int, int] | None
    """(height, width) as stored, before rotation; None without a picture."""
    seconds: float | None
    sound: bool


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


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture of which the header is read. Raises MediaError for what is none, also where its pixels turn out to be broken."""
    from PIL import Image

    must_exist(path)
    try:
        with Image.open(path) as image:
            yield image
    except MediaError:
        raise
    except Exception as error:  # each of Pillow's forty readers fails in its own ways
        raise broken(path, error) from error


def verify_still(path: Path) -> tuple[int, int]:
    """(height, width) of a still as stored, by its header; decodes nothing. Raises MediaError where that cannot be read, or
    for a wrong checksum."""
    with _opened(path) as image:
        width, height = image.size
        image.verify()
        return height, width


def read_still(path: Path) -> np.ndarray:
    """A still as uint8 [height, width, 3], RGB, turned upright by its EXIF orientation.

    Grey and palette pictures become RGB, transparency is dropped, 16-bit grey is scaled to 8. Raises MediaError, also for
    numbers of which nothing says which of them is white: 32-bit and float pictures.
    """
    import numpy as np
    from PIL import ImageOps

    with _opened(path) as image:
        # 16-bit colours: Pillow keeps the upper half of each number
        halved = image.mode in COLOURS and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
        image.load()
        deep = image.mode.startswith("I;16")  # known by its name: what Pillow makes of it loses the depth
        upright = ImageOps.exif_transpose(image)
        if image.mode in ("I", "F") and not _is_16_bit(image):
            kind = "float" if image.mode == "F" else "32-bit"
            raise _unscaled(path, f"is a picture of {kind} numbers, and nothing says which of them is white")
        if deep or image.mode == "I":
            numbers = np.asarray(upright).astype(np.float64)
            if 0 < numbers.max() < 4096:
                raise _unscaled(
                    path, f"is a 16-bit picture with nothing above {numbers.max():.0f}: 12-bit numbers, perhaps"
                )
            grey = np.clip(np.round(numbers / 257), 0, 255).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2)
        rgb = np.array(upright.convert("RGB"))
        if halved and 0 < rgb.max() < 16:
            raise _unscaled(path, "is a 16-bit picture with nothing above 4095: 12-bit numbers, perhaps")
        return rgb


def _unscaled(path: Path, what: str) -> MediaError:
    return MediaError(Problem(str(path), what, "save it with 8 bits a channel, or all of 16"))


def _is_16_bit(image: Image.Image) -> bool:
    """Whether a picture that Pillow holds in 32 bits has 16 of them in its file, as PNG and PGM have."""
    return image.mode == "I" and image.format in ("PNG", "PPM")


COLOURS = ("RGB", "RGBA", "LA")
"""Modes in which Pillow holds pictures with 16 bits a channel."""
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

RATE = 25.0
"""Frames a second that are taken for granted: a folder does not say."""


def frames_in(folder: Path) -> list[Path]:
    """The frames of a folder in order (`2.jpg` before `10.jpg`). Raises MediaError where there are none."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.lower().endswith(ENDINGS) and not e.name.startswith(".")]
    if not names:
        raise MediaError(Problem(str(folder), f"the folder holds no frame ({', '.join(ENDINGS)})"))
    return [folder / name for name in sorted(names, key=by_number)]


def by_number(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts runs of digits by their number.

    >>> sorted(["10.jpg", "2.jpg", "00001_3.jpg"], key=by_number)
    ['00001_3.jpg', '2.jpg', '10.jpg']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return tuple((0, int(p), "") if p[0] in "0123456789" else (1, 0, p) for p in parts)


def read(folder: Path, choose: Choose | None, span: TimeSpan = (None, None)) -> DecodedMedia:
    """The frames that `choose` wants of those in the span; only they are decoded. A folder has no sound."""
    if choose is None:
        return DecodedMedia()
    start, stop = (None if t is None else round(t * RATE) for t in span)
    paths = frames_in(folder)[start:stop]
    if not paths:
        raise broken(folder, f"no frame lies in the segment from {span[0]:g} s on, at {RATE:g} frames a second")
    wanted = sorted({i for i in choose(len(paths)) if 0 <= i < len(paths)})
    frames = {i: read_still(paths[i]) for i in wanted}
    return DecodedMedia(len(paths), frames, {i: i / RATE for i in wanted})


def probe(folder: Path) -> Info:
    """What the first frame's header says."""
    with _opened(frames_in(folder)[0]) as image:
        return Info((image.height, image.width), None, False)


def files_of(path: Path) -> list[Path]:
    """The file itself, or the frames of a folder. Raises MediaError for a folder without any."""
    return frames_in(path) if path.is_dir() else [path]


def content(path: Path) -> str:
    """A hash of what is in a file, or in the frames of a folder in their order (their names do not count)."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files_of(path):
        with file.open("rb") as opened:
            hashlib.file_digest(opened, lambda: digest)
    return digest.hexdigest()
