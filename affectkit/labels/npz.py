"""Published npz and npy files without executing what is pickled in them.

NumPy keeps dictionaries and lists as pickles, and a pickle may run any code. The reader here admits dictionaries, lists,
tuples, sets, strings, numbers and arrays of these, builds them itself and refuses everything else by name.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectkit.errors import InputError, Problem, unknown
from affectkit.files import is_zip

if TYPE_CHECKING:
    import numpy as np

PICKLED = (".npz", ".npy", ".pkl", ".pickle")
"""Endings of what is read here; of all but npz the one value that the file is."""

MOST_NAMED = 20
"""Names of what a file holds that are told."""

MOST_BYTES = 2**30
"""An npz that unpacks to more than this is not read."""

DEEPEST = 50
"""Containers that are nested deeper are no data of ours (or hold themselves)."""

MOST_VALUES = 10**7
"""A few bytes can say "twice the last list" fifty times over: what becomes more values than this is not read."""

_KIND = re.compile(r"[?bBiufcSUO]\d*")


class _Refused(Exception):
    """Something in a pickle that is no plain data."""


class _Marker:
    """Stands for `numpy.ndarray`, which a pickle names and nothing may call."""


class _Dtype:
    """A dtype as a pickle describes it, read by ourselves."""

    def __init__(self, kind: object, *_: object) -> None:
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise _Refused(f"an array of {kind!r}")
        self.kind, self.order = kind, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise _Refused("an array of records")
        self.order = state[1]

    def made(self) -> np.dtype[Any]:
        import numpy as np

        return np.dtype("O") if self.kind[0] == "O" else np.dtype(self.order + self.kind)


class _Array:
    """An array as a pickle describes it; becomes a real one in `_Plain`."""

    def __init__(self, state: tuple[Any, ...] | None = None) -> None:
        self.state = state

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def made(self, plain: _Plain, depth: int) -> np.ndarray:
        import numpy as np

        if self.state is None or len(self.state) != 5 or not isinstance(self.state[2], _Dtype):
            raise _Refused("an array that is not whole")
        _, shape, kind, fortran, data = self.state
        dtype, order = kind.made(), "F" if fortran else "C"
        if dtype.hasobject:
            flat = np.empty(len(data), object)
            flat[:] = [plain.of(value, depth) for value in data]
        else:
            flat = np.frombuffer(data, dtype)
        return flat.reshape(shape, order=order)  # type: ignore[call-overload]


def _reconstruct(subtype: object, *_: object) -> _Array:
    if subtype is not _Marker:
        raise _Refused(f"an array of the class {subtype!r}")
    return _Array()


def _from_buffer(data: object, kind: object, shape: object, order: object = "C") -> _Array:
    """How protocol 5 writes arrays."""
    if not isinstance(data, bytes | bytearray):
        raise _Refused("an array that is not whole")
    return _Array((1, shape, kind, order == "F", bytes(data)))


def _scalar(kind: object, data: object = b"") -> Any:
    import numpy as np

    if not isinstance(kind, _Dtype) or kind.kind[0] == "O" or not isinstance(data, bytes):
        raise _Refused("a number that is none")
    return np.frombuffer(data, kind.made())[0].item()


def _latin(text: object, codec: object = "latin1") -> bytes:
    """How protocol 2 writes bytes."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise _Refused("text in an unknown encoding")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _latin,
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Marker,
    **{
        (module, name): made
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name, made in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    },
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    **{(m, t.__name__): t for m in ("builtins", "__builtin__") for t in (set, frozenset, complex)},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _Refused(f"{module}.{name}")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: object) -> Any:
        raise _Refused("a reference to something outside the file")


def loads(data: bytes, place: str) -> Any:
    """The plain data in a pickle. Raises InputError that names what else it holds."""
    try:
        return _Plain().of(_Unpickler(io.BytesIO(data), encoding="latin1").load())
    except _Refused as refused:
        what = f"holds {refused}, and only plain containers, strings, numbers and arrays are read"
        raise InputError(Problem(place, what, "nothing of it was run; write it anew as CSV or JSONL")) from None
    except Exception as error:  # a broken pickle may raise anything
        raise InputError(Problem(place, f"its pickle cannot be read: {error}")) from None


class _Plain:
    """Makes data with real arrays in the place of described ones."""

    def __init__(self) -> None:
        self.left = MOST_VALUES

    def of(self, value: Any, depth: int = 0) -> Any:
        """The same data. Raises _Refused for anything else, and for too much of it."""
        self.left -= 1
        if self.left < 0:
            raise _Refused(f"more than {MOST_VALUES} values")
        if depth > DEEPEST:
            raise _Refused(f"containers nested deeper than {DEEPEST}")
        below = depth + 1
        if isinstance(value, _Array):
            return value.made(self, below)
        if isinstance(value, dict):
            return {self.of(k, below): self.of(v, below) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            kind = next(k for k in (list, tuple, set, frozenset) if isinstance(value, k))
            return kind(self.of(v, below) for v in value)
        if value is None or isinstance(value, str | bytes | bool | int | float | complex):
            return value
        raise _Refused(f"the class {value!r}" if isinstance(value, type) else f"a {type(value).__name__}")


def read_npy(data: bytes, place: str) -> np.ndarray:
    """The array in the bytes of an npy file; object arrays by the restricted reader."""
    import numpy as np

    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        old = version == (1, 0)
        read_header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if not dtype.hasobject:
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError) as error:
        raise InputError(Problem(place, f"is no array file: {error}")) from None
    if dtype != np.dtype(object):
        raise InputError(Problem(place, "holds an array of records with objects, which is not read"))
    found = loads(data[file.tell() :], place)
    if not isinstance(found, np.ndarray) or found.shape != shape:
        raise InputError(Problem(place, "holds another array than it says"))
    return found


def read_npz(path: str | Path) -> dict[str, object]:
    """Every array of an npz by name; one that wraps a single dictionary or text becomes that.

    Raises InputError where it cannot be read, is too large, or holds anything but plain data.
    """
    found: dict[str, object] = {}
    path = Path(path)
    if path.is_file() and not is_zip(path) and (raw := _raw(path)) is not None:
        return raw
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > MOST_BYTES:
                raise InputError(Problem(str(path), f"unpacks to {size} bytes, more than {MOST_BYTES}"))
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                array = read_npy(archive.read(entry), f"{path}: {name}")
                found[name] = array.item() if array.ndim == 0 else array
    except InputError:
        raise
    # a damaged archive fails in as many ways as it has parts: a password, an unknown compression, a name in no encoding
    except Exception as error:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else f"it is no npz ({error})"
        raise InputError(Problem(str(path), f"cannot be read: {why}")) from None
    return found


def _raw(path: Path) -> dict[str, object] | None:
    """The dictionary that a bare pickle or npy holds; None for a file that is neither.

    Raises InputError that names what else than plain data it carries.
    """
    data = path.read_bytes()
    if data.startswith(b"\x93NUMPY"):
        array = read_npy(data, str(path))
        value = array.item() if array.ndim == 0 else array
    elif data.startswith(b"\x80") or (data and path.suffix.lower() in (".pkl", ".pickle")):
        value = loads(data, str(path))
    else:
        return None
    if not isinstance(value, dict):
        raise InputError(
            Problem(str(path), f"holds no dictionary but {type(value).__name__}", "write it as CSV or JSONL")
        )
    return {str(name): inner for name, inner in value.items()}


NpzRow = dict[str, object]

Corpora = dict[str, dict[str, object]]
"""Corpus to the name of a sample to its label, a dictionary with `emo` and `val`."""

CORPUS = "_corpus"

NO_VALENCE = -10

_MELD = re.compile(r"(train|val|test)_dia\d+_utt\d+")

_SESSION = re.compile(r"Ses0[1-5]")

_ORDERS: tuple[tuple[re.Pattern[str], int, tuple[str, ...]], ...] = (
    (_MELD, 7, ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise")),
    (_SESSION, 4, ("happy", "sad", "neutral", "anger")),
    (_SESSION, 6, ("happy", "sad", "neutral", "angry", "excited", "frustrated")),
)
"""Names of samples, number of classes, and the published order of the labels that stand as whole numbers."""


def read_rows(path: Path, split: str | None = None, classes: tuple[str, ...] | None = None) -> list[tuple[str, NpzRow]]:
    """(place, row) of a published npz: `filenames` with `fileitems`, `name2reason`, or corpora of labels (MERBench).

    Rows have `name` and one of `fileitems`, `reason`, or `emo` and `val` with `split`. A corpus that is whole can be read
    as `session1` … `session5` where its names are IEMOCAP's; `test` of it is session 5, as in MER-UniBench.
    `classes` names labels that stand as whole numbers. Raises InputError for other contents.
    """
    import numpy as np

    found = read_npz(path)
    if {"filenames", "fileitems"} <= set(found):
        names, items = (np.asarray(found[key]).reshape(-1).tolist() for key in ("filenames", "fileitems"))
        if len(names) != len(items):
            what = f"names {len(names)} files and holds {len(items)} items"
            raise InputError(Problem(str(path), what, "one item a file"))
        return [(f"{path}: {n}", {"name": n, "fileitems": i}) for n, i in zip(names, items, strict=True)]
    reasons = found.get("name2reason")
    if isinstance(reasons, dict):
        return [(f"{path}: {n}", {"name": n, "reason": text}) for n, text in reasons.items()]
    corpora = _corpora(found)
    if not corpora:
        fix = "it needs filenames and fileitems, or name2reason, or corpora of labels"
        raise InputError(Problem(str(path), "is none of the published forms", fix, tuple(found)[:MOST_NAMED]))
    chosen = _corpus(path, corpora, split)
    rows = [_labelled(path, n, v, split or next(iter(corpora))) for n, v in chosen.items()]
    _name_labels(path, rows, corpora, classes)
    return rows


def read_corpora(path: Path) -> dict[str, list[tuple[str, NpzRow]]]:
    """(place, row) of every corpus of a published npz of labels (MERBench), by the corpus' name without `_corpus`.

    Rows are as in `read_rows`; labels that stand as whole numbers stay so. Raises InputError for other contents.
    """
    found = read_npz(path)
    corpora = _corpora(found)
    if not corpora:
        fix = f"it needs dictionaries of labels such as train{CORPUS}"
        raise InputError(Problem(str(path), "holds no corpora of labels", fix, tuple(found)[:MOST_NAMED]))
    return {split: [_labelled(path, n, v, split) for n, v in c.items()] for split, c in corpora.items()}


def _corpora(found: Mapping[str, object]) -> Corpora:
    whole = {k.removesuffix(CORPUS): v for k, v in found.items() if k.endswith(CORPUS) and isinstance(v, dict)}
    return {corpus: {str(name): label for name, label in labels.items()} for corpus, labels in whole.items()}


def _corpus(path: Path, corpora: Corpora, split: str | None) -> Mapping[str, object]:
    """The samples of one split."""
    known, several = list(corpora), len(corpora) > 1
    whole = corpora.get("whole", {})
    if whole and all(map(_SESSION.match, whole)):
        sessions = {f"session{i}": {n: v for n, v in whole.items() if n[4] == str(i)} for i in range(1, 6)}
        corpora = {"test": sessions["session5"], **corpora, **sessions}
        known += list(sessions)
    wanted = split.removesuffix(CORPUS) if split else None
    if wanted is None and several:
        fix = f"choose one: --split {known[-1]}"
        raise InputError(Problem(str(path), "holds several splits", fix, tuple(known)))
    if wanted is not None and wanted not in corpora:
        raise InputError(unknown(str(path), "split", wanted, known))
    return corpora[wanted or known[0]]


def _labelled(path: Path, name: str, value: object, split: str) -> tuple[str, NpzRow]:
    if not isinstance(value, dict):
        raise InputError(Problem(f"{path}: {name}", f"a label is a dictionary with emo and val, this is {value!r}"))
    plain = {k: v.item() if hasattr(v, "item") and getattr(v, "size", 1) == 1 else v for k, v in value.items()}
    row: NpzRow = {"name": name, "split": split}
    if "emo" in plain:
        row["emo"] = plain["emo"]
    if plain.get("val") is not None and plain["val"] != NO_VALENCE:
        row["val"] = plain["val"]
    return f"{path}: {name}", row


def _name_labels(path: Path, rows: list[tuple[str, NpzRow]], corpora: Corpora, classes: tuple[str, ...] | None) -> None:
    """Put names in the place of whole numbers; take out the 0 that regression corpora have everywhere."""
    told: set[object] = {v.get("emo") for c in corpora.values() for v in c.values() if isinstance(v, dict)}
    numbers = {n for n in told if isinstance(n, int) and not isinstance(n, bool)}
    if not told or numbers != told:
        return
    if numbers == {0}:
        for _, row in rows:
            row.pop("emo", None)
        return
    count = max(numbers) + 1
    everyone = [n for c in corpora.values() for n in c]
    orders = (o for shape, k, o in _ORDERS if k == count and all(shape.match(n) for n in everyone))
    names = classes or next(orders, None)
    if names is None or len(names) < count or min(numbers) < 0:
        what = f"its labels are whole numbers from {min(numbers)} to {count - 1}"
        raise InputError(Problem(str(path), what, "say what they mean, in their order: --classes happy,sad,…"))
    for _, row in rows:
        number = row["emo"]
        row["emo"] = names[number] if isinstance(number, int) else number
