"""The feature cache: what frozen steps gave for a sample, in memory or in safetensors shards with checksums.

A shard holds one step's results for one chunk of samples. It is written under a temporary name and renamed, and nothing
else is written, so any number of processes may fill one cache; two that make the same shard make the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from affectkit.code_hash import code_hash
from affectkit.data.image import content
from affectkit.data.views import look_at
from affectkit.encode.steps import Steps, weights_digest
from affectkit.errors import MediaError
from affectkit.plan.plan import Plan
from affectkit.recipe.settings import plain
from affectkit.sample import Sample

VERSION = "3"
"""Shards of another version are made anew: 1 did not say what was missing of a broken file, 2 not that a face was.

The names of entries hold the code of pieces and of what looks at media. Raise this where `perceive` makes other arrays of
the same views."""


@dataclass(frozen=True)
class CacheEntry:
    """What one step gave for one sample."""

    tensors: Mapping[str, Tensor]
    """`block/tokens` [t n d] and `block/mask` [t n]; for a prepared view `values`, `mask` and perhaps `boxes`."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Estimated facts as plain values: name to [value, probability]."""
    partial: str = ""
    """What was missing of the sample's files when it was made; empty where they were whole."""
    notices: Mapping[str, str] = field(default_factory=dict)
    """What else there is to say of what was looked at."""

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.tensors.values())

    @property
    def note(self) -> Note:
        """What it says of the sample's files."""
        return Note(str(self.facts.get("error", "")), self.partial, self.notices)


@dataclass(frozen=True)
class Note:
    """What an entry says of the sample's files, without its tensors."""

    error: str = ""
    """Why nothing could be made of them; empty where something was."""
    partial: str = ""
    """As in `Entry`."""
    noticed: Mapping[str, str] = field(default_factory=dict)
    """As in `Entry`."""


_SILENT = Note()
"""The note of nearly every entry: one object, so that those of a hundred thousand entries take no memory."""


def digest(*parts: Any) -> str:
    """A name for anything that JSON can hold."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Memo:
    """File contents by (path, size, time of change), so that a file is hashed or verified once. Safe among processes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "memo.sqlite"
        self._known: dict[tuple[str, str, int, int], str] = {}
        with self._open() as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS memo "
                "(kind TEXT, path TEXT, size INT, changed INT, value TEXT, PRIMARY KEY (kind, path))"
            )
            for kind, path, size, changed, value in db.execute("SELECT kind, path, size, changed, value FROM memo"):
                self._known[(kind, path, size, changed)] = value

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=60)

    def get(self, kind: str, path: Path) -> str | None:
        """What was noted of the file as it stands now, or None."""
        stat = path.stat()
        return self._known.get((kind, str(path), stat.st_size, stat.st_mtime_ns))

    def put(self, kind: str, noted: Mapping[Path, str]) -> None:
        """Note a value for each file."""
        rows = []
        for path, value in noted.items():
            stat = path.stat()
            self._known[(kind, str(path), stat.st_size, stat.st_mtime_ns)] = value
            rows.append((kind, str(path), stat.st_size, stat.st_mtime_ns, value))
        with self._open() as db:
            db.executemany("INSERT OR REPLACE INTO memo VALUES (?, ?, ?, ?, ?)", rows)


class Contents:
    """Files by a hash of their content; each is hashed once and remembered in a memo."""

    def __init__(self, memo: Memo) -> None:
        self.memo = memo
        self._fresh: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """Of a file, or of the frames of a folder. Raises OSError, or MediaError for a folder without frames."""
        known = self._fresh.get(path) or self.memo.get("media", path)
        if known is None:
            known = content(path)  # of a folder of frames it is kept until files come or go
            self._fresh[path] = known
        return known

    def keep(self) -> None:
        """Remember what was hashed since the last call."""
        if self._fresh:
            self.memo.put("media", self._fresh)
            self._fresh = {}


class Cache:
    """Entries by (step key, sample key). `kind` none keeps nothing beyond the call, memory for this process, disk for good."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "features"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.memo = Memo(folder)
        self.memory: dict[tuple[str, str], CacheEntry] = {}
        self._shards: dict[str, dict[str, tuple[Path, Note]]] = {}
        """By step and sample: the shard, and what the entry says of the sample's files."""
        self._open: dict[Path, Any] = {}
        self.remade: list[Path] = []
        """Shards that were found broken and thrown away."""
        self.encoded: Counter[str] = Counter()
        """How often the media of each sample were decoded and encoded by this process; 0 where all was there."""

    def __getstate__(self) -> dict[str, Any]:
        """Loader processes reopen files themselves."""
        return {**self.__dict__, "_open": {}}

    def known(self, step: str) -> set[str]:
        """Sample keys that are there for a step; broken shards are removed on the way."""
        return {s for k, s in self.memory if k == step} | set(self._index(step))

    def note(self, step: str, sample: str) -> Note | None:
        """What an entry says of the sample's files, or None where there is no entry. Opens no tensor."""
        entry = self.memory.get((step, sample))
        if entry is not None:
            return entry.note
        found = self._index(step).get(sample)
        return None if found is None else found[1]

    def _index(self, step: str) -> dict[str, tuple[Path, Note]]:
        if step not in self._shards:
            found: dict[str, tuple[Path, Note]] = {}
            fresh: dict[Path, str] = {}
            for path in sorted((self.folder / step).glob("*.safetensors")):
                notes = self._verified(path, fresh)
                if notes is None:
                    self.remade.append(path)
                    path.unlink(missing_ok=True)
                    continue
                found.update((name, (path, note)) for name, note in notes.items())
            self.memo.put("shard", fresh)
            self._shards[step] = found
        return self._shards[step]

    def _verified(self, path: Path, fresh: dict[Path, str]) -> dict[str, Note] | None:
        """The samples in a shard with their notes, or None if a byte of it is not what was written."""
        try:
            with safe_open(path, framework="pt") as shard:
                about = shard.metadata() or {}
                if about.get("version") != VERSION:
                    return None
                sums: dict[str, dict[str, Any]] = json.loads(about["sums"])
                if self.memo.get("shard", path) is None:
                    for name, one in sums.items():
                        if _checksum([shard.get_tensor(f"{name}/{k}") for k in one["keys"]]) != one["sum"]:
                            return None
                    fresh[path] = "whole"
                return {name: _note(one) for name, one in sums.items()}
        except (SafetensorError, OSError, KeyError, ValueError):
            return None

    def get(self, step: str, sample: str) -> CacheEntry | None:
        """The entry, or None."""
        entry = self.memory.get((step, sample))
        if entry is not None:
            return entry
        found = self._index(step).get(sample)
        if found is None:
            return None
        path, note = found
        if path not in self._open:
            shard = safe_open(path, framework="pt")
            self._open[path] = (shard, json.loads(shard.metadata()["sums"]))
        shard, sums = self._open[path]
        about = sums[sample]
        return CacheEntry(
            {k: shard.get_tensor(f"{sample}/{k}") for k in about["keys"]},
            about["facts"],
            note.partial,
            note.noticed,
        )

    def put(self, step: str, entries: Mapping[str, CacheEntry], kind: str) -> None:
        """Keep a chunk of entries: for good (`disk`), or while this process lives."""
        if kind != "disk":
            self.memory.update({(step, sample): entry for sample, entry in entries.items()})
            return
        if not entries:
            return
        folder = self.folder / step
        folder.mkdir(parents=True, exist_ok=True)
        sums = {
            s: {
                "sum": _checksum(list(e.tensors.values())),
                "keys": list(e.tensors),
                "facts": dict(e.facts),
                **({"partial": e.partial} if e.partial else {}),
                **({"noticed": dict(e.notices)} if e.notices else {}),
            }
            for s, e in entries.items()
        }
        tensors = {f"{s}/{k}": t.contiguous().clone() for s, e in entries.items() for k, t in e.tensors.items()}
        path = folder / f"{digest(sorted(entries))}.safetensors"
        half = folder / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
        save_file(tensors, half, metadata={"sums": json.dumps(sums), "version": VERSION})
        os.replace(half, path)
        self.memo.put("shard", {path: "whole"})
        self._index(step).update((s, (path, _note(one))) for s, one in sums.items())
        self._open.pop(path, None)

    def forget(self) -> None:
        """Look at the folders anew: other processes may have written."""
        self._shards.clear()
        self._open.clear()

    def bytes(self) -> int:
        """Bytes on disk."""
        return sum(p.stat().st_size for p in self.folder.rglob("*.safetensors"))


def _note(about: Mapping[str, Any]) -> Note:
    """What the header of a shard says of one sample's files."""
    note = Note(str(about["facts"].get("error", "")), about.get("partial", ""), about.get("noticed", {}))
    return _SILENT if note == _SILENT else note


def _checksum(tensors: Sequence[Tensor]) -> int:
    total = 0
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().flatten()
        total = zlib.crc32(flat.view(torch.uint8).numpy().data if flat.numel() else b"", total)
    return total


class Keys:
    """Names of the views, steps and samples of a plan; files are hashed once and remembered in a memo."""

    def __init__(self, plan: Plan, steps: Steps, memo: Memo) -> None:
        self.plan, self.steps, self.contents = plan, steps, Contents(memo)
        self._known: dict[tuple[str | bool, ...], str] = {}
        """A file is taken to stay as it is while one of these objects lives."""

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
        place = (sample.id, str(sample.video), str(sample.image), str(sample.audio), flip)
        if place not in self._known:
            self._known[place] = self._sample(sample, flip)
        return self._known[place]

    def keep(self) -> None:
        """Remember the files that were hashed since the last call."""
        self.contents.keep()

    def _sample(self, sample: Sample, flip: bool) -> str:
        parts: list[Any] = [sample.subtitle, flip]
        for path in (sample.video, sample.image, sample.audio, *dict(sample.features).values()):
            parts.append(self._file(Path(path)) if path else None)
        for name in ("face_box", "action_units", "peak_frame"):
            fact = sample.fact(name)
            value = None if fact.value is None else np.ascontiguousarray(fact.value, dtype=np.float64).tobytes()
            parts.append(hashlib.blake2b(value, digest_size=8).hexdigest() if value else None)
        return digest(*parts)

    def _file(self, path: Path) -> str:
        try:
            return self.contents.of(path)
        except OSError as error:
            raise MediaError(f"{path}: {error.strerror or error}") from error
