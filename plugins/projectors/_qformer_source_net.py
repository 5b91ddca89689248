"""A pretrained Q-Former from disk: BLIP-2 as transformers writes it, or LAVIS's own file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from affectkit_plugins.projectors._qformer import QFormer
from torch import Tensor

from affectkit import weights
from affectkit.errors import InputError, Problem
from affectkit.weights import on_disk

_PART = re.compile(r"(?:.*\.)?(?:Qformer\.bert|qformer)\.(?P<tail>.+)")
_SINGLE = ("model.safetensors", "pytorch_model.bin")


def load(qformer: QFormer, source: str) -> str:
    """Fill queries and layers from `source`; returns where the weights came from.

    Raises InputError for a source that is not on disk, lacks weights, or has other sizes.
    """
    if weights.random():
        return weights.RANDOM
    path = on_disk(source)
    if path is None:
        fix = f"fetch it first (`hf download {source}`), or build without weights: run.weights=random"
        raise InputError(Problem("source", f"{source!r} is neither a file or folder nor in the local hub cache", fix))
    found = renamed({name: tensor for file in _files(path) for name, tensor in _read(file).items()})
    mine = qformer.state_dict()
    missing = sorted(mine.keys() - found.keys())
    if missing:
        what = f"lacks {len(missing)} weights of this Q-Former: {', '.join(missing[:3])} …"
        raise InputError(Problem(source, what, "is it a checkpoint of BLIP-2, and are layers and cross_every right?"))
    for name, tensor in mine.items():
        if tensor.shape != found[name].shape:
            what = f"{name} is {tuple(found[name].shape)} there, {tuple(tensor.shape)} by the recipe's sizes"
            raise InputError(Problem(source, what, "write the checkpoint's sizes in the recipe"))
    qformer.load_state_dict({name: found[name].float() for name in mine})
    return source


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names to ours; all that is no Q-Former is passed over."""
    found = {}
    for name, tensor in state.items():
        if name.split(".")[-1] == "query_tokens":
            found["queries"] = tensor
        elif match := _PART.fullmatch(name):
            tail = match["tail"].replace("embeddings.LayerNorm.", "layernorm.")
            found[f"model.{tail.replace('attention.self.', 'attention.attention.')}"] = tensor
    return found


def _wanted(name: str) -> bool:
    return name.split(".")[-1] == "query_tokens" or _PART.fullmatch(name) is not None


def _files(path: Path) -> Iterator[Path]:
    """The files below `path` that hold the Q-Former: of shards, those that their index names for it."""
    if path.is_file():
        yield path
        return
    for index in sorted(path.glob("*.index.json"))[:1]:
        names = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {})
        for shard in sorted({Path(str(file)).name for name, file in names.items() if _wanted(name)}):
            yield path / shard
        return
    whole = next((path / name for name in _SINGLE if (path / name).is_file()), None)
    if whole is None:
        raise InputError(Problem(str(path), "holds no weights", "name a folder of BLIP-2, or its file", _SINGLE))
    yield whole


def _read(file: Path) -> Mapping[str, Tensor]:
    """Its tensors; of safetensors only those that are wanted are read."""
    if file.suffix != ".safetensors" or not file.is_file():
        return weights.load_state(file)
    from safetensors import safe_open

    with safe_open(file, framework="pt") as held:
        return {name: held.get_tensor(name) for name in held.keys() if _wanted(name)}  # noqa: SIM118
