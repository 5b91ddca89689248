"""What goes to a model and what comes back: messages with pictures and sound, replies with what they took."""

from __future__ import annotations

import io
import mimetypes
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

    from affectkit.raw import RawWave

QUALITY = 90
"""JPEG quality of pictures that are sent."""


@dataclass(frozen=True)
class Attachment:
    """A picture or a sound that lies in memory, as the bytes of a file."""

    data: bytes
    type: str
    """Its media type (`image/jpeg`, `audio/wav`)."""


@dataclass(frozen=True)
class Message:
    """One message of a conversation: text, with stills and sound where the model takes them."""

    text: str
    role: Literal["system", "user", "assistant"] = "user"
    images: tuple[str | Attachment, ...] = ()
    """Pictures: paths, or what lies in memory."""
    audio: tuple[str | Attachment, ...] = ()
    """Sounds: paths, or what lies in memory."""


class Reply(str):
    """A model's text with what it took; a client that knows no more than the text may give a plain string."""

    tokens_in: int
    tokens_out: int
    cost: float
    """In the currency of the client's prices."""

    def __new__(cls, text: str, tokens_in: int = 0, tokens_out: int = 0, cost: float = 0.0) -> Reply:
        """A text."""
        made = super().__new__(cls, text)
        made.tokens_in, made.tokens_out, made.cost = tokens_in, tokens_out, cost
        return made


def loaded(file: str | Attachment) -> Attachment:
    """A file with its bytes. Raises OSError where a path cannot be read."""
    if isinstance(file, Attachment):
        return file
    return Attachment(Path(file).read_bytes(), mimetypes.guess_type(file)[0] or "application/octet-stream")


def picture(frame: np.ndarray, most: int = 768) -> Attachment:
    """A frame, uint8 [h, w, 3] in RGB, as a JPEG whose longer side has at most `most` pixels."""
    from PIL import Image

    image = Image.fromarray(frame)
    if max(image.size) > most:
        image.thumbnail((most, most), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY)
    return Attachment(out.getvalue(), "image/jpeg")


def sound(heard: RawWave) -> Attachment:
    """A sound as a WAV file of 16 bits; clips that a view cut stand one behind the other."""
    import numpy as np

    samples = np.clip(np.asarray(heard.samples, np.float32).reshape(-1), -1, 1)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(heard.rate)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return Attachment(out.getvalue(), "audio/wav")


def words_of(messages: Sequence[Message]) -> str:
    """All texts of a conversation, one behind the other: for an estimate of its length."""
    return "\n".join(message.text for message in messages)
