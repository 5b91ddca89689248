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
_QUOTED = re.compile(r"[\"“„«][^\"“”„«»]*[\"”»]")
ENGLISH = 0.8
"""Least share of ASCII among the letters of an English text."""


def ask_text(client: CachedClient, message: Message, most: int) -> str | Reject:
    """A text of about `most` words, or why there is none. What is empty, far too long or foreign is asked for again; then it, and
    a refusal, reject the clip. Raises ClientError where no reply comes."""

    def read(reply: str) -> str:
        text = " ".join(reply.split())
        form = FORM.format(most=most)
        if not text:
            raise Unreadable(f"It is empty. {form}")
        if len(text.split()) > 2 * most:
            raise Unreadable(f"It has {len(text.split())} words. {form}")
        if sum(c.isascii() for c in text if c.isalpha()) < ENGLISH * sum(map(str.isalpha, text)):
            raise Unreadable(f"It is not English. {form}")
        return text

    text = client.read([message], read, must=True)
    if text is None:
        return Reject("no usable text")
    return Reject("the model refuses", text[:80]) if refuses(text) else text


def refuses(text: str) -> bool:
    """Whether a text says that its author will not answer, in its own words: what it quotes is somebody else's."""
    return is_refusal(_QUOTED.sub(" ", text)[:LOOKED_AT])
