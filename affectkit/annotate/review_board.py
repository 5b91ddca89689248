"""The records of an annotation as people see them and judge them: who, which, what of them, and what they may answer.
Imports no torch.

What is sent to a page has neither ids nor names of files: these may say what the data set says.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from affectkit.annotate.agreement import AgreementFigures
from affectkit.annotate.reviews import (
    REVIEW,
    REVIEWS,
    UNDO,
    VERDICTS,
    ReviewFile,
    Verdict,
    agreements,
    answer_of,
    read_records,
    record_key,
    shown_hash,
    to_review,
    valid,
)
from affectkit.errors import InputError, MediaError, Problem
from affectkit.files import Json, media_kind
from affectkit.report.pictures import frames_for

KINDS = ("video", "image", "audio")
FRAMES, GAP = 6, 4
"""How many frames stand for a clip that a browser cannot play, and the pixels between them."""
NAME = re.compile(r"\w[\w .@-]{0,39}")
"""What a person may be called."""


@dataclass(frozen=True)
class ReviewSettings:
    """What is reviewed, and how it is served."""

    reviewer: str = ""
    """The one person who may; empty: whoever gives a name on the page."""
    count: int | None = None
    """So many records, drawn by the seed; None is all."""
    seed: int = 0
    rejected: bool = False
    """Whether records that an annotator rejected are shown, too."""
    port: int = 0
    """0: the one of last time, or any that is free."""
    browser: bool = True
    """Whether a browser is opened."""


def checked_name(name: object) -> str:
    """A person's name. Raises ValueError for what is none."""
    text = name.strip() if isinstance(name, str) else ""
    if not NAME.fullmatch(text):
        raise ValueError("a name has up to 40 letters, digits, spaces or any of . _ - @")
    return text


class Review:
    """The records of a run as people look at them, and the file of their verdicts."""

    def __init__(self, folder: Path, settings: ReviewSettings) -> None:
        self.folder, self.settings = folder, settings
        self.records = read_records(folder)
        self.chosen = to_review(self.records, settings.count, settings.seed, settings.rejected)
        if not self.chosen:
            what = "no record came to its end" if not settings.rejected else "there are no records"
            raise InputError(
                Problem(str(folder), what, "look at summary.json; --rejected shows those that were rejected")
            )
        self.hashes = [shown_hash(one) for one in self.records]
        self.places = {record_key(self.records[n]): n for n in self.chosen}
        self.chosen_places = frozenset(self.chosen)
        self.file = ReviewFile(folder / REVIEWS)
        self.labels = known_labels(self.records)
        self.strip = lru_cache(64)(self._strip)

    def media(self, n: int, kind: str) -> Path | None:
        """The file of a record that a browser may get: one that the record names, with the ending of a medium."""
        name = self.records[n].get("media", {}).get(kind)
        path = Path(name) if isinstance(name, str) else None
        return path if path is not None and media_kind(path) and path.is_file() else None

    def missing(self) -> int:
        """How many records name a file that is not there."""
        files = ([v for k, v in self.records[n]["media"].items() if k in KINDS] for n in self.chosen)
        return sum(not all(Path(path).exists() for path in some) for some in files)

    def _strip(self, n: int) -> bytes:
        """JPEG: a few frames of a record's clip, row by row, or the wave of its sound. Raises MediaError."""
        media = self.records[n].get("media", {})
        name = next((media[kind] for kind in KINDS if kind in media), None)
        if name is None:
            raise MediaError("the record names no file")
        from PIL import Image

        span = (media.get("start"), media.get("end"))
        frames = [Image.open(io.BytesIO(data)) for data in frames_for(name, FRAMES, 240, span)]
        if not frames:
            raise MediaError("there is nothing to see or hear")
        across = min(2, len(frames))
        wide, high = (max(getattr(f, side) for f in frames) + GAP for side in ("width", "height"))
        sheet = Image.new("RGB", (wide * across - GAP, high * -(-len(frames) // across) - GAP), (13, 17, 22))
        for i, frame in enumerate(frames):
            sheet.paste(frame, (i % across * wide, i // across * high))
        out = io.BytesIO()
        sheet.save(out, "JPEG", quality=82)
        return out.getvalue()

    def given(self, reviewer: str) -> dict[int, Verdict]:
        """By the place of the record, a person's verdicts that count, in their order."""
        verdicts = self.file.refresh().stacks.of(reviewer)
        return {self.places[one.record]: one for one in verdicts if one.record in self.places}

    def left(self, reviewer: str) -> int:
        """How many records a person has not judged, or not as they are now."""
        return len(self.chosen) - sum(v.seen == self.hashes[n] for n, v in self.given(reviewer).items())

    def agreements(self) -> list[AgreementFigures]:
        """How far all who judged these records agree."""
        records = [self.records[n] for n in self.chosen]
        return agreements(records, valid(records, self.file.refresh().verdicts))

    def overview(self, reviewer: str) -> dict[str, Json]:
        """What the page begins with: the records, and what this person, nobody else, said of them."""
        given = self.given(reviewer)
        rows: list[Json] = [
            {
                "n": n,
                "verdict": given[n].verdict if n in given else "",
                "stale": n in given and given[n].seen != self.hashes[n],
            }
            for n in self.chosen
        ]
        return {
            "run": self.folder.name,
            "reviewer": reviewer,
            "records": rows,
            "order": list(given),
            "labels": self.labels,
        }

    def shown(self, n: int, reviewer: str) -> dict[str, Json]:
        """A record as the page shows it, with this person's own verdict."""
        one = self.records[n]
        media = one.get("media", {})
        own = self.file.refresh().stacks.latest(reviewer, record_key(one))
        findings: list[Json] = [
            {"annotator": name, "source": _about(own_), "values": {k: v["value"] for k, v in own_.items()}}
            for name, own_ in one["findings"].items()
            if own_ and name != REVIEW
        ]
        return {
            "n": n,
            "seen": self.hashes[n],
            "subtitle": one.get("subtitle") or "",
            "media": [kind for kind in KINDS if self.media(n, kind)],
            "strip": any(kind in media for kind in KINDS),
            "start": media.get("start"),
            "end": media.get("end"),
            "items": [_item(item) for item in one["items"]],
            "findings": findings,
            "rejected": one.get("rejected"),
            "own": {"verdict": own.verdict, "edits": dict(own.edits), "reason": own.reason} if own else None,
        }

    def _takes(self, n: int, seen: object) -> bool:
        """Whether a verdict on a record is taken: it is shown here, or was shown as it is by a server with another choice."""
        return n in self.chosen_places or (0 <= n < len(self.records) and seen == self.hashes[n])

    def take(self, said: Mapping[str, Any]) -> bool:
        """Put what a browser sent on disk; False where it was there already. Raises ValueError for what is no verdict."""
        n, verdict, edits = said.get("n"), said.get("verdict"), said.get("edits") or {}
        if not isinstance(n, int) or isinstance(n, bool) or not self._takes(n, said.get("seen")):
            raise ValueError("this record is not among those that are reviewed here")
        if verdict not in (*VERDICTS, UNDO):
            raise ValueError(f"no verdict: {verdict!r}")
        if not isinstance(edits, dict) or bool(edits) != (verdict == "edit"):
            raise ValueError("edits go with the verdict `edit`")
        items = {item["name"]: item for item in self.records[n]["items"]}
        for name, value in edits.items():
            if name not in items or not fits(answer_of(items[name]), value):
                raise ValueError(f"no answer to {name!r}")
        words = {name: said.get(name, "") for name in ("reason", "seen", "key")}
        if not all(isinstance(word, str) and len(word) <= 2000 for word in words.values()):
            raise ValueError("reason, seen and key are short texts")
        seconds = said.get("seconds", 0.0)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 86400:
            raise ValueError("seconds are those of a day")
        split, id_ = record_key(self.records[n])
        at = datetime.now().astimezone().isoformat(timespec="seconds")
        who = checked_name(said.get("reviewer"))
        return self.file.append(Verdict(id_, split, who, verdict, edits, at=at, seconds=round(seconds, 1), **words))


def known_labels(records: Sequence[Mapping[str, Any]]) -> dict[str, Json]:
    """By item of the task `label`: the labels that occur in the records, and those that its annotator chose from, sorted."""
    found: dict[str, set[str]] = {}
    for one in records:
        for item in one["items"]:
            if item["task"] == "label" and isinstance(item.get("answer"), str):
                annotator, _, finding = str(item.get("from", "")).partition(".")
                source = one["findings"].get(annotator, {}).get(finding, {}).get("source", {})
                offered = source.get("settings", {}).get("labels")
                offered = [v for v in offered if isinstance(v, str)] if isinstance(offered, list) else []
                found.setdefault(item["name"], set()).update([item["answer"], *offered])
    return {name: sorted(labels) for name, labels in found.items()}


def _item(item: Mapping[str, Any]) -> dict[str, Json]:
    """An item as the page shows it; `form` says how it is edited."""
    value = answer_of(item)
    form = "fixed"
    if isinstance(value, str):
        form = "label" if item["task"] == "label" else "text"
    elif fits([["", ""]], value):
        form = "turns"
    return {
        "name": item["name"],
        "task": item["task"],
        "question": item.get("question", ""),
        "value": value,
        "form": form,
    }


def fits(was: object, new: object) -> bool:
    """Whether a new answer has the form of the old one: words, or a conversation of [question, answer]."""
    if isinstance(was, str):
        return isinstance(new, str) and bool(new.strip())
    return _is_turns(was) and _is_turns(new)


def _is_turns(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(t, list) and len(t) == 2 and all(isinstance(word, str) for word in t) for t in value)
    )


def _about(own: Mapping[str, Any]) -> dict[str, Json]:
    """Where an annotator's findings come from, in a line."""
    source = next(iter(own.values()))["source"]
    return {key: source.get(key) or "" for key in ("piece", "model", "cost")}
