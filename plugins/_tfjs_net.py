"""Weights as TensorFlow.js keeps them: a manifest, and the bytes of its tensors one after another."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from affectkit.errors import InputError, Problem
from affectkit.files import read_json
from affectkit.weight_files import refuse_stand_in

ORDERS = {
    "filters": (3, 2, 0, 1),
    "depthwise_filter": (2, 3, 0, 1),
    "pointwise_filter": (3, 2, 0, 1),
    "weights": (1, 0),
}
"""By the last part of a name, how its axes are turned into torch's: kernels are [h w in out], matrices [in out]."""
NAMES = {"filters": "weight", "depthwise_filter": "depthwise", "pointwise_filter": "weight", "weights": "weight"}
"""The last part of a name, as the modules here call it."""
AGAIN = "fetch the network's manifest and its binary again, together"


def manifest(folder: Path, network: str) -> dict[str, Tensor]:
    """The weights of `<network>-weights_manifest.json` and the files it names, float32 in torch's order of axes, with dots in
    their names. Raises InputError where a file is missing, cut, or of numbers that are not known."""
    path = folder / f"{network}-weights_manifest.json"
    found: dict[str, Tensor] = {}
    refuse_stand_in(path)
    try:
        for group in read_json(path):
            data = b"".join(_part(folder, path, str(name)) for name in group["paths"])
            at = 0
            for entry in group["weights"]:
                name, value, at = _tensor(path, entry, data, at)
                found[name] = value
            if at != len(data):
                what = f"names {at:,} bytes of weights; {', '.join(group['paths'])} has {len(data):,}"
                raise InputError(Problem(str(path), what, AGAIN))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(Problem(str(path), f"is no manifest of weights ({type(error).__name__})", AGAIN)) from error
    return found


def _part(folder: Path, manifest_path: Path, name: str) -> bytes:
    if Path(name).name != name:
        raise InputError(Problem(str(manifest_path), f"names a file outside its folder: {name!r}"))
    refuse_stand_in(folder / name)
    return (folder / name).read_bytes()


def _tensor(path: Path, entry: dict[str, Any], data: bytes, at: int) -> tuple[str, Tensor, int]:
    """One weight by our name, and where the next begins; bytes are value = byte * scale + min."""
    few = entry.get("quantization")
    kind = few["dtype"] if few else entry["dtype"]
    if kind not in ("uint8", "uint16", "float32") or entry["dtype"] != "float32":
        raise InputError(Problem(str(path), f"{entry['name']} is {kind}, which is not known here"))
    count = math.prod(entry["shape"])
    end = at + count * np.dtype(kind).itemsize
    if end > len(data):
        raise InputError(Problem(str(path), f"{entry['name']} is cut: its file has {len(data):,} bytes", AGAIN))
    value = np.frombuffer(data, kind, count, at).astype(np.float32).reshape(entry["shape"])
    if few:
        value = value * np.float32(few["scale"]) + np.float32(few["min"])
    *where, last = entry["name"].split("/")
    tensor = torch.from_numpy(np.array(value)).permute(ORDERS.get(last, tuple(range(value.ndim)))).contiguous()
    return ".".join([*where, NAMES.get(last, last)]), tensor, end
