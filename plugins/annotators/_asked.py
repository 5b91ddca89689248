"""What annotators share that ask a model for a text: how long it may be, which replies are none, what is told of a refusal."""

from __future__ import annotations

import re

from affectkit.annotators import Reject
from affectkit.evaluation.clients import CachedClient, Unreadable
from affectkit.messages import Message
from affectkit.reading import is_refusal

FORM = "Answer in at most {most} words of English, with the text alone."
LOOKED_AT = 200
"""Letters from the beginning in which a refusal is looked for."""
SENTENCE = 6
"""Words from which on a text is a sentence, which has a common word."""
COMMON = frozenset(
    {
        "the",
        "a",
        "an",
        "is",
        "are",
        "and",
        "of",
        "in",
        "to",
        "with",
        "this",
        "that",
        "his",
        "her",
        "their",
        "he",
        "she",
        "it",
    }
)
"""Words of which English sentences have one at least."""
_QUOTED = re.compile(r"[\"“„«][^\"“”„«»]*[\"”»]")
ENGLISH = 0.8
"""Least share of ASCII among the letters of an English text."""


def ask_text(client: CachedClient, message: Message, most: int) -> str | Reject:
    """A text of about `most` words, or why there is none. What is empty, far too long or foreign is asked for again; then it, and
    a refusal, reject the clip. Raises ClientError where no reply comes."""

    why = ["empty"]

    def read(reply: str) -> str:
        text = " ".join(reply.split())
        why[0] = _fault(text, most)
        if why[0]:
            raise Unreadable(f"It is {why[0]}. {FORM.format(most=most)}")
        return text

    text = client.read([message], read, must=True)
    if text is None:
        return Reject(f"the reply is {why[0]}")
    return Reject("the model refuses", text[:80]) if refuses(text) else text


def _fault(text: str, most: int) -> str:
    words = text.casefold().split()
    if not words:
        return "empty"
    if len(words) > 2 * most:
        return "far too long"
    letters = [c for c in text if c.isalpha()]
    foreign = sum(c.isascii() for c in letters) < ENGLISH * len(letters)
    strange = len(words) >= SENTENCE and not COMMON & {word.strip(".,!?;:\"'") for word in words}
    return "not English" if foreign or strange else ""


def refuses(text: str) -> bool:
    """Whether a text says that its author will not answer, in its own words: what it quotes is somebody else's."""
    return is_refusal(_QUOTED.sub(" ", text)[:LOOKED_AT])
