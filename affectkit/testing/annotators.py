"""The promises of annotators, on the rows that their settings show; a model, where one is asked, replies as these say. Imports no
torch."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from affectkit.annotators import ClipRow, Reject
from affectkit.evaluation.clients import CachedClient
from affectkit.files import Json
from affectkit.messages import Message
from affectkit.pieces import Piece


class Parrot:
    """A client that says what it was told to say."""

    identity: Mapping[str, Json] = {"model": "parrot"}

    def __init__(self) -> None:
        self.reply, self.asked = "", 0

    def ask(self, messages: Sequence[Message]) -> str:
        """What it was told."""
        self.asked += 1
        return self.reply


class AnnotatorBench:
    """An annotator, with the rows that its settings show and what a model replies to each."""

    def __init__(self, piece: Piece, settings: Any, *_: object) -> None:
        self.piece, self.settings = piece, settings
        show = getattr(settings, "examples", None)
        shown = list(show()) if show else []
        ports = [port.name for port in piece.ports]
        self.seen_whole = any(port.eats == "clip" for port in piece.ports)
        self.rows: list[ClipRow] = [{name: row.get(name) for name in ports} for row, _ in shown]
        self.replies = [reply for _, reply in shown]
        self.tells = tuple(piece.tells(settings) if callable(piece.tells) else piece.tells)
        self.together = bool(piece.per_batch(settings) if callable(piece.per_batch) else piece.per_batch)
        self.parrot = Parrot()

    def built(self) -> Any:
        """Built anew, with no reply kept."""
        if not any(f.name == "client" for f in fields(self.settings)):
            return self.piece.build(self.settings)
        folder = Path(tempfile.mkdtemp())
        return self.piece.build(self.settings, CachedClient(self.parrot, folder, lambda _: None))

    def found(self, rows: Sequence[ClipRow], made: Any = None) -> list[Any]:
        """What it says of rows: of all at once, or, where it asks a model, of one after the other."""
        if not rows:
            return []
        made = made or self.built()
        if self.together or not self.parrots:
            return list(made(rows))
        out: list[Any] = []
        for row in rows:
            self.parrot.reply = self.replies[next(i for i, one in enumerate(self.rows) if one is row)]
            out += list(made([row]))
        return out

    @property
    def parrots(self) -> bool:
        """Whether it asks a model."""
        return any(f.name == "client" for f in fields(self.settings))


def shows(bench: AnnotatorBench) -> Iterator[str]:
    """Its settings show rows: two or more, by the method `examples`, with something in every port that may not be empty, and what
    a model replies. One that is handed whole clips may show none: it wants media."""
    if len(bench.rows) < 2 and not bench.seen_whole:
        yield "they have no method `examples` that yields (row, reply) at least twice"
    for row in bench.rows:
        empty = [p.name for p in bench.piece.ports if not p.optional and p.eats != "fact" and row[p.name] is None]
        if empty:
            yield f"a row has nothing for {', '.join(empty)}"
            return


def tells(bench: AnnotatorBench) -> Iterator[str]:
    """Its record tells the names of its findings: `tells`, the main one first."""
    if not bench.tells or not all(name.isidentifier() for name in bench.tells):
        yield f"`tells` is {bench.tells!r}"


def finds(bench: AnnotatorBench) -> Iterator[str]:
    """An answer a row: findings of the names that it tells, the main one among them, as JSON can hold them, or a Reject with a
    reason; findings for one of the rows that it shows at least."""
    found = bench.found(bench.rows)
    if len(found) != len(bench.rows):
        yield f"{len(bench.rows)} rows gave {len(found)} answers"
    if found and all(isinstance(one, Reject) for one in found):
        yield f"it rejects every row that it shows: {found[0]}"
    for row, one in enumerate(found):
        if isinstance(one, Reject):
            yield from [f"row {row} is rejected without a reason"] if not one.reason.strip() else []
        elif not isinstance(one, Mapping):
            yield f"row {row}: {one!r} is neither findings nor a Reject"
        elif set(one) - set(bench.tells) or bench.tells[0] not in one:
            yield f"row {row}: it finds {', '.join(map(str, one)) or 'nothing'}; its record tells {', '.join(bench.tells)}"
        else:
            try:
                json.dumps(dict(one), allow_nan=False)
            except (TypeError, ValueError) as error:
                yield f"row {row}: JSON cannot hold {dict(one)}: {error}"


def repeats(bench: AnnotatorBench) -> Iterator[str]:
    """The same rows give the same, built anew, and the second time."""
    made = bench.built()
    first, second, anew = bench.found(bench.rows, made), bench.found(bench.rows, made), bench.found(bench.rows)
    if not first == second == anew:
        row = next(
            i for i, three in enumerate(zip(first, second, anew, strict=True)) if len({repr(x) for x in three}) > 1
        )
        yield f"row {row} gives {first[row]}, then {second[row]}, and {anew[row]} built anew"


def alone(bench: AnnotatorBench) -> Iterator[str]:
    """A row gives the same alone: unless the piece says `per_batch`."""
    if bench.together:
        return
    whole = bench.found(bench.rows)
    for row, given in enumerate(bench.rows):
        one = bench.found([given])[0]
        if one != whole[row]:
            yield f"row {row} gives {whole[row]} among others and {one} alone"
            return


def leaves(bench: AnnotatorBench) -> Iterator[str]:
    """It leaves rows as they are, and asks nobody while it is built."""
    bench.parrot.asked = 0
    bench.built()
    if bench.parrot.asked:
        yield f"it asked {bench.parrot.asked} questions while it was built"
    before = [repr(copy.deepcopy(row)) for row in bench.rows]
    bench.found(bench.rows)
    if before != [repr(row) for row in bench.rows]:
        yield "a row is another one afterwards"


KITS = {"annotator": (AnnotatorBench, (shows, tells, finds, repeats, alone, leaves))}
