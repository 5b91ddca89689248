"""Where weights come from: given ones, or random ones of the same size; and files of weights read without pickle.

A network that a piece builds says what it holds in its attribute `weights_origin`: `random`, or the hub id, folder or file
that its weights came from. What else stands in for something that published weights were made
with, such as hashed words for a tokenizer, it says in a sentence, its attribute `stand_in`: logs and reports repeat it,
and weights of a checkpoint that was trained elsewhere are refused beside it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pickle
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.request import getproxies

from affectkit import weight_files
from affectkit.errors import InputError, Problem
from affectkit.files import is_zip, written_whole

if TYPE_CHECKING:
    from torch import Tensor

Mode = Literal["given", "random"]

RANDOM = "random"
"""What `weights_origin` says where no weights were loaded."""

CODES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
"""Number formats of torch as safetensors writes them."""

_mode: ContextVar[Mode] = ContextVar("affectkit_weights", default="given")


def random() -> bool:
    """Whether pieces must build random weights of the published sizes and load nothing (`run.weights: random`)."""
    return _mode.get() == "random"


@contextlib.contextmanager
def using(mode: Mode) -> Iterator[None]:
    """Let everything that is built inside the `with` follow `mode`."""
    token = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(token)


def origins(module: Any) -> dict[str, str]:
    """Each network inside `module` that says where its weights came from: dotted name -> `weights_origin`."""
    return {
        name: inner.weights_origin
        for name, inner in module.named_modules()
        if isinstance(getattr(inner, "weights_origin", None), str)
    }


def origin_of(module: Any) -> str:
    """What a step says of its weights, or else the networks in it: `random` where one of them is, or all sources."""
    own = getattr(module, "weights_origin", None)
    found = [own] if own else list(dict.fromkeys(origins(module).values()))
    return RANDOM if not found or RANDOM in found else ", ".join(found)


def random_parts(parts: Iterable[Mapping[str, str]]) -> list[str]:
    """Addresses of those of `Model.origins()`, or of run.json's `weights`, that started from random weights."""
    return [part["address"] for part in parts if part.get("origin") == RANDOM]


def stand_ins(parts: Iterable[Mapping[str, str]]) -> list[str]:
    """Of the same: a sentence for each part that has only a stand-in for something."""
    return [f"{part['address']}: {part['stand_in']}" for part in parts if part.get("stand_in")]


def load_state(
    path: str | Path, entry: str = "", wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, Tensor]:
    """The tensors of one file of weights, or of a folder of shards with an index (or with one file), by name, on the CPU.
    Of one file of safetensors only those whose names are `wanted` are read.

    Reads `.safetensors`, and `.pt`, `.pth`, `.bin`, `.ckpt` through torch's restricted loader, which runs no code and
    maps the file instead of reading it where its format allows that. A checkpoint that keeps its weights in one named
    dictionary (`model`, `state_dict` …) is unwrapped; `entry` names that dictionary where there are several.

    Raises `InputError` where the file is missing, of another kind, cut, holds anything but plain data, or holds tensors
    that are sparse, quantised or of a number format that nothing here computes in (float8).
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _sharded(path, entry)
    if not path.is_file():
        raise InputError(Problem(str(path), "no such file of weights"))
    if path.suffix not in weight_files.ENDINGS:
        raise InputError(Problem(str(path), f"not a file of weights: {path.suffix!r}", known=weight_files.ENDINGS))
    if path.suffix != ".safetensors":
        weight_files.refuse_stand_in(path)
        return _plain(path, _unwrapped(path, _restricted(path), entry))
    from safetensors import SafetensorError, safe_open

    found = {name: code for name, (code, _) in weight_files.header(path).items() if wanted(name)}
    strange = [f"{name} is {code}" for name, code in found.items() if code not in CODES.values()]
    if strange:
        raise InputError(_strange(path, strange))
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in found}
    except SafetensorError as error:
        raise InputError(Problem(str(path), f"not a readable safetensors file ({error})")) from error


def _plain(path: Path, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, all dense and in formats that are computed in."""
    import torch

    strange = []
    for name, tensor in found.items():
        form = str(tensor.dtype).removeprefix("torch.")
        dense = tensor.layout == torch.strided and not tensor.is_nested
        if not dense or tensor.is_quantized or form not in CODES:
            strange.append(f"{name} is {form if dense else f'sparse ({tensor.layout})'}")
    if strange:
        raise InputError(_strange(path, strange))
    return found


def _strange(path: Path, tensors: list[str]) -> Problem:
    more = f", and {len(tensors) - 3} more" if len(tensors) > 3 else ""
    what = f"{', '.join(tensors[:3])}{more}: no parameter can take that"
    return Problem(str(path), what, "write it as dense tensors of float32, bfloat16 or float16")


def refuse_unfit(
    own: Mapping[str, Tensor], found: Mapping[str, Tensor], source: str, by: Callable[[str], str] = str
) -> None:
    """Raise InputError, with `source` and name, for values that may not go into the tensors of the same name of a network.

    `own` is its `state_dict(keep_vars=True)`, also on the meta device, `found` the values; names that only one has are
    passed over. Refused are other shapes, whole numbers for fractions or the reverse, and numbers that are not finite
    (buffers may hold infinities, as masks do). `by` shows a name.
    """
    wrong = [(name, why) for name, value in found.items() if name in own and (why := unfit(own[name], value))]
    problems = [
        Problem(source, f"{by(name)} {why}", "give a file of this network, whole and trained") for name, why in wrong
    ]
    if problems:
        more = [Problem(source, f"and {len(problems) - 5} more like these")] if len(problems) > 5 else []
        raise InputError([*problems[:5], *more])


def unfit(own: Tensor, value: Tensor) -> str:
    """Why a value may not go into a parameter or buffer; empty where it may."""
    from torch.nn import Parameter

    if own.shape != value.shape:
        there, here = (" x ".join(map(str, t.shape)) or "one number" for t in (value, own))
        return f"is {there} there, {here} in the network"
    computed = value.dtype == own.dtype or str(value.dtype).removeprefix("torch.") in CODES
    if own.is_floating_point() != value.is_floating_point() or not computed:
        there, here = (str(t.dtype).removeprefix("torch.") for t in (value, own))
        return f"is {there} there, {here} in the network"
    infinite = not isinstance(own, Parameter)
    why = not_finite(value, infinite)
    return why if why or value.dtype == own.dtype else not_finite(value.to(own.dtype), infinite)  # it may hold less


def not_finite(value: Tensor, infinite: bool = False) -> str:
    """How many numbers are not finite, in words; empty for none. Infinities may be allowed."""
    if value.is_meta or not value.is_floating_point() or value.element_size() < 2:  # float8 has no such test
        return ""
    bad = int((value.isnan() if infinite else ~value.isfinite()).sum())
    return f"has {bad:,} of {value.numel():,} numbers that are not finite" if bad else ""


def _sharded(folder: Path, entry: str) -> dict[str, Tensor]:
    """The tensors of all shards that the folder's index names, or of its one file."""
    index = only_file(folder)
    if index.suffix != ".json":
        return load_state(index, entry)
    names = weight_files.names_of(index)
    shards = sorted(set(names.values()))
    found: dict[str, Tensor] = {}
    for shard in shards:
        if Path(shard).name != shard:
            raise InputError(Problem(str(index), f"names a shard outside its folder: {shard!r}"))
        found.update(load_state(folder / shard, entry))
    missing = sorted(names.keys() - found.keys())
    if missing:
        what = f"its shards lack {len(missing)} weights that the index names: {', '.join(missing[:3])} …"
        raise InputError(Problem(str(folder), what, "fetch the files again"))
    return found


def only_file(folder: Path) -> Path:
    """The index of a folder's shards; where it has none, its one file of weights. Raises InputError for none, and for several,
    of which the user has to name one."""
    indices = sorted(folder.glob("*.index.json"))
    single = sorted(p for p in folder.glob("*") if p.suffix in weight_files.ENDINGS)
    found = indices or single
    if len(found) == 1:
        return found[0]
    names = ", ".join(p.name for p in found[:8]) + (" …" if len(found) > 8 else "")
    what = (
        f"a folder of {len(found)} {'indices' if indices else 'files'} of weights ({names}), and no word which is meant"
    )
    fix = "name the file of weights, or a folder of shards with their index"
    raise InputError(Problem(str(folder), what if found else "a folder without a file of weights", fix))


def write_state(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Write safetensors one tensor at a time, whole or not at all: what is mapped from a file never lies in memory. Raises
    WriteError where they cannot be written."""
    import torch

    header: dict[str, dict[str, object]] = {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        code = CODES[str(tensor.dtype).removeprefix("torch.")]
        header[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with written_whole(Path(path), 8 + len(text) + end) as half, half.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data if flat.numel() else b"")


LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How a file begins that older torch wrote: a number pickled by itself, then more pickles."""


def _restricted(path: Path) -> Any:
    """The file through `torch.load(weights_only=True)`."""
    import argparse

    import torch

    try:
        # Published training checkpoints keep their command line beside the weights; a Namespace is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip(path))
    except OSError as error:
        raise InputError(Problem(str(path), f"cannot be read ({error.strerror or error})")) from error
    except Exception as error:  # what is no such file leads the loader into errors of any kind
        raise InputError(_refused(path, error)) from error


def _refused(path: Path, error: Exception) -> Problem:
    """Why the restricted loader did not take a file; torch's own advice, to load it without restriction, is left out."""
    with path.open("rb") as file:
        start = file.read(60)
    names = None if start.startswith((b"PK", LEGACY)) else weight_files.pickled_names(path)
    if names is not None:
        what = f"it carries code: {', '.join(names[:5])}" if names else "it carries plain data and no weights"
        fix = "load it where you trust it, and write its weights as safetensors"
        return Problem(str(path), f"is a bare pickle, which is not read; {what}", fix)
    if not start.startswith((b"PK", b"\x80")):  # a zip archive, or a pickle as older torch wrote it
        return Problem(str(path), f"is no file of weights: it begins with {start[:24]!r}", weight_files.AGAIN)
    if start.startswith(b"PK") and not is_zip(path):
        return Problem(str(path), "is cut: the end of its archive is missing", weight_files.AGAIN)
    code = re.search(r"GLOBAL ([\w.]+)|(?:class|object|function) ([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and code:
        what = f"holds more than weights: {code[1] or code[2]} would be called to read it"
        return Problem(str(path), what, "convert it to safetensors where you trust it")
    return Problem(str(path), f"is broken ({type(error).__name__})", "fetch it again")


def _unwrapped(path: Path, found: Any, entry: str) -> dict[str, Tensor]:
    import torch

    def tensors(value: Any) -> dict[str, Tensor]:
        if not isinstance(value, dict):
            return {}
        return {str(k): v for k, v in value.items() if isinstance(v, torch.Tensor)}

    inside = {str(name): tensors(value) for name, value in found.items()} if isinstance(found, dict) else {}
    inside = {name: value for name, value in inside.items() if value}
    if entry in inside:
        return inside[entry]
    flat = tensors(found)
    if flat:
        return flat
    if len(inside) != 1:
        what = f"holds {len(inside)} dictionaries of weights ({', '.join(inside)})" if inside else "holds no weights"
        raise InputError(Problem(str(path), what))
    return next(iter(inside.values()))


PAUSE = 1.0
"""Seconds before a host that has no address is looked up a second time: a line may stumble once."""

HOLDS = 60.0
"""Seconds for which a host without address counts as one: a notebook may find its network again."""


def fail_fast() -> None:
    """Let requests to the hub fail at once where its host has no address, in place of six tries in 24 seconds.

    Nothing is looked up before a request is made, and where the host has an address nothing changes. Files that are in
    the hub's own cache are used as they are without a network. Behind a proxy, which looks hosts up itself, the hub's
    tries stand.
    """
    from huggingface_hub import get_session

    session: Any = get_session()
    hooks = session.event_hooks
    if _meet not in hooks["request"]:
        session.event_hooks = {**hooks, "request": [_meet, *hooks["request"]]}


def _meet(request: Any) -> None:
    """Before a request. Raises OfflineModeIsEnabled, after which the hub's client does not try again."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    host = request.url.host
    if not getproxies() and nowhere(host, int(time.monotonic() // HOLDS)):
        raise OfflineModeIsEnabled(f"cannot reach {host}: it has no address, is there a network?")


@functools.lru_cache(maxsize=8)
def nowhere(host: str, now: int) -> bool:
    """Whether a host has no address, asked twice; `now` is any number, another one asks anew."""
    for wait in (PAUSE, 0.0):
        begun = time.monotonic()
        try:
            socket.getaddrinfo(host, None)
        except socket.gaierror:
            if time.monotonic() - begun > PAUSE:  # that was no stumble: it has been tried for long
                break
            time.sleep(wait)
        else:
            return False
    return True


def on_disk(source: str) -> Path | None:
    """The file or folder that `source` names: itself, or a hub id's newest snapshot in the local hub cache."""
    if not source:
        return None
    path = Path(source).expanduser()
    if path.exists():
        return path
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / f"models--{source.replace('/', '--')}"
    main = hub / "refs" / "main"
    if source.count("/") == 1 and main.is_file():
        snapshot = hub / "snapshots" / main.read_text().strip()
        return snapshot if snapshot.is_dir() else None
    return None
