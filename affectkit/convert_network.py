"""The published file of one network in: a folder of safetensors that a step takes as its `source`.

Imports no torch by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affectkit import weights
from affectkit.convert import Account, new_folder, read, sha256
from affectkit.converters import Network
from affectkit.files import write_json_atomic

WEIGHTS = "model.safetensors"
"""The one file of weights in such a folder."""


def account(network: Network, name: str, checkpoint: str | Path) -> Account:
    """Read a file of weights and say where each key goes. Raises InputError for a wrong file."""
    path = Path(checkpoint).expanduser()
    tensors = weights.load_state(path, network.entry)
    found = read(network, tensors, str(path))
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    return Account(name, path, sha256(path), found, shapes, {})


def convert(network: Network, made: Account, folder: str | Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Write weights and account into a new folder; returns the step that takes them, as a recipe names it.

    Raises InputError where the folder has something in it.
    """
    out = new_folder(folder)
    weights.write_state(out / WEIGHTS, made.found.weights)
    block = {**network.block(made.found), "source": str(folder)}
    write_json_atomic(out / "conversion.json", {**made.values(), "settings": dict(settings), "block": block})
    return block
