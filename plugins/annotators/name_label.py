"""The emotion label that a text stands for, as a language model names it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from affectkit_plugins._values import named

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.evaluation.clients import CachedClient, Unreadable
from affectkit.messages import Message
from affectkit.pieces import Piece, Port, hookimpl
from affectkit.reading import is_refusal, read_plain


@dataclass(frozen=True)
class Settings:
    """One label of a set for a text, by a language model. A label outside the set is asked for again, then rejects the clip; so
    does a refusal."""

    labels: tuple[str, ...]
    """The label set."""
    client: dict[str, Any] | None = None
    """The model that is asked: `{use: openai_compatible, model: …}`."""
    wording: str = "Which emotion does this describe?\n{text}\nAnswer with one of: {labels}."
    """The question, with places for the text and the labels."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return named(self, "labels") + ([] if "{text}" in self.wording else [("wording", "has no place for {text}")])

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply."""
        for label in self.labels[:2]:
            yield {"text": f"This is {label}."}, label


def build(settings: Settings, client: CachedClient) -> NameLabel:
    """The annotator."""
    return NameLabel(settings, client)


@dataclass(frozen=True)
class NameLabel:
    """See `Settings`."""

    settings: Settings
    client: CachedClient

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`label` of each row. Raises ClientError where no reply comes."""
        return [self._one(str(row["text"])) for row in rows]

    def _one(self, text: str) -> Findings | Reject:
        names = ", ".join(self.settings.labels)
        asked = self.settings.wording.replace("{labels}", names).replace("{text}", text)
        label = self.client.read([Message(asked)], self._read, must=True)
        if label is None:
            return Reject("no label of the set")
        return {"label": label} if label else Reject("the model refuses")

    def _read(self, reply: str) -> str:
        """The label, or nothing for a refusal."""
        found = read_plain(reply, self.settings.labels).label
        if found is None and is_refusal(reply):
            return ""
        if found is None:
            raise Unreadable(f"It is none of: {', '.join(self.settings.labels)}. Answer with one of them alone.")
        return found


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny = {"client": {"use": "openai_compatible", "model": "tiny"}, "labels": ["happy", "sad"]}
    ports = (Port("text", "finding", "a text"),)
    return [Piece("annotator", "name_label", Settings, build, ports=ports, tells=("label",), tiny=tiny)]
