"""What is seen in one frame, in the words of a model that sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affectkit_plugins._values import at_least
from affectkit_plugins.annotators._asked import FORM, ask_text

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.evaluation.clients import CachedClient
from affectkit.messages import Message, picture
from affectkit.pieces import Piece, Port, hookimpl

if TYPE_CHECKING:
    from affectkit.raw import RawPixels


@dataclass(frozen=True)
class Settings:
    """A model that sees describes frames of a clip: the one that `at` names (MERR: the peak frame), else `count` of them, spread
    over it. A refusal rejects the clip; an empty, far too long or foreign reply is asked for again, then does so."""

    client: dict[str, Any] | None = None
    """The model that is asked: `{use: openai_compatible, model: …}`."""
    question: str = "Say what this picture shows: the person, what the person does, and the surroundings."
    """What it is asked."""
    count: int = 1
    """How many frames are shown, where none is named."""
    most: int = 60
    """Most words of the description."""
    side: int = 768
    """Longest side of what is sent, in pixels."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return at_least(self, 1, "count") + at_least(self, 5, "most") + at_least(self, 16, "side")

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply."""
        import numpy as np

        from affectkit.raw import RawPixels

        for shade, at in ((40, None), (200, 2)):
            frames = tuple(np.full((24, 32, 3), shade + i, np.uint8) for i in range(3))
            seen = RawPixels(frames, np.arange(3) * 10, np.arange(3) / 2, np.ones(3, bool))
            yield {"pixels": seen, "at": at}, f"A plain wall of shade {shade}."


def build(settings: Settings, client: CachedClient) -> PictureDescriber:
    """The annotator."""
    return PictureDescriber(settings, client)


@dataclass(frozen=True)
class PictureDescriber:
    """See `Settings`."""

    settings: Settings
    client: CachedClient

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`text` of each row, and `frames`, the frames of the clip that were shown. Raises ClientError where no reply comes."""
        return [self._one(row["pixels"], row["at"]) for row in rows]

    def _one(self, seen: RawPixels, at: int | None) -> Findings | Reject:
        places = shown(seen, at, self.settings.count)
        asked = f"{self.settings.question} {FORM.format(most=self.settings.most)}"
        pictures = tuple(picture(seen.frames[i], self.settings.side) for i in places)
        text = ask_text(self.client, Message(asked, images=pictures), self.settings.most)
        return text if isinstance(text, Reject) else {"text": text, "frames": [int(seen.indices[i]) for i in places]}


def shown(seen: RawPixels, at: int | None, count: int) -> list[int]:
    """Which of a view's frames are shown: the one nearest to frame `at` of the clip, else so many, spread evenly."""
    import numpy as np

    there = np.flatnonzero(seen.valid)
    if at is not None:
        return [int(there[abs(seen.indices[there] - at).argmin()])]
    places = np.linspace(0, len(there) - 1, min(count, len(there)) + 2)[1:-1]  # in the middle, where there is one
    return [int(there[round(place)]) for place in places]


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (
        Port("pixels", "pixels", "frames, or face crops"),
        Port("at", "finding", "which frame of the clip (`peak.frame`)", optional=True),
    )
    tiny = {"client": {"use": "openai_compatible", "model": "tiny"}}
    return [Piece("annotator", "describe_picture", Settings, build, ports=ports, tells=("text", "frames"), tiny=tiny)]
