"""Files by what is in them, for caches that must notice other weights under an old name. Imports no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from affectkit.weights import on_disk

END = 2**20
"""Bytes at either end that are read of a large file."""


def fingerprint(path: Path) -> str:
    """A file, or the files of a folder, by content: small ones whole, of large ones both ends and the length."""
    total = hashlib.blake2b(digest_size=20)
    files = [path] if path.is_file() else sorted(path.iterdir())
    for one in (p for p in files if p.is_file() and not p.name.startswith(".")):
        size = one.stat().st_size
        total.update(f"{one.name}\0{size}\0".encode())
        with one.open("rb") as file:
            total.update(file.read(END))
            if size > END:
                file.seek(-min(END, size - END), 2)
                total.update(file.read())
    return total.hexdigest()


def model_words(source: str, kind: str) -> str:
    """A kind of network with the fingerprint of its weights, for `Annotator.model`; without one where they are not on disk."""
    path = on_disk(source)
    return f"{kind} {fingerprint(path)[:16]}" if path is not None else kind
