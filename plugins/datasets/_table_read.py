"""Tables on disk to rows of words: CSV, TSV, JSON lines, JSON, Parquet; every problem of a file at once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectkit.errors import InputError, Problem, nearest

MOST = 20
"""Problems shown at once."""
ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq")


@dataclass(frozen=True)
class TableRow:
    """One row: where it stands, and its cells as text by column."""

    place: str
    """`file.csv:12`."""
    cells: dict[str, str]


def fail(problems: list[Problem]) -> None:
    """Raise the problems found, at most `MOST` and a count of the others; nothing if there are none."""
    if len(problems) > MOST:
        problems = [*problems[:MOST], Problem("", f"… and {len(problems) - MOST} more problems of this file")]
    if problems:
        raise InputError(problems)


def read(path: Path, obtain: str = "") -> tuple[list[str], list[TableRow]]:
    """Columns in order, and rows. Raises InputError with every broken line; `obtain` says where a missing file is had."""
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*") if p.suffix.lower() in ENDINGS)[:10]
        close = nearest(path.name, near)
        close = f"did you mean {close!r}?" if close else ""
        fix = " ".join(t for t in (close, obtain) if t) or "check `data.path`"
        what = "is a folder, not a table" if path.is_dir() else "there is no such file"
        raise InputError(Problem(str(path), what, fix, tuple(near)))
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(Problem(str(path), f"unknown kind of table {ending!r}", known=ENDINGS))
    if ending in (".parquet", ".pq"):
        return _tidy(_parquet(path))
    text = decoded(path)
    if ending in (".csv", ".tsv"):
        return _csv(path, text, "\t" if ending == ".tsv" else "")
    return _tidy(_json(path, text) if ending == ".json" else _lines(path, text))


def decoded(path: Path) -> str:
    """A file as text, with or without a byte order mark. Raises InputError with the line that is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(Problem(f"{path}:{line}", "is not UTF-8 text", "save the file as UTF-8")) from error


def _csv(path: Path, text: str, delimiter: str) -> tuple[list[str], list[TableRow]]:
    header = text.partition("\n")[0]
    delimiter = delimiter or max(",;\t", key=lambda d: (header.count(d), d == ","))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    rows: list[TableRow] = []
    problems: list[Problem] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            problems.append(Problem(f"{path}:{line}", f"broken line ({error})", "check the quotes in this line"))
            continue
        if cells is None:
            break
        cells = [c.strip() for c in cells]
        if not any(cells):
            continue
        if not columns:
            columns = cells
            twice = sorted({c for c in columns if columns.count(c) > 1 and c})
            if twice:
                problems.append(Problem(f"{path}:{line}", f"the header names {', '.join(twice)} more than once"))
        elif len(cells) != len(columns):
            fix = f"quote cells that hold a {delimiter!r}" if len(cells) > len(columns) else ""
            problems.append(Problem(f"{path}:{line}", f"has {len(cells)} cells, the header {len(columns)}", fix))
        else:
            rows.append(TableRow(f"{path}:{line}", dict(zip(columns, cells, strict=True))))
    if not columns:
        problems.append(Problem(str(path), "is empty", "the first line names the columns"))
    fail(problems)
    return columns, rows


def _lines(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(Problem(place, f"broken line ({error.msg} at column {error.colno})"))
            continue
        if isinstance(value, dict):
            yield place, value
        else:
            problems.append(Problem(place, f"wants an object `{{…}}`, got {line.strip()[:40]}"))
    fail(problems)


def _json(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A list of objects, or a mapping of name to object."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(Problem(f"{path}:{error.lineno}:{error.colno}", f"broken JSON ({error.msg})")) from error
    if isinstance(value, dict):
        value = [{"name": name, **v} if isinstance(v, dict) else v for name, v in value.items()]
    if not isinstance(value, list):
        raise InputError(Problem(str(path), "wants a list of objects or a mapping of name to object"))
    fail([
        Problem(f"{path} entry {i}", "is no object") for i, v in enumerate(value, 1) if not isinstance(v, dict)
    ])  # fmt: skip
    for number, entry in enumerate(value, 1):
        yield f"{path} entry {number}", entry


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        fix = "pip install 'affectkit[parquet]'"
        raise InputError(Problem(str(path), f"Parquet wants the package pyarrow ({error})", fix)) from error
    try:
        table = parquet.read_table(path)
    except (ArrowException, OSError) as error:
        raise InputError(Problem(str(path), f"cannot be read as Parquet ({error})")) from error
    for number, entry in enumerate(table.to_pylist(), 1):
        yield f"{path} row {number}", entry


def _tidy(entries: Iterator[tuple[str, dict[str, Any]]]) -> tuple[list[str], list[TableRow]]:
    """Columns in order of first appearance; all cells as text, missing ones empty."""
    found = list(entries)
    columns = list(dict.fromkeys(str(name) for _, entry in found for name in entry))
    return columns, [TableRow(place, {c: _word(entry.get(c)) for c in columns}) for place, entry in found]


def _word(value: Any) -> str:
    """A cell as text: empty for nothing (null, NaN), lists and mappings as JSON."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False)
    return str(value).strip()
