"""What clients promise. Nobody is asked: a test has no server. Imports no torch."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

from affectkit import clients
from affectkit.access import ANYWHERE, allowing
from affectkit.pieces import Piece

SECRET = "a key that must not be written anywhere"


class Built:
    """A client, built twice with every server allowed."""

    def __init__(self, piece: Piece, settings: Any, *_: object) -> None:
        self.piece, self.settings = piece, settings
        with allowing(ANYWHERE, key=SECRET):
            self.client, self.again = piece.build(settings), piece.build(settings)


def asks(built: Built) -> Iterator[str]:
    """`ask` takes the messages."""
    ask = getattr(built.client, "ask", None)
    if not callable(ask):
        yield f"{type(built.client).__name__} has no method `ask`"
        return
    try:
        inspect.signature(ask).bind([clients.Message("Who are you?")])
    except TypeError as error:
        yield f"`ask` does not take the list of messages alone: {error}"


def identity(built: Built) -> Iterator[str]:
    """What replies are kept by."""
    one, two = (getattr(c, "identity", None) for c in (built.client, built.again))
    try:
        text = json.dumps(dict(one))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        yield f"`identity` is {one!r}: {error}"
        return
    if one != two:
        yield f"two of the same settings are told apart: {one}, {two}"
    if SECRET in text or SECRET in repr(built.client):
        yield "the key stands in it: keep it out of `identity` and `repr`"


def numbers(built: Built) -> Iterator[str]:
    """`tries`, `wait` and `parallel`, where there are any."""
    for name, least in (("tries", 1), ("parallel", 1), ("wait", 0)):
        value = getattr(built.client, name, least)
        if not isinstance(value, int | float) or value < least:
            yield f"`{name}` is {value!r}; it must be at least {least}"


PROMISES = {
    "it can be asked with a list of messages": asks,
    "replies are kept by all that they depend on, and by no secret": identity,
    "tries, wait and parallel are numbers": numbers,
}
