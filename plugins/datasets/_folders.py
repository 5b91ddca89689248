"""Where the files of a clip lie: folders listed once; and parts of a data set drawn by a seed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

VIDEO = (".mp4", ".avi", ".mkv", ".mov", ".webm")
"""Endings of clips, in the order in which they are looked for."""
SOUND = (".wav", ".flac", ".mp3", ".m4a")
ARRAY = (".npy",)


class Folder:
    """Files (and with `frames` folders of frames) by name without ending; listed once."""

    def __init__(self, path: Path, endings: tuple[str, ...], frames: bool = False) -> None:
        self.path, self.endings, self.frames = path, endings, frames
        self._names: set[str] = set()
        self._folders: set[str] = set()
        if path.is_dir():
            with os.scandir(path) as entries:
                for entry in entries:
                    (self._folders if frames and entry.is_dir() else self._names).add(entry.name)

    def find(self, *names: str) -> Path:
        """The file of the first of these names that is there; else the path where the first one should be."""
        for name in names:
            if name in self._folders:
                return self.path / name
            for ending in self.endings:
                if f"{name}{ending}" in self._names:
                    return self.path / f"{name}{ending}"
        return self.path / (names[0] if self._folders else f"{names[0]}{self.endings[0]}")


def draw(labels: Iterable[tuple[str, str | None]], share: float, seed: int) -> set[str]:
    """Ids of `share` of these (id, label) pairs, rounded, at least one of several; each label in proportion.

    Which ones depends on the seed and the ids alone, not on their order.
    """
    groups: dict[str, list[str]] = {}
    for name, label in labels:
        groups.setdefault(label or "", []).append(name)
    total = sum(map(len, groups.values()))
    wanted = max(round(share * total), min(1, total - 1)) if share > 0 else 0

    def key(name: str) -> bytes:
        return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()

    whole = {label: int(share * len(names)) for label, names in groups.items()}
    # what rounding leaves goes to the labels that it cost most
    order = sorted(groups, key=lambda label: (whole[label] - share * len(groups[label]), key(label)))
    for label in order[: max(0, wanted - sum(whole.values()))]:
        whole[label] += 1
    return {name for label, names in groups.items() for name in sorted(names, key=key)[: whole[label]]}
