"""Files of weights as their headers tell of them, without torch: what is in them, and whether they are whole."""

from __future__ import annotations

import io
import json
import math
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from affectkit.errors import InputError, Problem
from affectkit.files import is_zip, read_json, read_object

POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS left in place of the real one."""
LONGEST = 100_000_000
"""Bytes of a header of safetensors, at most (the format's own bound)."""
BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
    "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "U32": 4, "U64": 8,
}  # fmt: skip
"""Bytes of a number in each format of safetensors that has whole ones."""
FRACTIONS = ("F64", "F32", "F16", "BF16")
"""Formats that parameters may come in."""
STORAGES = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32", "Short": "I16",
    "Char": "I8", "Byte": "U8", "Bool": "BOOL", "ComplexFloat": "complex64", "ComplexDouble": "complex128",
}  # fmt: skip
"""Formats of torch's storages, as safetensors writes those that it has; any other keeps torch's name."""
LAYERS = ("num_hidden_layers", "n_layer", "n_layers")
WIDTHS = ("embedding_size", "input_embedding_size", "word_embed_proj_dim", "hidden_size", "n_embd", "d_model")
"""How configs call the number of layers, and the width of the table of words: the first that is there."""
WORDS = re.compile(r"(^|\.)(embed_tokens|word_embeddings|wte|embed_in|tok_embeddings|shared)\.weight")
"""The end of the name of such a table."""
LAYER = re.compile(r"(.+?)\.(\d+)(?=\.|$)")
"""The name of a stack of layers and the number of one, first in the name of a weight."""
SHARED = "num_hidden_groups"
"""In a config whose layers share their weights."""
AGAIN = "fetch it again"
ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Of files of weights; all but the first are torch's."""
STANDARD = (
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
)  # fmt: skip
"""Names that libraries look for in a folder; the first that is there is read."""
PLAIN = ("torch", "collections", "argparse", "_codecs", "numpy")
"""Packages whose names stand in pickles of plain tensors."""

SHARD = re.compile(r"-\d{5}-of-\d{5}\.")
"""In the name of a shard."""

Header = dict[str, tuple[str, tuple[int, ...]]]
"""Format and shape of each tensor, by name."""


def header(path: Path) -> Header:
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
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError):
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


def torch_header(path: Path) -> Header:
    """What a file of torch's says that it holds, in its own dictionary or in one of those inside it. Its pickle is followed,
    and nothing that it names is imported or called. Raises InputError where that leads nowhere."""
    try:
        if is_zip(path):
            with zipfile.ZipFile(path) as inside:
                pickled = next(name for name in inside.namelist() if name.endswith("data.pkl"))
                found = _Outline(io.BytesIO(inside.read(pickled))).load()
        else:
            with path.open("rb") as file:  # as older torch wrote it: two numbers and the machine come first
                *_, found = (_Outline(file).load() for _ in range(4))
    except Exception as error:  # a broken pickle leads its reader into errors of any kind
        raise InputError(Problem(str(path), f"is broken ({type(error).__name__})", AGAIN)) from None
    parts = [found, *found.values()] if isinstance(found, Mapping) else []
    entries = [item for part in parts if isinstance(part, Mapping) for item in part.items()]
    return {str(name): (entry.code, entry.shape) for name, entry in entries if isinstance(entry, _Entry)}


class _Entry:
    """A tensor as a pickle of torch's describes it: its format, by its storage where no other is said, and its shape."""

    def __init__(self, storage: object, _offset: object, shape: Any, *more: object) -> None:
        named = [str(one) for one in more if isinstance(one, _Name) and one[0].islower()]
        code = named[0] if named else str(storage).removesuffix("Storage")
        self.code, self.shape = STORAGES.get(code, code), tuple(map(int, shape))


class _Name(str):
    """Something of torch's that a pickle names; what comes of calling it is nothing."""

    def __call__(self, *_: object) -> None:
        return None


class _Other(dict[Any, Any]):
    """Stands for an object of any class in a pickle."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        pass


REBUILT: dict[str, Any] = {
    "_rebuild_tensor_v2": _Entry,
    "_rebuild_tensor_v3": _Entry,
    "_rebuild_qtensor": _Entry,
    "_rebuild_sparse_tensor": lambda *_: _Entry("sparse", 0, ()),
    "_rebuild_parameter": lambda tensor, *_: tensor,
    "_rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "_rebuild_from_type_v2": lambda made, _kind, arguments, _state: made(*arguments),
    "OrderedDict": OrderedDict,
    "Size": tuple,
}
"""What stands for what the pickles of tensors call."""


class _Outline(pickle._Unpickler):  # Python's own: the one in C makes room for as many values as a few bytes claim
    """Follows a pickle of torch's with something inert in place of everything that it names."""

    def find_class(self, module: str, name: str) -> Any:
        return REBUILT.get(name, _Name(name) if module.partition(".")[0] == "torch" else _Other)

    def persistent_load(self, pid: Any) -> Any:
        return pid[1]


def refuse_stand_in(path: Path) -> None:
    """Raises InputError where a file is missing, empty, a pointer of Git LFS or a web page."""
    try:
        with path.open("rb") as file:
            begin = file.read(64)
    except (OSError, ValueError) as error:  # the latter for a name that no file can have
        why = getattr(error, "strerror", None) or error
        raise InputError(Problem(str(path), f"cannot be read: {why}", AGAIN)) from None
    if begin.startswith(POINTER):
        raise InputError(Problem(str(path), "is a pointer of Git LFS, not the file itself", "git lfs pull"))
    if begin.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise InputError(Problem(str(path), "is a web page that was saved in the file's place", AGAIN))
    if not begin:
        raise InputError(Problem(str(path), "is empty", AGAIN))


def pickled_names(path: Path) -> list[str] | None:
    """What a bare pickle would import to be read, as `module.name`, found without reading it; None for any other file."""
    try:
        with path.open("rb") as file:
            return _imported(file)
    except Exception:  # no pickle, or one that is cut or claims to hold a text that no memory has room for
        return None


def _imported(pickled: bytes | BinaryIO) -> list[str]:
    """What a pickle would import, as `module.name`, of any protocol. Raises errors of any kind where it is none."""
    names: list[str] = []
    texts: list[str] = []
    memo: dict[int, str] = {}
    top = ""
    for code, value, _ in pickletools.genops(pickled):
        if code.name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if value is None else int(value)] = top
            continue
        top = memo.get(int(value or 0), "") if code.name.endswith("GET") else value if isinstance(value, str) else ""
        texts += [top] if top else []
        if code.name in ("GLOBAL", "INST"):
            names.append(str(value).replace(" ", "."))
        elif code.name == "STACK_GLOBAL":
            names.append(".".join(texts[-2:]))
    return list(dict.fromkeys(names))


def inspect_local(source: str) -> list[Problem]:
    """What `inspect` finds where `source` is a path here; of a hub id only a part may lie here yet, and the hub checks it."""
    path = Path(source).expanduser()
    try:
        return inspect(path) if source and path.exists() else []
    except OSError as error:
        return [Problem(source, f"cannot be read: {error.strerror or error}")]


def inspect(source: Path) -> list[Problem]:
    """What is wrong with a file of weights, or with those of a folder, as far as headers tell; empty if nothing is."""
    if not source.is_dir():
        return _file_problems(source)
    there = _standard(source)
    if there is not None:
        return _indexed(there) if there.suffix == ".json" else _file_problems(there)
    if other := [p for path in sorted(source.iterdir()) if path.is_file() for p in _foreign(path)]:
        return other[:1]
    files = sorted(p for p in source.iterdir() if p.suffix in ENDINGS)
    shards = [p.name for p in files if SHARD.search(p.name)]
    if shards:
        what = (
            f"has {len(shards)} shards of weights ({shards[0]} …) and no index of them (model.safetensors.index.json)"
        )
        return [Problem(str(source), what, AGAIN)]
    if not files and (source / "config.json").is_file():
        return [Problem(str(source), "has a config.json and no file of weights", AGAIN, STANDARD)]
    return [p for path in files if path.suffix == ".safetensors" for p in _file_problems(path)]


def _standard(folder: Path) -> Path | None:
    """The file or index that libraries read a network of this folder from."""
    return next((folder / name for name in STANDARD if (folder / name).is_file()), None)


def contents(source: Path) -> Header:
    """What a file of weights says that it holds, or those together that a folder's network is read from. Raises InputError as
    `header` does, and for an index that is none."""
    files = [source]
    if source.is_dir():
        there = _standard(source)
        files = [] if there is None else [there]
        if there is not None and there.suffix == ".json":
            files = [source / name for name in sorted(set(names_of(there).values()))]
    heads = [header(p) if p.suffix == ".safetensors" else torch_header(p) for p in files if p.suffix in ENDINGS]
    return {name: entry for head in heads for name, entry in head.items()}


def contradictions(source: str) -> list[Problem]:
    """Where the weights of a folder here and its config.json disagree, as far as names and sizes that most families share tell:
    too few layers, a table of words of other rows or width, weights that are no fractions. What builds the network compares
    the rest. The files are whole by `inspect_local`."""
    folder = Path(source).expanduser()
    if not source or not (folder / "config.json").is_file():
        return []
    try:
        whole, head = read_object(folder / "config.json"), contents(folder)
    except InputError as error:
        return list(error.problems)
    text = whole.get("text_config")
    config = text if isinstance(text, Mapping) and any(name in text for name in (*LAYERS, *WIDTHS)) else whole
    numbers = {name: value for name, value in config.items() if type(value) is int}
    said = next((numbers[name] for name in LAYERS if name in numbers), 0)
    rows, width = numbers.get("vocab_size"), next((numbers[name] for name in WIDTHS if name in numbers), None)
    stacks: dict[str, set[str]] = {}
    for match in filter(None, map(LAYER.match, head)):
        stacks.setdefault(match[1], set()).add(match[2])
    found = []
    longest = max(stacks, key=lambda name: len(stacks[name]), default="")
    if longest and len(stacks[longest]) < said and SHARED not in config:
        found.append(f"holds {len(stacks[longest])} layers ({longest}), and its config.json says {said}")
    for name, (_, shape) in head.items():
        if rows is None or width is None or len(shape) != 2 or not WORDS.search(name):
            continue
        if shape[0] not in (rows, rows + 1) or shape[1] != width:  # some families keep a row for padding
            found.append(f"holds {name} of {shape[0]} x {shape[1]}, and its config.json says {rows} x {width}")
    odd = [
        f"{name} is {code}"
        for name, (code, shape) in head.items()  # a bias of four dimensions is a mask
        if code not in FRACTIONS and (name.endswith("weight") or (name.endswith("bias") and len(shape) == 1))
    ]
    if odd and "quantization_config" not in whole:
        found.append(f"holds {len(odd)} weights that are no fractions ({odd[0]})")
    return [Problem(str(folder), what, "give the weights and the config.json of one model") for what in found]


def _foreign(path: Path) -> list[Problem]:
    """What is said of a file that a converter reads and no step does, told from how it begins."""
    with path.open("rb") as file:
        begin = file.read(40)
    kinds = {
        "a GGUF file": begin.startswith(b"GGUF"),
        "a file of CTranslate2": b"Spec\0" in begin and begin[1:4] == bytes(3),
    }
    fix = "make a folder of it with `affectkit convert` (docs/small-weights.md), and name that"
    return [
        Problem(str(path), f"is {kind}, which no part of a recipe reads as it is", fix)
        for kind, is_ in kinds.items()
        if is_
    ]


def _file_problems(path: Path) -> list[Problem]:
    if path.is_file() and (foreign := _foreign(path)):
        return foreign
    try:
        if path.suffix == ".safetensors":
            header(path)
        else:
            refuse_stand_in(path)
            _refuse_code(path)
    except InputError as error:
        return list(error.problems)
    return []


def _refuse_code(path: Path) -> None:
    """Raises InputError where a file of torch's is a cut archive, or its pickle names what no plain tensor needs. Nothing of
    it is run, and files as torch wrote them long ago are not looked into."""
    with path.open("rb") as file:
        archive = file.read(2) == b"PK"
    if not archive:
        return
    try:
        with zipfile.ZipFile(path) as inside:
            pickled = [name for name in inside.namelist() if name.endswith("/data.pkl")]
            named = [name for each in pickled for name in _imported(inside.read(each))]
    except zipfile.BadZipFile:
        raise InputError(Problem(str(path), "is cut: the end of its archive is missing", AGAIN)) from None
    except Exception as error:  # what is no pickle leads the reader into errors of any kind
        raise InputError(Problem(str(path), f"is broken ({type(error).__name__})", AGAIN)) from None
    strange = [name for name in named if name.partition(".")[0] not in PLAIN]
    if strange:
        what = f"holds more than weights: {strange[0]} would be called to read it"
        raise InputError(Problem(str(path), what, "convert it to safetensors where you trust it"))


def names_of(index: Path) -> dict[str, str]:
    """Tensor to shard, by an index of shards. Raises InputError where it is none."""
    try:
        names = {str(name): str(shard) for name, shard in read_json(index)["weight_map"].items()}
    except InputError as error:
        raise InputError(Problem(str(index), f"is no index of shards: {error.problems[0].what}", AGAIN)) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(Problem(str(index), f"is no index of shards ({type(error).__name__})", AGAIN)) from error
    if not names:
        raise InputError(Problem(str(index), "is an index of no weights at all", AGAIN))
    return names


def _indexed(index: Path) -> list[Problem]:
    """What is wrong with an index and the shards that it names."""
    try:
        names = names_of(index)
    except InputError as error:
        return list(error.problems)
    found: list[Problem] = []
    for shard in sorted(set(names.values())):
        path = index.parent / shard
        broken = _file_problems(path)
        found += broken
        if broken or path.suffix != ".safetensors":
            continue
        lacks = sorted(n for n, where in names.items() if where == shard and n not in header(path))
        if lacks:
            found.append(
                Problem(str(path), f"lacks {len(lacks)} weights that {index.name} names: {', '.join(lacks[:3])}", AGAIN)
            )
    return found
