"""What was seen, heard and said, put into one text by a language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from affectkit_plugins.annotators._asked import FORM, ask_text

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.evaluation.clients import CachedClient
from affectkit.messages import Message
from affectkit.pieces import Piece, Port, hookimpl

CLUES = {
    "visual": "What is seen: {}",
    "acoustic": "What is heard: {}",
    "words": "What is said: {}",
    "label": "The emotion: {}",
}
"""The lines that a model is told, by port."""
TASK = "Write what these clues tell of the emotion of a person in a clip. Leave out what contradicts the others, invent nothing."


@dataclass(frozen=True)
class Settings:
    """A language model writes one text from clues (MERR's fine captions, AffectGPT's merged descriptions): those of the ports
    that have something. A refusal rejects the clip; an empty, far too long or foreign reply is asked for again, then does so."""

    client: dict[str, Any] | None = None
    """The model that writes: `{use: openai_compatible, model: …}`."""
    task: str = TASK
    """What it is told to do."""
    most: int = 120
    """Most words of the text."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return [] if self.most >= 5 else [("most", f"must be at least 5, got {self.most}")]

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply."""
        rest = {"acoustic": None, "words": None, "label": None}
        yield {"visual": "The brows are drawn together.", **rest}, "The brows are drawn together, as in anger."
        yield {"visual": "The mouth is open.", **rest}, "The mouth stands open in surprise."


def build(settings: Settings, client: CachedClient) -> Merge:
    """The annotator."""
    return Merge(settings, client)


@dataclass(frozen=True)
class Merge:
    """See `Settings`."""

    settings: Settings
    client: CachedClient

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`text` of each row. Raises ClientError where no reply comes."""
        return [self._one(row) for row in rows]

    def _one(self, row: ClipRow) -> Findings | Reject:
        clues = [form.format(row[port]) for port, form in CLUES.items() if row[port]]
        if not clues:
            return Reject("no clue")
        asked = "\n".join([self.settings.task, *clues, FORM.format(most=self.settings.most)])
        text = ask_text(self.client, Message(asked), self.settings.most)
        return text if isinstance(text, Reject) else {"text": text}


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = tuple(Port(name, "finding", form.format("…"), optional=True) for name, form in CLUES.items())
    tiny = {"client": {"use": "openai_compatible", "model": "tiny"}}
    return [Piece("annotator", "merge_clues", Settings, build, ports=ports, tells=("text",), tiny=tiny)]
