"""The feature cache: what frozen steps gave for a sample, in memory or in safetensors shards with checksums.

A shard holds one step's results for one chunk of samples. It is written under a temporary name and renamed, and nothing
else is written, so any number of processes may fill one cache; two that make the same shard make the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from affectkit.code_hash import code_hash
from affectkit.data.image import content, files_of
from affectkit.data.views import look_at
from affectkit.encode.steps import Steps, weights_digest
from affectkit.errors import InputError, MediaError, Problem
from affectkit.files import FOLDER, Json, cache_folder, written_whole
from affectkit.plan.plan import Plan
from affectkit.recipe.settings import plain
from affectkit.sample import Sample

log = logging.getLogger(__name__)

VERSION = "3"
"""Shards of another version are made anew: 1 did not say what was missing of a broken file, 2 not that a face was.

The names of entries hold the code of pieces and of what looks at media. Raise this where `perceive` makes other arrays of
the same views."""


@dataclass(frozen=True)
class Note:
    """What an entry says of the sample's files."""

    error: str = ""
    """Why nothing could be made of them; empty where something was."""
    partial: str = ""
    """What was missing of them when it was made; empty where they were whole."""
    notices: Mapping[str, str] = field(default_factory=dict)
    """What else there is to say of what was looked at."""


_SILENT = Note()
"""The note of nearly every entry: one object, so that those of a hundred thousand entries take no memory."""


@dataclass(frozen=True)
class CacheEntry:
    """What one step gave for one sample."""

    tensors: Mapping[str, Tensor]
    """`block/tokens` [t n d] and `block/mask` [t n]; for a prepared view `values`, `mask` and perhaps `boxes`."""
    facts: Mapping[str, tuple[Json, float | None]] = field(default_factory=dict)
    """Estimated facts: name to value and probability."""
    note: Note = _SILENT


class ShardRow(TypedDict):
    """What the header of a shard says of one entry; its tensors lie beside it."""

    sum: int
    """A checksum of its tensors."""
    keys: list[str]
    """The names of its tensors."""
    facts: dict[str, Any]
    """As in `CacheEntry`, or `error` as in `Note`."""
    partial: NotRequired[str]
    noticed: NotRequired[Mapping[str, str]]
    """As in `Note`; not there where they are empty."""


def digest(*parts: Any) -> str:
    """A name for anything that JSON can hold."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class FileState(NamedTuple):
    """Which file it is, and how it stands: what a note of it depends on."""

    path: bytes
    """With links resolved; names need not be UTF-8."""
    stamp: str
    """Inode, size, and the times of its last change and of that of its inode; of a folder of frames those of each frame."""
    settled: bool
    """Whether the last change is long enough ago for another one to show in the times."""

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Of a file, or of a folder of frames. Raises OSError, or MediaError for a folder without frames."""
        stats = [file.stat() for file in files_of(path)]
        stamps = [(s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats]
        stamp = digest(stamps) if len(stamps) > 1 else "/".join(map(str, stamps[0]))
        last = max(max(s.st_mtime_ns, s.st_ctime_ns) for s in stats)
        return cls(os.fsencode(path.resolve()), stamp, time.time_ns() - last > GRAIN)


GRAIN = 2_000_000_000
"""Nanoseconds within which two changes of a file may bear one time, on any file system."""
WAIT = 5.0
"""Seconds that the first process which finds the memo locked waits for it; after that it goes on without."""


class Memo:
    """What was found out of files (their content, that they are whole), so that each is read for it once.

    A memo that cannot be read or written costs time and nothing else: that is said once, and then the process goes on
    without. Safe among processes.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "memo.sqlite"
        self._known: dict[tuple[str, bytes], tuple[str, str]] = {}
        """By kind and path: the file's stamp, and what is noted."""
        self._usable = self.path not in _UNUSABLE or _UNUSABLE[self.path] != _now(self.path)
        self._transact(self._read)

    def _read(self, db: sqlite3.Connection) -> None:
        db.execute(TABLE)
        rows = db.execute("SELECT kind, path, stamp, value FROM files")
        self._known.update({(kind, path): (stamp, value) for kind, path, stamp, value in rows})

    def _transact(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Do something with the database. What goes wrong with it ends its use, not the run."""
        if not self._usable:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=WAIT)) as db, db:
                work(db)
        except (sqlite3.Error, OSError, UnicodeError) as error:
            self._usable = False
            if self.path not in _UNUSABLE:
                log.warning("%s", _without_memo(self.path, error))
            _UNUSABLE[self.path] = _now(self.path)

    def get(self, kind: str, file: FileState) -> str | None:
        """What was noted of the file as it stands, or None."""
        stamp, value = self._known.get((kind, file.path), ("", None))
        return value if stamp == file.stamp else None

    def put(self, kind: str, noted: Mapping[FileState, str]) -> None:
        """Note a value for each file; of one that changed just now nothing is noted."""
        fresh = {(kind, file.path): (file.stamp, value) for file, value in noted.items() if file.settled}
        self._known.update(fresh)
        rows = [(*key, *value) for key, value in fresh.items()]
        if rows:
            self._transact(lambda db: db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows))


TABLE = "CREATE TABLE IF NOT EXISTS files (kind TEXT, path BLOB, stamp TEXT, value TEXT, PRIMARY KEY (kind, path))"
"""The former table, `memo`, went by the path as it was given; it is left alone."""
_UNUSABLE: dict[Path, str] = {}
"""Memos that this process could not use, and said so, as they were then: none is waited for twice."""


def _now(path: Path) -> str:
    """What stands where a memo should be, be it a folder or a link to nowhere; empty where nothing does."""
    for look in (path.stat, path.lstat):
        with suppress(OSError):
            found = look()
            return f"{found.st_ino}/{found.st_size}/{found.st_mtime_ns}/{found.st_ctime_ns}"
    return ""


def _without_memo(path: Path, error: Exception) -> str:
    """That a memo cannot be used, why, and what mends it."""
    own = "" if path.parent == cache_folder() else f"{FOLDER}={shlex.quote(str(path.parent))} "
    what = f"{path}: cannot be used ({error}); going on without it, files are read anew"
    return f"{what}. `{own}affectkit cache clear` mends it"


class Contents:
    """Files by a hash of their content; each is hashed once and remembered in a memo."""

    def __init__(self, memo: Memo) -> None:
        self.memo = memo
        self._fresh: dict[FileState, str] = {}

    def of(self, path: Path) -> str:
        """Of a file, or of the frames of a folder. Raises OSError, or MediaError for a folder without frames."""
        file = FileState.of(path)  # before it is read: one that changes meanwhile is read again next time
        known = self._fresh.get(file) or self.memo.get("media", file)
        if known is None:
            known = content(path)
            if file.settled:
                self._fresh[file] = known
        return known

    def keep(self) -> None:
        """Remember what was hashed since the last call."""
        self.memo.put("media", self._fresh)
        self._fresh = {}


class Cache:
    """Entries by (step key, sample key). `kind` none keeps nothing beyond the call, memory for this process, disk for good."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "features"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"the feature cache cannot be made there: {error.strerror or error}"
            raise InputError(
                Problem(str(self.folder), what, f"name another place: run.cache=FOLDER or {FOLDER}")
            ) from None
        self.memo = Memo(folder)
        self.memory: dict[tuple[str, str], CacheEntry] = {}
        self._shards: dict[str, dict[str, tuple[Path, Note]]] = {}
        """By step and sample: the shard, and what the entry says of the sample's files."""
        self._open: dict[Path, Any] = {}
        self.remade: list[Path] = []
        """Shards that were found broken and thrown away."""
        self.encoded: Counter[str] = Counter()
        """How often the media of each sample were decoded and encoded by this process; 0 where all was there."""

    def __getstate__(self) -> dict[str, object]:
        """Loader processes reopen files themselves."""
        return {**self.__dict__, "_open": {}}

    def note(self, step: str, sample: str) -> Note | None:
        """What an entry says of the sample's files, or None where there is no entry. Opens no tensor."""
        entry, kept = self.memory.get((step, sample)), self._index(step).get(sample)
        return entry.note if entry else kept[1] if kept else None

    def _index(self, step: str) -> dict[str, tuple[Path, Note]]:
        """The entries on disk of a step, read once; broken shards are removed on the way."""
        if step not in self._shards:
            found: dict[str, tuple[Path, Note]] = {}
            fresh: dict[FileState, str] = {}
            for path in sorted((self.folder / step).glob("*.safetensors")):
                notes = self._verified(path, fresh)
                if notes is None:
                    self.remade.append(path)
                    with suppress(OSError):  # a cache that others keep: what is made instead has the same name
                        path.unlink()
                    continue
                found.update((name, (path, note)) for name, note in notes.items())
            self.memo.put("shard", fresh)
            self._shards[step] = found
        return self._shards[step]

    def _verified(self, path: Path, fresh: dict[FileState, str]) -> dict[str, Note] | None:
        """The samples in a shard with their notes, or None if a byte of it is not what was written."""
        try:
            with safe_open(path, framework="pt") as shard:
                rows = _rows_in(shard)
                file = FileState.of(path)
                if self.memo.get("shard", file) is None:
                    for name, row in rows.items():
                        if _checksum([shard.get_tensor(f"{name}/{k}") for k in row["keys"]]) != row["sum"]:
                            return None
                    fresh[file] = "whole"
                return {name: _note(row) for name, row in rows.items()}
        except (SafetensorError, OSError, KeyError, ValueError):
            return None

    def get(self, step: str, sample: str) -> CacheEntry | None:
        """The entry, or None."""
        entry, kept = self.memory.get((step, sample)), self._index(step).get(sample)
        if entry or kept is None:
            return entry
        path, note = kept
        if path not in self._open:
            shard = safe_open(path, framework="pt")
            self._open[path] = (shard, _rows_in(shard))
        shard, rows = self._open[path]
        row: ShardRow = rows[sample]
        tensors = {key: shard.get_tensor(f"{sample}/{key}") for key in row["keys"]}
        return CacheEntry(tensors, {} if note.error else row["facts"], note)

    def put(self, step: str, entries: Mapping[str, CacheEntry], kind: str) -> None:
        """Keep a chunk of entries: for good (`disk`), or while this process lives."""
        if kind != "disk":
            self.memory.update({(step, sample): entry for sample, entry in entries.items()})
            return
        if not entries:
            return
        folder = self.folder / step
        rows = {sample: _row(entry) for sample, entry in entries.items()}
        tensors = {f"{s}/{k}": t.contiguous().clone() for s, e in entries.items() for k, t in e.tensors.items()}
        path = folder / f"{digest(sorted(entries))}.safetensors"
        size = sum(tensor.nbytes for tensor in tensors.values())
        with written_whole(path, size, (OSError, SafetensorError)) as half:
            # one entry: several are written in an order that changes from file to file
            save_file(tensors, half, metadata={"about": json.dumps({"version": VERSION, "sums": rows})})
        # shards are replaced, never changed: that it was written just now hides nothing
        self.memo.put("shard", {FileState.of(path)._replace(settled=True): "whole"})
        self._index(step).update((sample, (path, entry.note)) for sample, entry in entries.items())
        self._open.pop(path, None)

    def forget(self) -> None:
        """Look at the folders anew: other processes may have written."""
        self._shards.clear()
        self._open.clear()


def _rows_in(shard: Any) -> dict[str, ShardRow]:
    """What an open shard says of its entries. Raises KeyError or ValueError for a shard of another version."""
    told = shard.metadata() or {}
    about = (
        json.loads(told["about"]) if "about" in told else {**told, "sums": json.loads(told["sums"])}
    )  # those of before
    if about["version"] != VERSION:
        raise KeyError("version")
    rows: dict[str, ShardRow] = about["sums"]
    return rows


def _row(entry: CacheEntry) -> ShardRow:
    """What the header of a shard says of an entry."""
    note = entry.note
    facts = {"error": note.error} if note.error else dict(entry.facts)
    row: ShardRow = {"sum": _checksum(list(entry.tensors.values())), "keys": list(entry.tensors), "facts": facts}
    if note.partial:
        row["partial"] = note.partial
    if note.notices:
        row["noticed"] = dict(note.notices)
    return row


def _note(row: ShardRow) -> Note:
    """What an entry says of the sample's files, by the header of its shard."""
    error = row["facts"].get("error", "")  # a list where it is a fact of that name
    note = Note(error if isinstance(error, str) else "", row.get("partial", ""), row.get("noticed", {}))
    return _SILENT if note == _SILENT else note


def _checksum(tensors: Sequence[Tensor]) -> int:
    """CRC-32 of the bytes of some tensors, one after another."""
    total = 0
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().flatten()
        total = zlib.crc32(flat.view(torch.uint8).numpy().data if flat.numel() else b"", total)
    return total


class Keys:
    """Names of the views, steps and samples of a plan; files are hashed once and remembered in a memo."""

    def __init__(self, plan: Plan, steps: Steps, memo: Memo) -> None:
        self.plan, self.steps, self.contents = plan, steps, Contents(memo)
        self._files: dict[Path, str] = {}
        """Contents by path as given: a file is taken to stay as it is while one of these objects lives."""

    def __getstate__(self) -> dict[str, object]:
        """Loader processes name samples, not steps: the networks stay here."""
        return {**self.__dict__, "steps": None}

    def view(self, name: str) -> str:
        """A view with its settings, the view that it is cut from, and the code of the frame and of its detector."""
        view = self.plan.graph.views[name]
        of = getattr(view.settings, "of", None)
        detector = self.plan.registry.fingerprint(view.detector.piece) if view.detector else []
        code = [code_hash(look_at.__module__), detector]
        return digest("view", view.use, plain(view.settings), code, self.view(of) if of else "")

    def views(self, names: Iterable[str]) -> str:
        """That the files of some views could be decoded."""
        return digest("seen", sorted(self.view(name) for name in names))

    def port(self, port: str) -> str:
        """A view as the step at `address:port` prepares it."""
        address, _, name = port.partition(":")
        step = self.plan.graph.steps[address]
        code, settings = self.plan.registry.fingerprint(step.piece), plain(step.settings)
        looked = self.view(step.inputs[name].view)
        return digest("prepared", step.piece.kind, step.piece.name, code, settings, name, looked)

    def step(self, address: str) -> str:
        """What a step gives: its code, its settings, all that it eats, its weights."""
        step = self.plan.graph.steps[address]
        code = self.plan.registry.fingerprint(step.piece)
        inputs = {p: self.view(r.view) if r.view else [self.step(r.step), r.block] for p, r in step.inputs.items()}
        weights = weights_digest(self.steps.module(address))
        return digest("step", step.piece.kind, step.piece.name, code, plain(step.settings), inputs, weights)

    def sample(self, sample: Sample, flip: bool) -> str:
        """All of a sample that views look at: its files by content, boxes, action units and words.

        Raises MediaError for a file that cannot be read.
        """
        parts: list[object] = [sample.subtitle, flip, sample.start, sample.end]
        for path in (sample.video, sample.image, sample.audio, *dict(sample.features).values()):
            parts.append(self._file(Path(path)) if path else None)
        for name in ("face_box", "action_units", "peak_frame"):
            fact = sample.fact(name)
            value = None if fact.value is None else np.ascontiguousarray(fact.value, dtype=np.float64).tobytes()
            parts.append(hashlib.blake2b(value, digest_size=8).hexdigest() if value else None)
        return digest(*parts)

    def keep(self) -> None:
        """Remember the files that were hashed since the last call."""
        self.contents.keep()

    def _file(self, path: Path) -> str:
        try:
            if path not in self._files:
                self._files[path] = self.contents.of(path)
            return self._files[path]
        except OSError as error:
            raise MediaError(f"{path}: {error.strerror or error}") from error
