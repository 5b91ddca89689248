"""Questions and answers on a face, written by a model that is told its label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affectkit_plugins._values import at_least
from affectkit_plugins.annotators._asked import refuses
from affectkit_plugins.annotators.describe_picture import shown

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.evaluation.clients import CachedClient, Unreadable, strict_json
from affectkit.messages import Message, picture
from affectkit.pieces import Piece, Port, hookimpl

if TYPE_CHECKING:
    from affectkit.raw import RawPixels

TASK = (
    "Write questions and answers about the facial expression of the person in the picture. Start with what the face expresses, "
    "with eyes, brows, forehead, mouth and cheeks as evidence. Do not mention that you were told anything."
)
LINES = {"label": "The emotion: {}", "seen": "What is seen: {}"}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"turns": {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 2}}},
    "required": ["turns"],
    "additionalProperties": False,
}
TOLD = ("i was told", "you told me", "as given", "the given label", "according to the label", "the provided label")
"""Words that give away that the label was given."""


@dataclass(frozen=True)
class Settings:
    """A model that sees writes a conversation on a still, or on the centre frame of a clip, from the label and what another
    model wrote of the clip (FERID's conversations, EMO-LLaMA 2024, whose prompt and filter are not published: both are ours).
    Dropped are refusals, replies that are no turns, first answers that do not name the label (nor one of its `synonyms`), and
    answers that tell of the label that was given.
    """

    client: dict[str, Any] | None = None
    """The model that is asked: `{use: openai_compatible, model: …}`."""
    task: str = TASK
    """What it is told to do."""
    turns: int = 2
    """Most questions of a conversation."""
    synonyms: dict[str, tuple[str, ...]] | None = None
    """Label to other words for it (`{happy: [joy, smil]}`); null asks for none: the first answer may say it in any words."""
    side: int = 768
    """Longest side of what is sent, in pixels."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return at_least(self, 1, "turns") + at_least(self, 16, "side")

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply."""
        import numpy as np

        from affectkit.raw import RawPixels

        for label in ("happy", "sad"):
            seen = RawPixels((np.zeros((24, 24, 3), np.uint8),), np.zeros(1, int), np.zeros(1), np.ones(1, bool))
            reply = f'{{"turns": [["What does the face show?", "It looks {label}."]]}}'
            yield {"pixels": seen, "label": label, "seen": None}, reply


def build(settings: Settings, client: CachedClient) -> Converse:
    """The annotator."""
    return Converse(settings, client)


@dataclass(frozen=True)
class Converse:
    """See `Settings`."""

    settings: Settings
    client: CachedClient

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`turns` of each row, pairs of question and answer. Raises ClientError where no reply comes."""
        return [self._one(row["pixels"], row) for row in rows]

    def _one(self, seen: RawPixels, row: ClipRow) -> Findings | Reject:
        s = self.settings
        lines = [form.format(row[port]) for port, form in LINES.items() if row[port]]
        form = f'At most {s.turns} questions. Answer as JSON: {{"turns": [[question, answer], …]}}.'
        frame = seen.frames[shown(seen, None, 1)[0]]
        asked = Message("\n".join([s.task, *lines, form]), images=(picture(frame, s.side),))
        turns = self.client.read([asked], self._read, must=True, schema=SCHEMA)
        if turns is None:
            return Reject("no turns can be read")
        if not turns:
            return Reject("the model refuses")
        label, first = str(row["label"] or ""), turns[0][1].casefold()
        known = [label, *(s.synonyms or {}).get(label, ())]
        if s.synonyms is not None and label and not any(word.casefold() in first for word in known):
            return Reject("the first answer does not name the label", turns[0][1][:80])
        if any(words in answer.casefold() for _, answer in turns for words in TOLD):
            return Reject("an answer tells that the label was given")
        return {"turns": turns}

    def _read(self, reply: str) -> list[list[str]]:
        """The turns; none of a refusal."""
        if refuses(reply):
            return []
        found = strict_json(reply).get("turns")
        whole = isinstance(found, list) and all(isinstance(turn, list) and len(turn) == 2 for turn in found) and found
        if not whole or not all(isinstance(text, str) and text.strip() for turn in whole for text in turn):
            raise Unreadable('it has no list of [question, answer] under "turns"')
        return [[" ".join(text.split()) for text in turn] for turn in whole[: self.settings.turns]]


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (
        Port("pixels", "pixels", "a still, or frames of a clip"),
        Port("label", "finding", "the emotion that the model is told", optional=True),
        Port("seen", "finding", "what another model wrote of the clip", optional=True),
    )
    tiny = {"client": {"use": "openai_compatible", "model": "tiny"}}
    return [Piece("annotator", "converse", Settings, build, ports=ports, tells=("turns",), tiny=tiny)]
