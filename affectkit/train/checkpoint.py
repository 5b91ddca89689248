"""Checkpoints inside a stage: whole or not there, and enough to go on bit for bit.

Every random number of a training step is a function of (seed, stage, epoch, batch, rank), so a checkpoint holds no RNG
state: weights that train, the optimiser, and how far the stage has come.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from affectkit.errors import InputError, Problem
from affectkit.files import write_bytes_atomic, written_whole
from affectkit.model.model import Model
from affectkit.weights import load_state as read_tensors
from affectkit.weights import random_parts, refuse_unfit


@dataclass
class Progress:
    """How far a stage has come."""

    epoch: int = 0
    """Epochs that are done, validation included."""
    batch: int = 0
    """Batches done in the epoch under way."""
    rows: int = 0
    """Rows done in it, those of all ranks together."""
    step: int = 0
    """Optimiser steps done."""
    best: float | None = None
    """Lowest validation loss so far."""


@dataclass(frozen=True)
class Conditions:
    """What a stage trains under: a resumed one ends as it would have only under the same."""

    seed: int
    precision: str
    rows: int
    """Training samples that can be decoded."""
    data: str
    """A hash of what these and the validation samples are."""
    settings: str = ""
    """A hash of the stage's settings; empty in a checkpoint of an earlier version."""


@dataclass(frozen=True)
class SavedState:
    """A checkpoint: how far a stage had come, the optimiser's state, and what it trained under."""

    progress: Progress
    optimizer: Mapping[str, object]
    conditions: Conditions | None
    """None in a checkpoint of an earlier version."""


def save_state(
    path: Path, model: Model, optimizer: torch.optim.Optimizer, progress: Progress, conditions: Conditions
) -> None:
    """Write a checkpoint that `load_state` reads."""
    state = {
        "weights": {n: p.detach().cpu() for n, p in model.named_parameters() if p.requires_grad},
        "buffers": {n: b.detach().cpu() for n, b in model.named_buffers()},
        "optimizer": optimizer.state_dict(),
        "progress": vars(progress),
        "conditions": vars(conditions),
    }
    file = io.BytesIO()
    torch.save(state, file)
    write_bytes_atomic(path, file.getvalue())


def load_state(path: Path, model: Model) -> SavedState:
    """Put a checkpoint's weights into the model. Raises InputError for a file that is no checkpoint, or a broken one, and for
    one that lacks weights of those that train."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {**state["weights"], **state["buffers"]}
        progress, optimizer = Progress(**state["progress"]), state["optimizer"]
        counts = (progress.epoch, progress.batch, progress.rows, progress.step)
        trained = {n for n, p in model.named_parameters() if p.requires_grad}
        if not all(isinstance(n, int) and n >= 0 for n in counts) or trained - tensors.keys():
            raise ValueError("a part of it is missing")
        conditions = Conditions(**state["conditions"]) if "conditions" in state else None
    except Exception as error:  # a broken file leads the loader into errors of any kind
        what = f"is no checkpoint that can be read ({type(error).__name__})"
        fix = f"delete it: the stage then begins anew, those before it stay ({path.parent.name})"
        raise InputError(Problem(str(path), what, fix)) from error
    load_weights(model, tensors, str(path))
    return SavedState(progress, optimizer, conditions)


def load_weights(model: Model, tensors: Mapping[str, Tensor], source: str = "the weights") -> None:
    """Copy tensors of a file (`source`) in by name; those of parts that the model does not have (a stream taken out) are left
    aside. Raises InputError for values of another shape or kind, and for numbers that are not finite."""
    own = model.state_dict(keep_vars=True)
    refuse_unfit(own, tensors, source)
    with torch.no_grad():
        for name, tensor in tensors.items():
            if name in own:
                own[name].copy_(tensor)


def weights_to_keep(model: Model, trained: set[str]) -> dict[str, Tensor]:
    """What a run folder must hold: all that trained or was fitted so far, and parts that started from random weights.

    Published weights that never trained stay where they are. With `run.weights: random` only what trained is kept: the
    rest is a function of the seed, and may be many gigabytes.
    """
    own = model.state_dict()
    return {name: own[name].detach().cpu().contiguous().clone() for name in names_to_keep(model, trained)}


def names_to_keep(model: Model, trained: set[str]) -> list[str]:
    """The names of `weights_to_keep`."""
    random = set() if model.plan.run.weights == "random" else set(random_parts(model.origins()))
    addresses = {name: model.address(name) for name in model.state_dict()}
    fitted = {a for a, step in model.plan.graph.steps.items() if step.piece.fits} - {
        *model.steps.unfitted(model.plan.graph.steps)
    }
    kept = trained | random | fitted
    return [n for n, a in addresses.items() if a in kept or a.split(".")[0] in kept]


def save_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Safetensors, whole or not there. Raises WriteError where they cannot be written."""
    size = sum(tensor.nbytes for tensor in tensors.values())
    with written_whole(path, size, (OSError, SafetensorError)) as half:
        save_file(dict(tensors), half)
        half.chmod(0o644)  # the writer makes it readable to its owner alone


def read_weights(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
    """What `save_weights` wrote, or what is `wanted` of it. Raises InputError for a file that is cut, or another kind of file."""
    return read_tensors(path, wanted=wanted)
