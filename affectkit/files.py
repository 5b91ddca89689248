"""Files: whole or not there, written under a temporary name, then renamed; and what an ending says."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from affectkit.errors import InputError, Problem
from affectkit.tables import json_lines, parse_json, read_text

ENDINGS = {
    "video": (
        ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".ts", ".3gp", ".ogv", ".gif",
    ),
    "image": (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"),
    "audio": (".wav", ".mp3", ".flac", ".ogg", ".oga", ".m4a", ".aac", ".opus", ".wma", ".aif", ".aiff"),
}  # fmt: skip
"""Kinds of media and the endings of their files, the same for tables and for `predict`."""


def media_kind(path: str | Path) -> str:
    """`video`, `image` or `audio` by a file's ending; empty for any other."""
    ending = Path(path).suffix.lower()
    return next((kind for kind, endings in ENDINGS.items() if ending in endings), "")


def as_file_name(words: str) -> str:
    """Words as part of a file's or folder's name: other signs than letters, digits, `.`, `_` and `-` become `-`."""
    return re.sub(r"[^\w.-]+", "-", words)


def cache_folder() -> Path:
    """The user's cache: `$AFFECTKIT_CACHE`, `$XDG_CACHE_HOME/affectkit`, or `~/.cache/affectkit`."""
    own = os.environ.get("AFFECTKIT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(base) if base else Path.home() / ".cache") / "affectkit"


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`; killed at any moment, the old file or the new one is there, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename is atomic within one file system only.
    half = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        half.write_bytes(data)
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def write_text_atomic(path: str | Path, text: str) -> None:
    """`write_bytes_atomic` for text, as UTF-8."""
    write_bytes_atomic(path, text.encode("utf-8"))


Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
"""A value that a JSON file can hold."""


def write_json_atomic(path: str | Path, value: Any) -> None:
    """Write JSON that every reader accepts (see `plain`)."""
    write_text_atomic(path, json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl_atomic(path: str | Path, rows: Iterable[Any]) -> None:
    """One JSON value a line."""
    lines = (json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    write_text_atomic(path, "".join(lines))


def read_json(path: str | Path) -> Any:
    """The value in a JSON file. Raises InputError with the place where it is missing, broken, or nested too deep."""
    try:
        return parse_json(read_text(Path(path)))
    except ValueError as error:
        raise InputError(Problem(str(path), f"this is not JSON: {error}")) from None


def read_jsonl(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) for each line that is not blank. Raises InputError with every broken line, after the others."""
    return json_lines(Path(path))


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: numpy values become numbers and lists, NaN and infinities null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays, tensors
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | bool | int) else str(value)


T = TypeVar("T")

PATIENCE = 2.0
"""Seconds before a bar appears."""


Say = Callable[[str], None]
"""What is called with each message about progress, a line for people."""


def track(items: Sequence[T], what: str) -> Iterator[T]:
    """The items, with a bar on stderr once they take longer than two seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=not sys.stderr.isatty())
    task = progress.add_task(what, total=len(items))
    begun = time.monotonic()
    shown = False
    try:
        for item in items:
            yield item
            if not shown and time.monotonic() - begun > PATIENCE:
                progress.start()
                shown = True
            progress.advance(task)
    finally:
        if shown:
            progress.stop()
