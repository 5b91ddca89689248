"""How a voice sounds, in the words of a model that hears."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from affectkit_plugins._values import at_least
from affectkit_plugins.annotators._asked import FORM, ask_text

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.evaluation.clients import CachedClient
from affectkit.messages import Message, sound
from affectkit.pieces import Piece, Port, hookimpl

TONES = ("joyful", "sad", "shocked", "fearful", "angry", "positive", "negative", "calm", "doubtful", "dismissive")
"""The tones that MERR's last prompt offered (Emotion-LLaMA)."""


@dataclass(frozen=True)
class Settings:
    """A model that hears describes the speaker's tone. With `tones` it is offered these words. A refusal rejects the clip; an
    empty, far too long or foreign reply is asked for again, then does so."""

    client: dict[str, Any] | None = None
    """The model that is asked: `{use: openai_compatible, model: …}`."""
    question: str = "Listen to this speech. How does the voice sound: tone, loudness, speed, pauses?"
    """What it is asked."""
    tones: tuple[str, ...] = ()
    """Words that it is to choose from; `[joyful, sad, …]` as MERR's prompt. Empty lets it describe."""
    most: int = 40
    """Most words of the description."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return at_least(self, 1, "most")

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply."""
        import numpy as np

        from affectkit.raw import RawWave

        for pitch in (110, 220):
            wave = np.sin(2 * np.pi * pitch * np.arange(4000) / 8000).astype(np.float32)
            yield {"wave": RawWave(wave, 8000)}, f"A steady tone of {pitch} Hz."


def build(settings: Settings, client: CachedClient) -> SoundDescriber:
    """The annotator."""
    return SoundDescriber(settings, client)


@dataclass(frozen=True)
class SoundDescriber:
    """See `Settings`."""

    settings: Settings
    client: CachedClient

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`text` of each row. Raises ClientError where no reply comes."""
        tones = f" Choose from: {', '.join(self.settings.tones)}." if self.settings.tones else ""
        asked = f"{self.settings.question}{tones} {FORM.format(most=self.settings.most)}"
        found = [ask_text(self.client, Message(asked, audio=(sound(row["wave"]),)), self.settings.most) for row in rows]
        return [text if isinstance(text, Reject) else {"text": text} for text in found]


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("wave", "wave", "a view of the whole sound"),)
    tiny = {"client": {"use": "openai_compatible", "model": "tiny"}}
    return [Piece("annotator", "describe_sound", Settings, build, ports=ports, tells=("text",), tiny=tiny)]
