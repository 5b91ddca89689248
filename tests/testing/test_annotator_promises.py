"""A test of the tests: an annotator that breaks a promise is caught."""

import random
from dataclasses import dataclass

import pytest

from affectkit import Piece, Port, Reject
from affectkit.testing.promises import BrokenPromise, keeps_its_promises


@dataclass(frozen=True)
class Settings:
    """An annotator to be tried."""

    def examples(self):
        """Rows, each with what a model would reply."""
        yield {"text": "one two"}, ""
        yield {"text": "three"}, ""
        yield {"text": ""}, ""


@dataclass(frozen=True)
class Silent:
    """One that shows nothing."""


def piece(call, settings=Settings, tells=("count",), **more):
    ports = (Port("text", "finding", "a text"),)
    return Piece("annotator", "tried", settings, lambda settings: call, ports=ports, tells=tells, **more)


def honest(rows):
    return [{"count": len(row["text"].split())} if row["text"] else Reject("no words") for row in rows]


def neighbours(rows):
    return [{"count": len(rows)} for _ in rows]


def spoils(rows):
    for row in rows:
        row["text"] += "!"
    return honest(rows)


CASES = {
    "loses a row": (piece(lambda rows: honest(rows)[:-1]), "3 rows gave 2 answers"),
    "finds what it does not tell": (
        piece(lambda rows: [{"other": 1} for _ in rows]),
        "it finds other; its record tells count",
    ),
    "gives no JSON": (piece(lambda rows: [{"count": float("nan")} for _ in rows]), "JSON cannot hold"),
    "draws": (piece(lambda rows: [{"count": random.random()} for _ in rows]), "built anew"),
    "looks at its neighbours": (piece(neighbours), "among others and"),
    "spoils rows": (piece(spoils), "a row is another one afterwards"),
    "rejects without a reason": (
        piece(lambda rows: [{"count": 1}, Reject(" "), {"count": 2}]),
        "rejected without a reason",
    ),
    "rejects everything": (piece(lambda rows: [Reject("no")] * len(rows)), "it rejects every row"),
    "shows nothing": (piece(honest, Silent), "no method `examples`"),
    "tells no finding": (piece(honest, tells=()), "`tells` is ()"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_annotator_that_breaks_a_promise_is_caught(case):
    made, words = CASES[case]
    with pytest.raises(BrokenPromise) as told:
        keeps_its_promises(made, light=False)
    assert words in str(told.value)


def test_an_honest_annotator_passes():
    assert len(keeps_its_promises(piece(honest), light=False)) >= 9
    assert keeps_its_promises(piece(neighbours, per_batch=True), light=False)
