"""Rows of a table dealt into splits, where the table does not say all of it; people stay whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from affectkit.sample import Sample

if TYPE_CHECKING:
    from affectkit_plugins.datasets.table import Settings


@dataclass(frozen=True)
class Entry:
    """A row on its way to being a sample."""

    place: str
    sample: Sample
    split: str
    person: str


def dealt(entries: list[Entry], settings: Settings, has_splits: bool) -> list[Entry]:
    """Every row in a split: by the table, else by a hash of the person or id."""
    if not has_splits:
        left, test = _cut(entries, settings.test, "test")
        val = _cut(left, settings.val / max(1e-9, 1 - settings.test), "val")[1]
    elif any(entry.split == "val" for entry in entries):
        return entries
    else:
        val = _cut([entry for entry in entries if entry.split == "train"], settings.val, "val")[1]
        test = []
    split = {id(e.sample): e.split or "train" for e in entries}
    split |= {id(e.sample): "val" for e in val}
    split |= {id(e.sample): "test" for e in test}
    return [replace(entry, split=split[id(entry.sample)]) for entry in entries]


def _cut(entries: list[Entry], fraction: float, purpose: str) -> tuple[list[Entry], list[Entry]]:
    """The entries in two parts, the second about `fraction` of them; persons stay whole, their order is by hash."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.person or f"\0{entry.sample.id}", []).append(entry)

    def key(name: str) -> bytes:
        return hashlib.blake2b(f"{purpose}/{name}".encode(), digest_size=8).digest()

    wanted = fraction * len(entries)
    second: set[int] = set()
    for name in sorted(groups, key=key):
        size = len(groups[name])
        if len(second) + size / 2 > wanted and (second or not wanted):
            continue
        if len(second) + size == len(entries):
            break
        second |= {id(e) for e in groups[name]}
    return [e for e in entries if id(e) not in second], [e for e in entries if id(e) in second]
