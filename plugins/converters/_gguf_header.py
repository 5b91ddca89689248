"""The header of a GGUF file: what it says of itself, held against the bytes that are there.

A file is little-endian: `GGUF`, version, number of tensors, number of notes; notes (name, kind, value); tensors (name, number of
sizes, sizes from the innermost, number format, where its bytes begin); padding up to a multiple of the alignment, and the bytes
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TypeVar

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from affectkit import weight_files
from affectkit.errors import InputError, Problem

T = TypeVar("T")
VERSIONS = (2, 3)
AGAIN = "fetch it again"
SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
"""Codes of `struct` by kind of a note."""
TEXT, LIST = 8, 9
INTEGERS = ("I8", "I16", "I32", "I64")
ARCHITECTURE, ALIGNMENT = "general.architecture", "general.alignment"
DEEPEST = 8
"""Lists within lists, at most."""


@dataclass(frozen=True)
class Entry:
    """A tensor as the header describes it."""

    shape: tuple[int, ...]
    """From the outermost size, as torch has it."""
    kind: GGMLQuantizationType
    start: int
    """Where its bytes begin, in the file."""
    bytes: int

    def __str__(self) -> str:
        return " x ".join(map(str, self.shape))


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    notes: dict[str, object]
    """By name; of a list only how long it is."""
    tensors: dict[str, Entry]
    spare: int
    """Bytes behind the last tensor and its padding."""

    @property
    def architecture(self) -> str:
        return str(self.notes[ARCHITECTURE])


class _End(Exception):
    """The header says that it goes on where the file ends."""


def read_header(path: Path) -> Header:
    """The header of a file. Raises InputError where the file is no GGUF, of another version, cut, or of number formats that are
    not known or are none of weights."""
    weight_files.refuse_stand_in(path)
    size = path.stat().st_size
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        if data[:4] != b"GGUF":
            raise _wrong(path, f"is no GGUF file: it begins with {data[:4]!r}")
        cursor = _Cursor(data)
        try:
            version = cursor.number("I")
            if version not in VERSIONS:
                turned = int.from_bytes(version.to_bytes(4, "big"), "little") in VERSIONS
                what = "is big-endian" if turned else f"is of version {version:,} of GGUF"
                fix = "convert the model anew with llama.cpp" + (", for a little-endian machine" if turned else "")
                raise _wrong(path, f"{what}; versions 2 and 3 are read, little-endian", fix)
            tensors, notes = cursor.number("Q"), cursor.number("Q")
            if (least := 24 * tensors + 12 * notes) > size:
                what = (
                    f"says that it holds {tensors:,} tensors and {notes:,} notes, at least {least:,} bytes, in {size:,}"
                )
                raise _wrong(path, f"is cut or broken: it {what}")
            found = dict(_once(path, ((cursor.text(), cursor.value()) for _ in range(notes))))
            described = dict(_once(path, (cursor.tensor() for _ in range(tensors))))
        except _End:
            raise _wrong(
                path, f"is cut in its header: it has {size:,} bytes, and more by what it says of itself"
            ) from None
        except (UnicodeDecodeError, KeyError) as error:
            raise _wrong(path, f"has a header that cannot be read, near byte {cursor.at:,}") from error
    if not isinstance(found.get(ARCHITECTURE), str):
        raise _wrong(path, f"does not say its {ARCHITECTURE}")
    if not described:
        raise _wrong(path, "holds no weights")
    pad = found.get(ALIGNMENT, 32)
    if not isinstance(pad, int) or pad < 1:
        raise _wrong(path, f"says that its {ALIGNMENT} is {pad}")
    begin = _padded(cursor.at, pad)
    entries = {name: _entry(path, name, begin, *about) for name, about in described.items()}
    end = max(entry.start + entry.bytes for entry in entries.values())
    if end > size:
        lost = sorted((e.start, name) for name, e in entries.items() if e.start + e.bytes > size)
        what = f"is cut: it has {size:,} bytes, and by its header {end:,}; {len(lost)} of {len(entries)} tensors are not whole"
        raise _wrong(path, f"{what}, the first {lost[0][1]}")
    return Header(found, entries, max(0, size - _padded(end, pad)))


def _wrong(path: Path, what: str, fix: str = AGAIN) -> InputError:
    return InputError(Problem(str(path), what, fix))


def _padded(at: int, pad: int) -> int:
    return -(-at // pad) * pad


def _once(path: Path, pairs: Iterator[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    seen: set[str] = set()
    for name, value in pairs:
        if name in seen:
            raise _wrong(path, f"names {name} twice")
        seen.add(name)
        yield name, value


def _entry(path: Path, name: str, begin: int, shape: tuple[int, ...], code: int, offset: int) -> Entry:
    if code not in [int(kind) for kind in GGMLQuantizationType]:
        what = f"holds {name} in a number format that is not known ({code})"
        raise _wrong(path, what, "upgrade the package gguf, or fetch another quantisation")
    kind = GGMLQuantizationType(code)
    if kind.name in INTEGERS:
        what = f"holds {name} as {kind.name}: an integer tensor is no weight"
        raise _wrong(path, what, "fetch the model with weights that are fractions, or quantised ones")
    block, size = GGML_QUANT_SIZES[kind]
    count = math.prod(shape)
    if shape[-1:] and shape[-1] % block:
        raise _wrong(path, f"says of {name} that it is {kind.name}, in blocks of {block}, and {shape[-1]} wide")
    return Entry(shape, kind, begin + offset, count // block * size)


class _Cursor:
    """Reads one thing after another, behind the first four bytes."""

    def __init__(self, data: mmap) -> None:
        self._data, self.at = data, 4

    def take(self, count: int) -> bytes:
        if self.at + count > len(self._data):
            raise _End
        self.at += count
        return self._data[self.at - count : self.at]

    def number(self, code: str) -> int:
        found: int = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]
        return found

    def text(self) -> str:
        return self.take(self.number("Q")).decode()

    def value(self) -> object:
        """Of a note; KeyError for a kind that there is not."""
        kind = self.number("I")
        return self._list() if kind == LIST else self.text() if kind == TEXT else self.number(SCALARS[kind])

    def _list(self, depth: int = 0) -> int:
        """How long a list is; its values are passed over."""
        kind, count = self.number("I"), self.number("Q")
        if kind not in (TEXT, LIST):
            self.take(count * struct.calcsize(f"<{SCALARS[kind]}"))
            return count
        if depth == DEEPEST:
            raise KeyError(depth)
        skip: Callable[[], object] = (
            (lambda: self._list(depth + 1)) if kind == LIST else lambda: self.take(self.number("Q"))
        )
        for _ in range(count):
            skip()
        return count

    def tensor(self) -> tuple[str, tuple[tuple[int, ...], int, int]]:
        """Name, shape, code of the number format, and where it begins behind the header."""
        name = self.text()
        sizes = [self.number("Q") for _ in range(self.number("I"))]
        return name, (tuple(reversed(sizes)), self.number("I"), self.number("Q"))
