"""Files: whole or not there, written under a temporary name, then renamed; and what an ending says."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from affectkit.errors import InputError, Problem, WriteError
from affectkit.tables import json_lines, parse_json, read_text

ENDINGS = {
    "video": (
        ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".ts", ".3gp", ".ogv", ".gif",
        ".mts", ".m2ts", ".m2t", ".m2v", ".3g2", ".3gpp", ".asf", ".divx", ".dv", ".f4v", ".mjpeg", ".mjpg", ".mp4v", ".mpe",
        ".mpv", ".mxf", ".nut", ".ogm", ".qt", ".rm", ".rmvb", ".vob", ".y4m", ".h264", ".264", ".hevc", ".h265", ".265",
    ),
    "image": (
        ".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".jpe", ".jfif", ".jp2", ".j2k", ".jpx",
        ".pbm", ".pnm", ".tga", ".ico", ".dib", ".apng", ".avif", ".mpo", ".j2c", ".jpc", ".jpf", ".qoi", ".sgi", ".pcx",
        ".heic", ".heif",
    ),
    "audio": (
        ".wav", ".mp3", ".flac", ".ogg", ".oga", ".m4a", ".aac", ".opus", ".wma", ".aif", ".aiff", ".m4b", ".amr", ".caf",
        ".aifc", ".au", ".snd", ".mka", ".mp2", ".ac3", ".eac3", ".dts", ".ape", ".wv", ".tta", ".weba", ".w64", ".rf64",
        ".spx", ".gsm", ".awb", ".mpc", ".voc", ".ra",
    ),
}  # fmt: skip
"""Kinds of media and the endings of their files, the same for tables and for `predict`."""


def media_kind(path: str | Path) -> str:
    """`video`, `image` or `audio` by a file's ending; empty for any other."""
    ending = Path(path).suffix.lower()
    return next((kind for kind, endings in ENDINGS.items() if ending in endings), "")


def as_file_name(words: str) -> str:
    """Words as part of a file's or folder's name: other signs than letters, digits, `.`, `_` and `-` become `-`."""
    return re.sub(r"[^\w.-]+", "-", words)


def is_zip(path: str | Path) -> bool:
    """Whether a file is a zip archive; one whose end is damaged is none, where Python's own test may raise."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


FOLDER = "AFFECTKIT_CACHE"
"""Environment variable: the user's cache."""


def cache_folder() -> Path:
    """The user's cache: `$AFFECTKIT_CACHE`, `$XDG_CACHE_HOME/affectkit`, or `~/.cache/affectkit`."""
    own = os.environ.get(FOLDER)
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(base) if base else Path.home() / ".cache") / "affectkit"


@contextmanager
def written_whole(path: Path, size: int, errors: tuple[type[Exception], ...] = (OSError,)) -> Iterator[Path]:
    """A name beside `path` to write `size` bytes to; what is there in the end takes the place of `path`.

    Killed at any moment, the old file or the new one is there, never a part. Any of `errors` becomes a WriteError that names
    the path, the size and the cause, and the old file stays.
    """
    # In the same folder, because a rename is atomic within one file system only; short, because names have a longest.
    half = path.with_name(f".{path.name[:40]}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield half
            os.replace(half, path)
        finally:
            with suppress(OSError):
                half.unlink()
    except errors as error:
        raise cannot_write(path, size, error) from error


def cannot_write(path: Path, size: int | None, error: Exception) -> WriteError:
    """The error of a file that could not be written: its path, the bytes that it needs (None: nobody knows), how many are free,
    the cause."""
    there = next((folder for folder in path.absolute().parents if folder.is_dir()), None)
    known = [f"{size:,} bytes are needed"] if size is not None else []
    known += [f"{shutil.disk_usage(there).free:,} bytes are free"] if there else []
    why = getattr(error, "strerror", None) or error
    what = f"cannot be written: {why} ({', '.join(known)})"
    return WriteError(
        Problem(str(path), what, "make room or let the folder be written to; what was there before is whole")
    )


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`; killed at any moment, the old file or the new one is there. Raises WriteError."""
    with written_whole(Path(path), len(data)) as half:
        half.write_bytes(data)


def write_text_atomic(path: str | Path, text: str) -> None:
    """`write_bytes_atomic` for text, as UTF-8.

    Bytes of a file's name that are no UTF-8 (lone surrogates in Python) become `\\udcXX`, which JSON and YAML read as the
    same name.
    """
    write_bytes_atomic(path, text.encode("utf-8", "backslashreplace"))


def append_whole(path: Path, text: str) -> None:
    """Append text to a file, all of it or, with a WriteError, nothing."""
    before = path.stat().st_size if path.exists() else 0
    data = text.encode("utf-8", "backslashreplace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(data)
    except OSError as error:
        with suppress(OSError):
            os.truncate(path, before)
        raise cannot_write(path, len(data), error) from error


def drop_unfinished_line(path: Path) -> None:
    """Take the last line from a file where a process was killed, or a machine lost power, while it appended it."""
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        write_bytes_atomic(path, data[: data.rfind(b"\n") + 1])


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


LONGEST_NAME = 1024
"""Bytes of a file that stands for a link to a run folder."""


def run_path(path: str | Path) -> Path:
    """A run's folder as given; where a file `last` stands for a link, as where links cannot be made, what it names.

    Raises InputError for any other file.
    """
    path = Path(path)
    if not path.is_file():
        return path
    if path.name == "last" and path.stat().st_size <= LONGEST_NAME:
        return path.parent / path.read_text(encoding="utf-8", errors="replace").strip()
    inside = next((folder for folder in path.parents if (folder / "recipe.yaml").is_file()), None)
    fix = f"give its folder: {inside}" if inside else "give the folder that `affectkit fit` made, for example runs/last"
    raise InputError(Problem(str(path), "is a file, where a run folder is wanted", fix))


def read_object(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file; raises InputError as `read_json`, and for any other value."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(Problem(str(path), f"a JSON object is wanted, this is {type(value).__name__}"))
    return value


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


def track(items: Sequence[T], what: str, note: Callable[[], str] | None = None) -> Iterator[T]:
    """The items, with a bar on stderr once they take longer than two seconds; with `note`, also how many a second, and what it
    says."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    more = (TextColumn("{task.fields[note]}"),) if note else ()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), *more)
    progress = Progress(*columns, console=Console(stderr=True), transient=not sys.stderr.isatty())
    task = progress.add_task(what, total=len(items), note="")
    begun = time.monotonic()
    shown = False
    try:
        for item in items:
            yield item
            if not shown and time.monotonic() - begun > PATIENCE:
                progress.start()
                shown = True
            progress.advance(task)
            if note and shown:
                rate = progress.tasks[0].completed / (time.monotonic() - begun)
                progress.update(task, note=f"{rate:.3g}/s  {note()}".rstrip())
    finally:
        if shown:
            progress.stop()
