"""What people say of the records of an annotation: verdicts in an append-only file, and the records that come of them.
Imports no torch.

A verdict is a line of reviews.jsonl, on disk before anybody is told that it is saved. The latest of a person on a record counts;
`undo` takes the latest back, so that the one before counts again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from affectkit.annotate.agreement import AgreementFigures, agreement_on
from affectkit.annotators import Provenance
from affectkit.errors import InputError, Problem
from affectkit.files import Json, cannot_write, read_jsonl, run_path, write_json_atomic, write_jsonl_atomic
from affectkit.report.terminal import table
from affectkit.tables import fail

RECORDS = "records.jsonl"
"""The file of records in a run folder."""
REVIEWS = "reviews.jsonl"
"""The file of verdicts beside it."""
REVIEWED = "reviewed.jsonl"
"""The records with what people made of them."""
FIGURES = "review.json"
"""Counts and agreement."""
REVIEW = "review"
"""The name under which verdicts are findings, `review.PERSON`."""
VERDICTS = ("accept", "edit", "reject")
UNDO = "undo"

AnnotationRecord = Mapping[str, Any]
"""A line of records.jsonl."""
RecordKey = tuple[str, str]
"""Split and id: which record it is."""
Known = Mapping[RecordKey, Mapping[str, "Verdict"]]
"""By record, then by person: the verdict that counts."""


@dataclass(frozen=True)
class Verdict:
    """What a person said of a record, once."""

    id: str
    split: str
    reviewer: str
    verdict: str
    """`accept`, `edit` or `reject`; `undo` takes the person's latest one on this record back."""
    edits: Mapping[str, Json] = field(default_factory=dict)
    """By item, the new answer, or the new turns."""
    reason: str = ""
    """Why it is rejected."""
    at: str = ""
    """When, ISO 8601 with the offset from UTC."""
    seconds: float = 0.0
    """How long the record was on the screen."""
    seen: str = ""
    """A hash of what was shown (`shown_hash`): of a record that has changed since, the verdict is stale."""
    key: str = ""
    """A name that whoever sends it gives it, so that one which is sent twice counts once."""

    @property
    def record(self) -> RecordKey:
        """Which record it is about."""
        return self.split, self.id

    @staticmethod
    def of(line: str) -> Verdict:
        """A verdict from its line. Raises ValueError for what is none."""
        try:
            found = Verdict(**json.loads(line))
        except (TypeError, RecursionError) as error:
            raise ValueError(str(error)) from None
        if found.verdict not in (*VERDICTS, UNDO) or not isinstance(found.edits, Mapping):
            raise ValueError(f"no verdict: {found.verdict!r}")
        return found


class ReviewFile:
    """The verdicts in a file that any number of processes may append to, and what was read of it so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.verdicts: list[Verdict] = []
        self.stacks = VerdictStacks()
        """The same, by person and record."""
        self.broken: list[int] = []
        """Numbers of lines that are no verdict, as a machine that lost power leaves them."""
        self._keys: set[str] = set()
        self._read = 0
        self._lines = 0
        self._lock = threading.RLock()

    def refresh(self) -> ReviewFile:
        """Read what was appended since the last time, by whom ever."""
        with self._lock:
            if self.path.exists():
                with self._opened("rb") as file:
                    self._take_in(file)
        return self

    def append(self, verdict: Verdict) -> bool:
        """Put a verdict on disk; False where one with its key is there already. Raises WriteError, and nothing is kept then."""
        line = (json.dumps(asdict(verdict), ensure_ascii=True, allow_nan=False) + "\n").encode()
        with self._lock:
            try:
                new = not self.path.exists()
                with self._opened("a+b") as file:
                    if not self._take_in(file):
                        line = b"\n" + line  # what a crash left unfinished stays a line of its own
                    if verdict.key and verdict.key in self._keys:
                        return False
                    end = file.seek(0, os.SEEK_END)
                    try:
                        if file.write(line) != len(line):
                            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                        os.fsync(file.fileno())
                    except OSError:
                        file.truncate(end)
                        raise
                    self._take_in(file)
                if new:
                    _sync_folder(self.path.parent)
            except OSError as error:
                raise cannot_write(self.path, len(line), error) from error
        return True

    @contextmanager
    def _opened(self, mode: str) -> Iterator[IO[bytes]]:
        """The file, unbuffered, which nobody else reads or appends to meanwhile."""
        with open(self.path, mode, buffering=0) as file:
            try:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)
            except ImportError:  # not on this system; one write at the end of a file is whole there, too
                pass
            yield file  # closing it gives the lock back

    def _take_in(self, file: IO[bytes]) -> bool:
        """Read the whole lines after what was read; returns whether the file ends with one."""
        file.seek(self._read)
        data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.split(b"\n")[:-1]:
            self._lines += 1
            if not line.strip():
                continue
            try:
                found = Verdict.of(line.decode())
            except ValueError:
                self.broken.append(self._lines)
                continue
            self.verdicts.append(found)
            self.stacks.add(found)
            self._keys.add(found.key)
        self._read += len(whole)
        return len(whole) == len(data)


def _sync_folder(folder: Path) -> None:
    """Make sure that a new file's name is on disk, too; not every system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def annotation_folder(run: str | Path) -> Path:
    """The folder of an annotation. Raises InputError where it holds none."""
    folder = run_path(run)
    if (folder / RECORDS).is_file():
        return folder.resolve()
    fix = "give the folder that `affectkit annotate` made, for example runs/last"
    if (folder / "recipe.yaml").is_file():
        raise InputError(Problem(str(run), f"is a run of training; what is reviewed are records ({RECORDS})", fix))
    raise InputError(Problem(str(run), f"is no run of an annotation (it has no {RECORDS})", fix))


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The records of a run, in their order. Raises InputError with every line that is none."""
    found, problems, known = [], [], set()
    for place, one in read_jsonl(folder / RECORDS):
        lacks = [name for name in ("id", "split", "findings", "items") if name not in one]
        if lacks:
            problems.append(Problem(place, f"is no record: it has no {', '.join(lacks)}"))
        elif record_key(one) in known:
            problems.append(Problem(place, f"the record {one['id']!r} of {one['split']} is there twice"))
        else:
            known.add(record_key(one))
            found.append(one)
    fail(problems)
    return found


def record_key(record: AnnotationRecord) -> RecordKey:
    """Which record it is."""
    return str(record["split"]), str(record["id"])


def shown_hash(record: AnnotationRecord) -> str:
    """A hash of what a person sees of a record and judges."""
    values = {
        name: {n: one["value"] for n, one in own.items()} for name, own in record["findings"].items() if name != REVIEW
    }
    shown = [*record_key(record), record.get("media"), record.get("subtitle"), values, record["items"]]
    shown.append(record.get("rejected"))
    return hashlib.blake2b(json.dumps(shown, sort_keys=True).encode(), digest_size=16).hexdigest()


def to_review(
    records: Sequence[AnnotationRecord], count: int | None = None, seed: int = 0, rejected: bool = False
) -> list[int]:
    """Which records people look at, by their place, in order: those that came to their end, with `rejected` also those that an
    annotator rejected; `count` of them, drawn by the seed, the same for everybody who gives it."""
    open_ = [
        i for i, one in enumerate(records) if not {"failed", "todo"} & set(one) and (rejected or "rejected" not in one)
    ]
    if count is None or count >= len(open_):
        return open_
    return sorted(random.Random(seed).sample(open_, count))


class VerdictStacks:
    """Verdicts by person, then by record, the latest on top; `undo` takes the top away."""

    def __init__(self, verdicts: Iterable[Verdict] = ()) -> None:
        self._people: dict[str, dict[RecordKey, list[tuple[int, Verdict]]]] = {}
        self._count = 0
        for one in verdicts:
            self.add(one)

    def add(self, one: Verdict) -> None:
        """Put a verdict on top of those before it."""
        self._count += 1
        stack = self._people.setdefault(one.reviewer, {}).setdefault(one.record, [])
        if one.verdict != UNDO:
            stack.append((self._count, one))
        elif stack:
            stack.pop()

    def latest(self, reviewer: str, key: RecordKey) -> Verdict | None:
        """The verdict of a person on a record that counts."""
        stack = self._people.get(reviewer, {}).get(key)
        return stack[-1][1] if stack else None

    def of(self, reviewer: str) -> list[Verdict]:
        """Those of a person that count, in their order."""
        tops = [stack[-1] for stack in self._people.get(reviewer, {}).values() if stack]
        return [one for _, one in sorted(tops, key=_place)]

    def by_record(self) -> dict[RecordKey, dict[str, Verdict]]:
        """By record, then by person, those that count, in their order."""
        tops = [stack[-1] for records in self._people.values() for stack in records.values() if stack]
        found: dict[RecordKey, dict[str, Verdict]] = {}
        for _, one in sorted(tops, key=_place):
            found.setdefault(one.record, {})[one.reviewer] = one
        return found


def _place(numbered: tuple[int, Verdict]) -> int:
    return numbered[0]


def standing(verdicts: Iterable[Verdict]) -> dict[RecordKey, dict[str, Verdict]]:
    """By record, then by person: the verdict that counts. People are in the order of these verdicts."""
    return VerdictStacks(verdicts).by_record()


def valid(records: Iterable[AnnotationRecord], verdicts: Sequence[Verdict]) -> dict[RecordKey, dict[str, Verdict]]:
    """`standing`, without what is about no record of these and what is stale."""
    hashes = {record_key(one): shown_hash(one) for one in records}
    found = {}
    for key, people in standing(verdicts).items():
        fresh = {who: one for who, one in people.items() if one.seen == hashes.get(key)}
        if fresh:
            found[key] = fresh
    return found


def answer_of(item: Mapping[str, Any]) -> Json:
    """What an item says: its answer, or its turns."""
    return item["answer"] if "answer" in item else item.get("turns")


def reviewed(
    records: Iterable[AnnotationRecord], verdicts: Sequence[Verdict], only: bool = False
) -> list[dict[str, Any]]:
    """The records with what people made of them, in the same form; with `only`, those alone that somebody reviewed.

    Each verdict becomes the finding `review.PERSON`. A record that at least half of those who judged it reject is `rejected` by
    `review`, for the reason that most of them give. Otherwise each item has the answer that most of the others gave; in a tie an
    edited one, then the earliest, and `from` says whose it is. What an annotator had rejected stays so.
    """
    records = list(records)
    return _reviewed(records, valid(records, verdicts), only)


def _reviewed(records: Sequence[AnnotationRecord], known: Known, only: bool) -> list[dict[str, Any]]:
    return [_with(one, known.get(record_key(one), {})) for one in records if not only or record_key(one) in known]


def _with(record: AnnotationRecord, people: Mapping[str, Verdict]) -> dict[str, Any]:
    """A record with the verdicts on it."""
    made = dict(record)
    if not people:
        return made
    found = {who: {"value": _value(one), "source": _source(one).to_dict()} for who, one in people.items()}
    made["findings"] = {**record["findings"], REVIEW: {**record["findings"].get(REVIEW, {}), **found}}
    if "rejected" in record:
        return made
    against = [one for one in people.values() if one.verdict == "reject"]
    if 2 * len(against) >= len(people):
        reason = Counter(one.reason or "rejected" for one in against).most_common(1)[0][0]
        return {**made, "items": [], "rejected": {"by": REVIEW, "reason": reason}}
    kept = [one for one in people.values() if one.verdict != "reject"]
    made["items"] = [_decided(item, kept) for item in record["items"]]
    return made


def _value(one: Verdict) -> dict[str, Json]:
    about: dict[str, Json] = {"edits": dict(one.edits)} if one.edits else {}
    return {"verdict": one.verdict, **about, **({"reason": one.reason} if one.reason else {}), "at": one.at}


def _source(one: Verdict) -> Provenance:
    return Provenance(REVIEW, {"reviewer": one.reviewer}, seconds=one.seconds)


def _decided(item: Mapping[str, Any], kept: Sequence[Verdict]) -> dict[str, Any]:
    """An item with the answer that most people gave."""
    was = _text(answer_of(item))
    given = [_text(one.edits.get(item["name"], answer_of(item))) for one in kept]
    votes = Counter(given)
    best = max(votes, key=lambda text: (votes[text], text != was, -given.index(text)))
    if best == was:
        return dict(item)
    by = kept[given.index(best)]
    return {
        **item,
        "answer" if "answer" in item else "turns": by.edits[item["name"]],
        "from": f"{REVIEW}.{by.reviewer}",
    }


def _text(value: Json) -> str:
    """A value as text by which it is compared."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def agreements(records: Iterable[AnnotationRecord], known: Known) -> list[AgreementFigures]:
    """How far people agree on the verdict, and on each item of the task `label`: the label that each leaves it with, of those
    who do not reject the record. `known` is what `valid` gives."""
    by_key = {record_key(one): one for one in records}
    figures = [agreement_on("verdict", [{w: v.verdict for w, v in people.items()} for people in known.values()])]
    names = dict.fromkeys(i["name"] for key in known for i in by_key[key]["items"] if i["task"] == "label")
    for name in names:
        units = []
        for key, people in known.items():
            item = next((i for i in by_key[key]["items"] if i["name"] == name), None)
            if item is not None:
                kept = {w: v for w, v in people.items() if v.verdict != "reject"}
                units.append({w: _text(v.edits.get(name, answer_of(item))) for w, v in kept.items()})
        figures.append(agreement_on(name, units))
    return figures


def counts(known: Known) -> dict[str, dict[str, Json]]:
    """By person: how many records of each verdict, and the minutes that they took."""
    found: dict[str, list[Verdict]] = {}
    for people in known.values():
        for who, one in people.items():
            found.setdefault(who, []).append(one)
    return {
        who: {
            **{name: sum(v.verdict == name for v in own) for name in VERDICTS},
            "minutes": round(sum(v.seconds for v in own) / 60, 1),
        }
        for who, own in sorted(found.items())
    }


def export(folder: Path, only: bool = False) -> Path:
    """Write reviewed.jsonl and review.json into a run folder, print who judged how much and how far they agree; returns the path
    of the former."""
    records = read_records(folder)
    file = ReviewFile(folder / REVIEWS).refresh()
    known = valid(records, file.verdicts)
    rows, figures, people = _reviewed(records, known, only), agreements(records, known), counts(known)
    given = sum(len(one) for one in standing(file.verdicts).values())
    stale = given - sum(len(one) for one in known.values())
    path = folder / REVIEWED
    write_jsonl_atomic(path, rows)
    summary = {"records": len(records), "reviewed": len(known), "people": people, "stale": stale}
    write_json_atomic(folder / FIGURES, {**summary, "agreement": [one.to_dict() for one in figures]})
    head = ["person", *VERDICTS, "minutes"]
    table(
        f"{len(known)} of {len(records)} records reviewed",
        head,
        [[w, *map(str, n.values())] for w, n in people.items()],
    )
    if len(people) > 1:
        table("agreement", AGREEMENT_HEAD, [agreement_row(one) for one in figures])
    out = Counter("rejected" if "rejected" in one else "used" for one in rows)
    print(f"{path}: {out['used']} used, {out['rejected']} rejected")
    if stale:
        print(f"{stale} of {given} verdicts are about records that have changed since, or are gone: they do not count")
    if file.broken:
        print(f"{file.path}: no verdict in line {', '.join(map(str, file.broken))}, left by a crash")
    return path


AGREEMENT_HEAD = (
    "on",
    "judged by two or more",
    "alike",
    "Cohen's kappa, mean",
    "Fleiss' kappa",
    "Krippendorff's alpha",
)


def agreement_row(one: AgreementFigures) -> list[str]:
    """Figures as a row of a table."""
    fleiss = f" ({one.fleiss_people} people, {one.fleiss_records} records)" if one.fleiss is not None else ""
    shown = [digits(one.cohen_mean), digits(one.fleiss) + fleiss, digits(one.alpha)]
    return [one.about, str(one.records), str(one.same), *shown]


def digits(value: float | None) -> str:
    """A coefficient as people write it; a dash where it is undefined."""
    return "–" if value is None else f"{value:.3f}"
