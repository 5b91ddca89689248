"""Files of weights as their headers tell of them, without torch: what is in them, and whether they are whole."""

from __future__ import annotations

import json
import math
import pickletools
from pathlib import Path
from typing import NoReturn

from affectkit.errors import InputError, Problem
from affectkit.files import read_json

POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS left in place of the real one."""
LONGEST = 100_000_000
"""Bytes of a header of safetensors, at most (the format's own bound)."""
BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
    "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "U32": 4, "U64": 8,
}  # fmt: skip
"""Bytes of a number in each format of safetensors that has whole ones."""
AGAIN = "fetch it again"

Shapes = dict[str, tuple[str, tuple[int, ...]]]
"""Format and shape of each tensor, by name."""


def header(path: Path) -> Shapes:
    """What a safetensors file says that it holds. Raises InputError where it is empty, cut, or another kind of file."""

    def wrong(what: str, fix: str = AGAIN) -> NoReturn:
        raise InputError(Problem(str(path), what, fix))

    refuse_stand_in(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(LONGEST, size - 8):
            wrong(f"is no safetensors file, or is cut in its header: it has {size:,} bytes")
        try:
            told = json.loads(file.read(length))
            entries = {name: entry for name, entry in told.items() if name != "__metadata__"}
            shapes = {n: (str(e["dtype"]), tuple(map(int, e["shape"]))) for n, e in entries.items()}
            spans = {n: (int(e["data_offsets"][0]), int(e["data_offsets"][1])) for n, e in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            wrong("is no safetensors file: its header cannot be read")
    end = 8 + length + max((stop for _, stop in spans.values()), default=0)
    if end != size:
        wrong(
            f"is cut: it has {size:,} bytes, and by its header {end:,}"
            if end > size
            else "holds more than its header says"
        )
    for name, (code, shape) in shapes.items():
        start, stop = spans[name]
        if stop - start != math.prod(shape) * BYTES.get(code, 0) and code in BYTES:
            wrong(f"says of {name} that it is {code} {list(shape)}, in {stop - start:,} bytes")
    return shapes


def refuse_stand_in(path: Path) -> None:
    """Raises InputError where a file is missing, empty, a pointer of Git LFS or a web page."""
    try:
        with path.open("rb") as file:
            begin = file.read(64)
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read: {error.strerror or error}", AGAIN)) from None
    if begin.startswith(POINTER):
        raise InputError(Problem(str(path), "is a pointer of Git LFS, not the file itself", "git lfs pull"))
    if begin.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise InputError(Problem(str(path), "is a web page that was saved in the file's place", AGAIN))
    if not begin:
        raise InputError(Problem(str(path), "is empty", AGAIN))


def pickled_names(path: Path) -> list[str] | None:
    """What a bare pickle would import to be read, as `module.name`, found without reading it; None for any other file."""
    names: list[str] = []
    texts: list[str] = []
    memo: dict[int, str] = {}
    top = ""
    try:
        with path.open("rb") as file:
            for code, value, _ in pickletools.genops(file):
                if code.name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
                    memo[len(memo) if value is None else int(value)] = top
                    continue
                top = (
                    memo.get(int(value or 0), "")
                    if code.name.endswith("GET")
                    else value
                    if isinstance(value, str)
                    else ""
                )
                texts += [top] if top else []
                if code.name in ("GLOBAL", "INST"):
                    names.append(str(value).replace(" ", "."))
                elif code.name == "STACK_GLOBAL":
                    names.append(".".join(texts[-2:]))
    except (ValueError, UnicodeDecodeError, OSError):  # no pickle, or one that is cut
        return None
    return list(dict.fromkeys(names))


def inspect(folder: Path) -> list[Problem]:
    """What is wrong with the weights of a folder of save_pretrained, as far as headers tell; empty if nothing is."""
    found: list[Problem] = []
    index = next(
        (i for i in (folder / f"{n}.index.json" for n in ("model.safetensors", "pytorch_model.bin")) if i.is_file()),
        None,
    )
    if index is not None and not (folder / "model.safetensors").is_file():
        found += _indexed(index)
    elif (folder / "model.safetensors").is_file():
        found += _told(folder / "model.safetensors")
    else:
        found += [p for path in sorted(folder.glob("*.bin")) for p in _told(path)]
    return found


def _told(path: Path) -> list[Problem]:
    try:
        header(path) if path.suffix == ".safetensors" else refuse_stand_in(path)
    except InputError as error:
        return list(error.problems)
    return []


def _indexed(index: Path) -> list[Problem]:
    """What is wrong with an index and the shards that it names."""
    try:
        names: dict[str, str] = {str(k): str(v) for k, v in read_json(index)["weight_map"].items()}
    except InputError as error:
        return [Problem(str(index), f"is no index of shards: {error.problems[0].what}", AGAIN)]
    except (KeyError, TypeError, AttributeError) as error:
        return [Problem(str(index), f"is no index of shards ({type(error).__name__})", AGAIN)]
    found: list[Problem] = []
    for shard in sorted(set(names.values())):
        path = index.parent / shard
        told = _told(path)
        found += told
        if told or path.suffix != ".safetensors":
            continue
        lacks = sorted(n for n, where in names.items() if where == shard and n not in header(path))
        if lacks:
            found.append(
                Problem(str(path), f"lacks {len(lacks)} weights that {index.name} names: {', '.join(lacks[:3])}", AGAIN)
            )
    return found
