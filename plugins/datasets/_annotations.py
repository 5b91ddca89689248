"""Annotation files of published data sets, read as leniently as their public copies need; never by running them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectkit.errors import InputError, Problem, nearest, unknown
from affectkit.tables import TableRow, fail, read_table, read_text, text_lines

NOTHING = ("", "nan", "none", "null")
"""How published csv files write that there is nothing, in any case."""
NO_VALENCE = -10.0
"""How the MER files write that a clip has no valence."""
STRINGS_AND_COMMAS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|,(?=\s*[}\]])')
SEGMENT = re.compile(r"(.+?)___(\d+)___[\d.]+___[\d.]+___(.*)")
"""Names of videos may begin and end with underscores, and texts may hold three."""


@dataclass(frozen=True)
class NcevLine:
    """One line of an NCEV list."""

    place: str
    name: str
    emotion: str
    frames: int | None = None
    valence: float | None = None


def lenient_json(path: Path) -> dict[str, Any]:
    """A mapping of name to entry, trailing commas forgiven. Raises InputError with line and column."""
    text = text_of(path)
    try:
        value = json.loads(text)
    except RecursionError:
        raise InputError(Problem(str(path), "broken JSON (it is nested too deep)")) from None
    except json.JSONDecodeError:
        # a blank for each comma keeps lines and columns as they are in the file
        plain = STRINGS_AND_COMMAS.sub(lambda m: " " if m[0] == "," else m[0], text)
        try:
            value = json.loads(plain)
        except json.JSONDecodeError as error:
            place = f"{path}:{error.lineno}:{error.colno}"
            raise InputError(Problem(place, f"broken JSON ({error.msg})")) from error
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
        raise InputError(Problem(str(path), "wants a mapping of clip name to object"))
    return value


def ncev(path: Path) -> list[NcevLine]:
    """Lines `name frame_count emotion valence`, separated by blanks, or `name emotion`. Raises InputError by line."""
    lines, problems = [], []
    for number, text in enumerate(text_lines(text_of(path)), 1):
        words, place = text.split(), f"{path}:{number}"
        try:
            if len(words) == 4:
                valence = float(words[3])
                known = None if valence == NO_VALENCE or valence != valence else valence
                lines.append(NcevLine(place, words[0], words[2], int(words[1]), known))
            elif len(words) == 2:
                lines.append(NcevLine(place, words[0], words[1]))
            elif words:
                problems.append(Problem(place, f"has {len(words)} words", "name, frames, emotion, valence"))
        except ValueError as error:
            problems.append(Problem(place, f"is no line of name, frames, emotion, valence ({error})"))
    fail(problems)
    return lines


def table(
    path: Path, keys: Sequence[str] = ("name", "names"), needs: Sequence[str] = ()
) -> tuple[list[str], str, list[TableRow]]:
    """Columns, the column of the clip's name (the first of `keys` that is there) and rows of a csv.

    Raises InputError where there is no such column, where one of those that it `needs` is not there, and by line.
    """
    there(path)
    found = read_table(path)
    key = next((k for k in keys if k in found.columns), "")
    if not key:
        raise InputError(Problem(str(path), f"has no column {' or '.join(keys)}", known=tuple(found.columns)))
    for name in needs:
        if name not in found.columns:
            raise InputError(unknown(str(path), "column:", name, found.columns))
    return found.columns, key, found.rows


def there(path: Path) -> None:
    """Raises InputError if there is no such file, with the file of that folder that was likely meant."""
    if path.is_file():
        return
    near = sorted(p.name for p in path.parent.glob("*") if p.is_file())[:200] if path.parent.is_dir() else []
    close = nearest(path.name, near)
    raise InputError(Problem(str(path), "there is no such file", f"did you mean {close!r}?" if close else ""))


def text_of(path: Path) -> str:
    """The file as text, with or without a byte order mark. Raises InputError."""
    there(path)
    return read_text(path)


def words(value: Any) -> str:
    """A cell as words: empty for nothing, for NaN, and for the word that NaN becomes when it is written."""
    text = "" if value is None or value != value else str(value).strip()
    return "" if text.lower() in NOTHING else text


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def string_list(value: Any) -> tuple[str, ...]:
    """A list, or the text of one as csv files hold it (`['sad', 'hurt']`, `[sad, hurt]`): one pair of brackets is
    dropped, the rest split at quotes and commas."""
    if isinstance(value, (list, tuple)):
        return tuple(w for w in map(words, value) if w)
    text = words(value)
    inner = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    return tuple(w for part in re.split(r"['\",]", inner) if (w := part.strip()))


def units(value: Any) -> tuple[str, ...]:
    """Names of action units (`AU05`), from a list or the text of one."""
    text = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else words(value)
    return tuple(f"AU{int(n):02d}" for n in re.findall(r"AU\s*(\d+)", text, re.IGNORECASE))


def first_of(entry: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The words under the first of these keys that holds any."""
    return next((w for k in keys if (w := words(entry.get(k)))), "")


def names_in(root: Path, files: Sequence[str]) -> set[str]:
    """The clips that label files (csv or lists, below `root`) name. Raises InputError."""
    found: set[str] = set()
    for file in files:
        path = root / file
        if path.suffix == ".csv":
            _, key, rows = table(path)
            found.update(row.cells[key] for row in rows)
        else:
            found.update(line.name for line in ncev(path))
    return found


def segments(folder: Path) -> dict[str, str]:
    """What is said by clip, from CMU-MOSEI's folder of transcripts: a file a video, a line a segment, of video, number,
    start, end and text with three underscores between them. Raises InputError by line."""
    said: dict[str, str] = {}
    problems = []
    for path in sorted(folder.glob("*.txt")):
        for number, line in enumerate(text_lines(text_of(path)), 1):
            match = SEGMENT.match(line)
            if match:
                said[f"{match[1]}_{match[2]}"] = match[3].strip()
            elif line.strip():
                problems.append(Problem(f"{path}:{number}", "is no line video___number___start___end___text"))
    fail(problems)
    return said
