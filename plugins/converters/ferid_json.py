"""Instruction data as FERID's records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectkit.annotators import ExportRow
from affectkit.errors import InputError, Problem
from affectkit.files import write_text_atomic
from affectkit.pieces import Piece, Port, hookimpl

TAG = {"image": "<image>", "video": "<video>"}
"""What stands in the first question where the picture goes, as LLaVA has it."""


@dataclass(frozen=True)
class Settings:
    """Category items and conversations in LLaVA's form (`id`, `image` or `video`, `conversations`, `dataset`, `split`, `label`,
    `kind`), as the data set `ferid` reads them. FERID (EMO-LLaMA 2024) showed examples and no file: the form is our choice.
    """

    dataset: str
    """Name of the set that the clips are from (`raf_db`)."""
    name: str = "ferid.json"
    """Name of the file."""
    root: str | None = None
    """The folder that media are named from; null is the one that holds them all."""


@dataclass(frozen=True)
class FeridJson:
    """See `Settings`."""

    settings: Settings

    def write(self, rows: Sequence[ExportRow], folder: Path) -> list[Path]:
        """The file: an item of each kind that a clip has. Raises InputError for a clip without picture, or beside `root`."""
        root = (
            Path(self.settings.root) if self.settings.root else _shared([p for row in rows for p in row.media.values()])
        )
        records = [record for row in rows for record in self._records(row, root)]
        path = folder / self.settings.name
        write_text_atomic(path, json.dumps(records, ensure_ascii=False, indent=1) + "\n")
        return [path]

    def _records(self, row: ExportRow, root: Path | None) -> list[dict[str, Any]]:
        kind = next((kind for kind in TAG if kind in row.media), "")
        if not kind or root is None:
            raise InputError(Problem(f"exports: clip {row.id!r}", "has no picture, and FERID is of faces"))
        try:
            file = row.media[kind].absolute().relative_to(root.absolute()).as_posix()
        except ValueError:
            raise InputError(Problem(f"exports: clip {row.id!r}", f"{row.media[kind]} is not in {root}")) from None
        about = {kind: file, "dataset": self.settings.dataset, "split": row.split, "label": row.values["label"]}
        found = []
        for item in ("category", "conversation"):
            turns = row.values[item]
            if turns:
                talk = [
                    {"from": who, "value": text}
                    for turn in turns
                    for who, text in zip(("human", "gpt"), turn, strict=True)
                ]
                talk[0]["value"] = f"{TAG[kind]}\n{talk[0]['value']}"
                found.append({"id": f"{row.id}#{item}", **about, "kind": item, "conversations": talk})
        return found

    def example(self) -> list[ExportRow]:
        """A still with both kinds, a clip with one."""
        both = {
            "label": "sad",
            "category": [["Which? {happy, sad}", "sad"]],
            "conversation": [["What is seen?", "A frown."]],
        }
        one = {"label": "happy", "category": [["Which? {happy, sad}", "happy"]], "conversation": None}
        return [ExportRow("a", "train", {"image": Path("faces/a.jpg")}, both),
                ExportRow("b", "test", {"video": Path("faces/b.mp4")}, one)]  # fmt: skip


def _shared(paths: Sequence[Path]) -> Path | None:
    """The deepest folder that holds all files."""
    folders = [path.absolute().parent for path in paths]
    if not folders:
        return None
    first = folders[0]
    return next(up for up in (first, *first.parents) if all(up == f or up in f.parents for f in folders))


def build(settings: Settings) -> FeridJson:
    """The writer."""
    return FeridJson(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (
        Port("label", "finding", "the label"),
        Port("category", "finding", "the question for the label, with its answer", optional=True),
        Port("conversation", "finding", "questions and answers in words", optional=True),
    )
    return [Piece("converter", "ferid_json", Settings, build, ports=ports, tiny={"dataset": "any"})]
