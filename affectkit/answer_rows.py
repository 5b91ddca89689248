"""Files of answers or truths as rows by id: CSV, TSV, JSONL, npz, or a run's own predictions. Imports no torch."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, NoReturn

from affectkit.errors import InputError, Problem, unknown

IDS = ("id", "name", "names")
"""Columns that name a sample; the first that is there counts."""
Row = dict[str, Any]


def rows_by_id(
    path: Path, split: str | None, task: str, must: bool = False, classes: tuple[str, ...] | None = None
) -> dict[str, Row]:
    """Rows of a file by id; of a run's own predictions those of one task. `must`: a split that is asked for is there."""
    from affectkit.score import STATES

    rows = _rows(path, split, classes)
    if not rows:
        wrong(str(path), "holds no rows", "one row a sample, with the columns id and label")
    if any("state" in row and "task" in row for _, row in rows):
        tasks = sorted({str(row.get("task")) for _, row in rows})
        rows = [(place, row) for place, row in rows if row.get("task") == task]
        if not rows:
            raise InputError(Problem(str(path), f"holds no answers to the task {task!r}", known=tuple(tasks)))
    rows = _of_split(path, rows, split, must)
    found: dict[str, Row] = {}
    for place, row in rows:
        name = next((t for t in (cell(row.get(key)) for key in IDS) if t), "")
        if not name:
            raise InputError(Problem(place, "has no id", "a row needs the columns id and label", tuple(map(str, row))))
        if name in found:
            wrong(place, f"the id {name!r} occurs twice", "one row a sample")
        if row.get("state", "scored") not in (*STATES, ""):
            raise InputError(unknown(place, "state", str(row["state"]), STATES))
        if None in row:
            what = f"has more cells than the header, which names {len(row) - 1}"
            wrong(place, what, "quote cells that hold a comma")
        found[name] = {**row, "": place}
    return found


def _of_split(path: Path, rows: list[tuple[str, Row]], split: str | None, must: bool) -> list[tuple[str, Row]]:
    splits = sorted({str(row["split"]) for _, row in rows if row.get("split")})
    if split is not None and splits and split not in splits:
        raise InputError(unknown(str(path), "split", split, splits))
    if split is not None and not splits and must:
        wrong(str(path), f"has no column `split` to find {split!r} in", "leave --split out")
    if split is None and len(splits) > 1 and any("state" in row for _, row in rows):
        raise InputError(Problem(str(path), "holds several splits", f"choose one: --split {splits[0]}", tuple(splits)))
    return [(p, row) for p, row in rows if row.get("split") == split] if split is not None and splits else rows


def _rows(path: Path, split: str | None, classes: tuple[str, ...] | None) -> list[tuple[str, Row]]:
    """(place, row) of a file of any form that is read."""
    if path.suffix == ".npz":
        from affectkit.npz_rows import read_rows

        return read_rows(path, split, classes)
    return _jsonl(path) if path.suffix in (".jsonl", ".json", ".ndjson") else _csv(path)


def _jsonl(path: Path) -> list[tuple[str, Row]]:
    from affectkit.files import read_jsonl

    return list(read_jsonl(path))


def _csv(path: Path) -> list[tuple[str, Row]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            return [(f"{path}:{reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        why = f"it is no CSV ({error})" if isinstance(error, csv.Error) else why
        wrong(str(path), f"cannot be read: {why}", "give the path of a CSV or JSONL file")


def cell(value: Any) -> str:
    """What stands in a cell, as text; a list as JSON."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value).strip()


def wrong(place: str, what: str, fix: str = "") -> NoReturn:
    """Raises InputError."""
    raise InputError(Problem(place, what, fix))
