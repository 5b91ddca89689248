"""Tables on disk to rows of words: CSV, TSV, Excel, JSON lines, JSON, Parquet; every problem of a file at once."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from affectkit.errors import InputError, Problem, nearest

MOST = 20
"""Problems shown at once."""
ENDINGS = (".csv", ".tsv", ".xlsx", ".jsonl", ".ndjson", ".json", ".parquet", ".pq")
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; that of UTF-32 begins as that of UTF-16 does."""
LIKELY = ("gb18030", "shift_jis", "cp1252")
"""Encodings that a table which is not UTF-8 is likely to have; a guess for the message, never for reading."""
SEPARATORS = ",;\t|"
LINE = re.compile(r"\r\n|\n|\r")
"""What ends a line. Not `splitlines`: U+2028, U+0085 and their like may stand inside a text."""
HALF = re.compile("[\ud800-\udfff]")
"""Half of a sign beyond the first 65,536, as tools leave that cut texts between two halves."""
SAVE = "open it in the program that made it and save it as CSV (UTF-8)"

FORMS_OF_JSON = "a list of objects, or a mapping of name to object"

Entry = tuple[str, dict[str, object]]


@dataclass(frozen=True)
class TableRow:
    """One row: where it stands, and its cells as text by column."""

    place: str
    """`file.csv:12`."""
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table as it was found."""

    columns: list[str]
    rows: list[TableRow]
    notes: tuple[str, ...] = ()
    """What was mended on the way, for a user to know."""


def fail(problems: Sequence[Problem]) -> None:
    """Raise the problems found, at most `MOST` and a count of the others; nothing if there are none."""
    if len(problems) > MOST:
        problems = [*problems[:MOST], Problem("", f"… and {len(problems) - MOST} more problems of this file")]
    if problems:
        raise InputError(problems)


def read_table(path: Path, obtain: str = "") -> Table:
    """The rows of a file, by its ending. `obtain` says where a missing one is to be had.

    Blanks around cells go, as do empty cells behind the last column. Half a sign becomes U+FFFD, with a note. Raises
    InputError with every broken line: a quote that is never closed, a column or a JSON key that is there twice, a row
    that is longer or shorter than the header, text in another encoding.
    """
    return _read(path, _ending(path, ENDINGS, obtain))


def _read(path: Path, ending: str) -> Table:
    if ending == ".xlsx":
        return _whole(*_excel(path))
    if ending in (".csv", ".tsv", ".txt"):
        return _whole(*_csv(path, read_text(path), "\t" if ending == ".tsv" else ""))
    return _tidy(_entries(path, ending))


def read_entries(path: Path) -> tuple[list[Entry], tuple[str, ...]]:
    """(place, cells by column) of the rows of a table, and its notes; as `read_table`, but numbers and lists of JSON and
    Parquet stay what they are, and `.txt` is text with separators."""
    ending = _ending(path, (*ENDINGS, ".txt"))
    if ending in (".json", ".jsonl", ".ndjson", ".parquet", ".pq"):
        return list(_entries(path, ending)), ()
    table = _read(path, ending)
    return [(row.place, dict(row.cells)) for row in table.rows], table.notes


def _entries(path: Path, ending: str) -> Iterator[Entry]:
    if ending in (".parquet", ".pq"):
        return _parquet(path)
    return _json(path) if ending == ".json" else json_lines(path)


def _ending(path: Path, known: tuple[str, ...], obtain: str = "") -> str:
    """The ending of a table. Raises InputError where there is no such file, or no table of that kind."""
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*") if p.suffix.lower() in ENDINGS)[:10]
        close = nearest(path.name, near)
        close = f"did you mean {close!r}?" if close else ""
        fix = " ".join(t for t in (close, obtain) if t) or "check the path"
        what = "is a folder, not a table" if path.is_dir() else "there is no such file"
        raise InputError(Problem(str(path), what, fix, tuple(near)))
    ending = path.suffix.lower()
    if ending not in known:
        fix = SAVE if ending in (".xls", ".xlsm", ".xlsb", ".ods", ".numbers") else ""
        raise InputError(Problem(str(path), f"unknown kind of table {ending!r}", fix, known))
    return ending


def read_text(path: Path) -> str:
    """The text of a file: UTF-8, or UTF-16 and UTF-32 with a mark or with every other byte 0.

    Raises InputError with the first line that is no such text, and the encoding that it may be.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror or error}")) from None
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "") or _unmarked(data[:4096])
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        guess = next((name for name in LIKELY if _decodes(data, name)), "")
        what = "is not UTF-8 text" + (f"; it may be {guess.upper()}" if guess else "")
        fix = f"save the file as UTF-8, or: iconv -f {(guess or '…').upper()} -t UTF-8 {path.name} > new{path.suffix}"
        raise InputError(Problem(f"{path}:{line}", what, fix)) from error


def _unmarked(head: bytes) -> str:
    """The encoding of text without a mark: that of letters whose second (or first) byte is 0, else UTF-8. Of four bytes for a
    letter three are 0."""
    if head[1:4] == bytes(3) or (head[:3] == bytes(3) and len(head) > 3):
        return "utf-32-le" if head[0] else "utf-32-be"
    even, odd = head[::2], head[1::2]
    if odd and odd.count(0) > len(odd) // 2 and not even.count(0):
        return "utf-16-le"
    if even and even.count(0) > len(even) // 2 and not odd.count(0):
        return "utf-16-be"
    return "utf-8"


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def text_lines(text: str) -> list[str]:
    """The lines of a text, which only line feeds and carriage returns end."""
    lines = LINE.split(text)
    return lines[:-1] if lines[-1] == "" else lines


def _headed(
    path: Path, records: list[tuple[str, list[str]]], problems: list[Problem], separator: str = ""
) -> tuple[list[str], list[TableRow]]:
    """Columns (the first record) and rows of the others. Raises InputError with all that is wrong, `problems` first."""
    if not records and not problems:
        problems.append(Problem(str(path), "is empty", "the first line names the columns"))
    (top, columns), *below = records or [("", [])]
    twice = sorted(c for c, n in Counter(columns).items() if n > 1 and c)
    if twice:
        problems.append(Problem(top, f"the header names {', '.join(twice)} more than once"))
    while columns and not columns[-1] and not any(any(cells[len(columns) - 1 :]) for _, cells in below):
        columns = columns[:-1]
    rows = []
    ragged = {len(cells) for _, cells in below if len(cells) > len(columns)}
    if len(columns) == 1 and len(ragged) == 1 and all(any(cells[1:]) for _, cells in below):
        fix = "take this line out, or write the names of the columns into it"
        problems.append(Problem(top, f"does not name the columns: the lines below have {ragged.pop()} cells", fix))
        below = []
    for place, cells in below:
        if len(columns) > 1 and cells[: len(columns)] == columns:
            problems.append(Problem(place, "is the header once more, as where files are joined", "take this line out"))
        elif len(cells) < len(columns) or any(cells[len(columns) :]):
            fix = f"quote cells that hold a {separator!r}" if separator and len(cells) > len(columns) else ""
            problems.append(Problem(place, f"has {len(cells)} cells, the header {len(columns)}", fix))
        else:
            rows.append(TableRow(place, dict(zip(columns, cells, strict=False))))
    fail(sorted(problems, key=_line))
    return columns, rows


def _line(problem: Problem) -> int:
    """The line that a problem is in."""
    number = re.search(r"\d+$", problem.place)
    return int(number[0]) if number else 0


def _csv(path: Path, text: str, separator: str) -> tuple[list[str], list[TableRow]]:
    skipped = 0
    told = re.match(r"sep=(.)\r?\n", text)  # Excel's own line
    if told:
        text, separator, skipped = text[told.end() :], told[1], 1
    header = re.sub(r'"[^"]*"', "", LINE.split(text, maxsplit=1)[0])
    separator = separator or max(SEPARATORS, key=lambda s: (header.count(s), -SEPARATORS.index(s)))
    problems: list[Problem] = []
    return _headed(path, list(_records(path, text, separator, skipped, problems)), problems, separator)


def _records(
    path: Path, text: str, separator: str, skipped: int, problems: list[Problem]
) -> Iterator[tuple[str, list[str]]]:
    """(place, cells) of each record that is not blank; broken ones go to `problems`."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    limit = csv.field_size_limit(sys.maxsize)
    try:
        while True:
            line = reader.line_num + 1 + skipped
            place = f"{path}:{line}"
            try:
                cells = next(reader, None)
            except csv.Error as error:
                end = "unexpected end" in str(error)
                what = "opens a quote that nothing closes" if end else f"broken line ({error})"
                problems.append(Problem(place, what, "check the quotes in this line; a quote inside a cell is doubled"))
                continue
            if cells is None:
                return
            if swallowed := _swallowed(cells, separator):
                what = f"a quoted cell of this row holds what looks like the next row: {swallowed[:60]!r}"
                problems.append(Problem(place, what, "close the quote of this line"))
            cells = [c.strip() for c in cells]
            if any(cells):
                yield place, cells
    finally:
        csv.field_size_limit(limit)


def _swallowed(cells: list[str], separator: str) -> str:
    """The line inside a cell that is a row by itself, because a quote was not closed; empty where there is none."""

    def shape(cell: str) -> str:
        return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", cell.strip()))

    long = [cell for cell in cells[1:] if "\n" in cell or "\r" in cell]
    wanted = shape(cells[0]) if long else ""
    if not re.search(r"[0.]", wanted):  # a word alone has the shape of many lines
        return ""
    for line in (line for cell in long for line in text_lines(cell)[1:]):
        parts = line.split(separator)
        if 1 < len(parts) <= len(cells) and shape(parts[0]) == wanted:
            return line
    return ""


def _excel(path: Path) -> tuple[list[str], list[TableRow], list[str]]:
    """The first sheet that has a row below its first one; a note names the others that hold anything. Cells that are merged
    all hold the value of the first. Raises InputError where the value of a formula was not saved."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, data_only=True)
        with zipfile.ZipFile(path) as archive:
            counts = any(b"<f" in archive.read(name) for name in archive.namelist() if "worksheets/" in name)
        formulae = openpyxl.load_workbook(path) if counts else None
        sheets = {s.title: [[_word(cell.value) for cell in row] for row in s.iter_rows()] for s in book.worksheets}
    except Exception as error:  # a damaged archive fails in as many ways as it has parts
        what = f"cannot be read as Excel ({type(error).__name__}: {str(error)[:80]})"
        raise InputError(Problem(str(path), what, SAVE)) from error
    full = {title: cells for title, cells in sheets.items() if any(map(any, cells))}
    long = (found for found in full.items() if sum(map(any, found[1])) > 1)
    title, cells = next(long, next(iter(full.items()), ("", [])))
    others = ", ".join(repr(other) for other in full if other != title)
    notes = [f"{path.name}: read is the sheet {title!r}, not {others}"] if others else []
    problems = []
    if title:
        merged = list(book[title].merged_cells.ranges)
        for block in merged:
            for row in cells[block.min_row - 1 : block.max_row]:
                row[block.min_col - 1 : block.max_col] = [cells[block.min_row - 1][block.min_col - 1]] * block.size[
                    "columns"
                ]
        notes += (
            [f"{path.name}: groups of merged cells, each read as full of its value: {len(merged)}"] if merged else []
        )
        unsaved = [
            cell
            for row in (formulae[title].iter_rows() if formulae else ())
            for cell in row
            if cell.data_type == "f"
            and (book[title][cell.coordinate].value, book[title][cell.coordinate].data_type) == (None, "n")
        ]
        what = "the formula in {} was saved without its value"
        problems = [Problem(f"{path} sheet {title} row {c.row}", what.format(c.coordinate), SAVE) for c in unsaved]
    records = [(f"{path} sheet {title} row {number}", row) for number, row in enumerate(cells, 1) if any(row)]
    return *_headed(path, records, problems), notes


def json_lines(path: Path) -> Iterator[Entry]:
    """(place, object) for each line of a file that is not blank. Raises InputError with every broken line."""
    problems: list[Problem] = []
    for number, line in enumerate(text_lines(read_text(path)), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            value = parse_json(line)
        except ValueError as error:
            problems.append(Problem(place, f"this is not JSON: {error}", "one JSON object a line"))
            continue
        if isinstance(value, dict):
            yield place, value
        else:
            what = f"a JSON object is wanted, this is {type(value).__name__}: {line.strip()[:40]}"
            problems.append(Problem(place, what))
    fail(problems)


def parse_json(text: str) -> object:
    """The value of a JSON text. Raises ValueError where it is broken, nested too deep, or names a key twice."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
            raise ValueError(f"the key {twice!r} is there twice")
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise ValueError(f"{error.msg} at {where}") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _json(path: Path) -> Iterator[Entry]:
    """A list of objects, a mapping of name to object, or JSON lines under that ending."""

    def wrong(what: str) -> NoReturn:
        raise InputError(Problem(str(path), what, FORMS_OF_JSON))

    try:
        value = parse_json(read_text(path))
    except ValueError as error:
        if str(error).startswith("Extra data"):
            yield from json_lines(path)
            return
        wrong(f"this is not JSON: {error}")
    if isinstance(value, dict):
        value = [{"name": name, **v} if isinstance(v, dict) else v for name, v in value.items()]
    if not isinstance(value, list):
        wrong(f"holds a {type(value).__name__}")
    fail([
        Problem(f"{path} entry {i}", "is no object", FORMS_OF_JSON) for i, v in enumerate(value, 1) if not isinstance(v, dict)
    ])  # fmt: skip
    for number, entry in enumerate(value, 1):
        yield f"{path} entry {number}", entry


def _parquet(path: Path) -> Iterator[Entry]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        fix = "pip install 'affectkit[parquet]'"
        raise InputError(Problem(str(path), f"Parquet wants the package pyarrow ({error})", fix)) from error
    try:
        table = parquet.read_table(path)
        columns = [_parquet_values(column) for column in table.columns]
    except (ArrowException, OSError, ValueError, OverflowError) as error:
        what = f"cannot be read as Parquet ({str(error).partition(chr(10))[0][:200]})"
        raise InputError(Problem(str(path), what)) from error
    for number, values in enumerate(zip(*columns, strict=True), 1):
        yield f"{path} row {number}", dict(zip(table.column_names, values, strict=True))


def _parquet_values(column: Any) -> list[object]:
    """The values of a column; bytes as the text that they are, where they are one."""
    fine = str(column.type).startswith(
        "timestamp[ns"
    )  # which pandas, where it is installed, would put into words of its own
    try:
        values = (column.cast("string") if fine else column).to_pylist()
    except (ValueError, OverflowError):  # times that are later than those of Python
        values = column.cast("string").to_pylist()
    with suppress(UnicodeDecodeError):
        return [value.decode() if isinstance(value, bytes) else value for value in values]
    return list(values)


def _tidy(entries: Iterable[Entry]) -> Table:
    """Columns in order of first appearance; all cells as text, missing ones empty."""
    found = list(entries)
    columns = list(dict.fromkeys(str(name) for _, entry in found for name in entry))
    return _whole(columns, [TableRow(place, {c: _word(entry.get(c)) for c in columns}) for place, entry in found])


def _whole(columns: list[str], rows: list[TableRow], notes: Iterable[str] = ()) -> Table:
    """The table, its texts such as can be written: half a sign becomes U+FFFD, and a note says where."""
    halved = []
    for i, row in enumerate(rows):
        if any(map(HALF.search, row.cells.values())):
            halved.append(row.place)
            rows[i] = TableRow(row.place, {c: HALF.sub("\N{REPLACEMENT CHARACTER}", t) for c, t in row.cells.items()})
    if halved:
        some = f"{len(halved)} rows hold" if len(halved) > 1 else "a row holds"
        notes = [*notes, f"{halved[0]}: {some} half a sign (a cut emoji, say), replaced by \N{REPLACEMENT CHARACTER}"]
    return Table(columns, rows, tuple(notes))


def _word(value: object) -> str:
    """A cell as text: empty for nothing (null, NaN), lists and mappings as JSON."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    iso: Callable[[], str] | None = getattr(value, "isoformat", None)  # dates of a spreadsheet
    return iso() if iso else str(value).strip()
