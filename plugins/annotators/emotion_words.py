"""The emotion words that a text names, in any number, as a language model reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affectkit_plugins._values import at_least
from affectkit_plugins.annotators._asked import refuses

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.evaluation.clients import CachedClient, Unreadable, strict_json
from affectkit.messages import Message
from affectkit.pieces import Piece, Port, hookimpl

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"emotions": {"type": "array", "items": {"type": "string"}}},
    "required": ["emotions"],
    "additionalProperties": False,
}
LETTERS = 40
"""A longer emotion word is a clause and no label."""


@dataclass(frozen=True)
class Settings:
    """A language model names the emotions of a description in words of its own (AffectGPT's open vocabulary), the main one first.
    A reply that is no such list is asked for again, then rejects the clip; so does an empty list, and a refusal."""

    client: dict[str, Any] | None = None
    """The model that is asked: `{use: openai_compatible, model: …}`."""
    question: str = "Which emotions of the person does this text name or show?"
    """What it is asked."""
    most: int = 8
    """Most words that are taken."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return at_least(self, 1, "most")

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply."""
        yield {"text": "He shouts and frowns."}, '{"emotions": ["anger"]}'
        yield {"text": "She smiles, a little unsure."}, '{"emotions": ["happy", "unsure"]}'


def build(settings: Settings, client: CachedClient) -> EmotionWords:
    """The annotator."""
    return EmotionWords(settings, client)


@dataclass(frozen=True)
class EmotionWords:
    """See `Settings`."""

    settings: Settings
    client: CachedClient

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`first` and `labels` of each row, lower case. Raises ClientError where no reply comes."""
        return [self._one(str(row["text"])) for row in rows]

    def _one(self, text: str) -> Findings | Reject:
        form = 'Answer as JSON: {"emotions": [words, the strongest first]}.'
        asked = Message(f"{self.settings.question}\n{text}\n{form}")
        found = self.client.read([asked], self._read, must=True, schema=SCHEMA)
        if found is None:
            return Reject("no list of emotions")
        if found == ["refused"]:
            return Reject("the model refuses")
        return {"first": found[0], "labels": found} if found else Reject("no emotion")

    def _read(self, reply: str) -> list[str]:
        if refuses(reply):
            return ["refused"]
        found = strict_json(reply).get("emotions")
        if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
            raise Unreadable('it has no list under "emotions"')
        words = [" ".join(word.casefold().split()).strip(" .") for word in found]
        if any(len(word) > LETTERS for word in words):
            raise Unreadable("an emotion is a word or two, no sentence")
        return [word for word in dict.fromkeys(words) if word][: self.settings.most]


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("text", "finding", "a description"),)
    tiny = {"client": {"use": "openai_compatible", "model": "tiny"}}
    return [Piece("annotator", "emotion_words", Settings, build, ports=ports, tells=("first", "labels"), tiny=tiny)]
