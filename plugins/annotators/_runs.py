"""Trained runs as annotators use them: where one is, what its answers change with."""

from __future__ import annotations

import hashlib
from pathlib import Path

from affectkit_plugins._content import fingerprint

from affectkit.errors import InputError, Problem

Faults = list[tuple[str, str]]


def missing(key: str, folder: str, made_by: str) -> Faults:
    """What is wrong with a run that is not there, unless a recipe says how it is made."""
    if made_by or (Path(folder) / "recipe.yaml").is_file():
        return []
    return [(key, f"{folder} is no run folder; say in `made_by` which command makes it, where it is still to be made")]


def run_print(folder: str, made_by: str) -> str:
    """A run's recipe and weights, by content. Raises InputError where it is not there, with the command that makes it."""
    root = Path(folder)
    if not (root / "recipe.yaml").is_file():
        raise InputError(Problem(folder, "is no run folder", f"make it first: {made_by}" if made_by else ""))
    total = hashlib.blake2b((root / "recipe.yaml").read_bytes(), digest_size=16)
    for path in sorted(root.rglob("*.safetensors")):
        total.update(f"{path.relative_to(root)} {fingerprint(path)}".encode())
    return total.hexdigest()
