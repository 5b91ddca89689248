"""Checkpoints inside a stage: whole or not there, and enough to go on bit for bit.

Every random number of a training step is a function of (seed, stage, epoch, batch, rank), so a checkpoint holds no RNG
state: weights that train, the optimiser, and how far the stage has come.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from affectkit.curves import Curves
from affectkit.files import write_bytes_atomic
from affectkit.model import Model
from affectkit.weights import random_parts

if TYPE_CHECKING:
    from affectkit.train import Training


@dataclass
class Progress:
    """How far a stage has come."""

    epoch: int = 0
    """Epochs that are done, validation included."""
    batch: int = 0
    """Batches done in the epoch under way."""
    step: int = 0
    """Optimiser steps done."""
    best: float | None = None
    """Lowest validation loss so far."""


def save_state(path: Path, model: Model, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write a checkpoint that `load_state` reads."""
    weights = {n: p.detach().cpu() for n, p in model.named_parameters() if p.requires_grad}
    buffers = {n: b.detach().cpu() for n, b in model.named_buffers()}
    state = {
        "weights": weights,
        "buffers": buffers,
        "optimizer": optimizer.state_dict(),
        "progress": vars(progress),
    }
    file = io.BytesIO()
    torch.save(state, file)
    write_bytes_atomic(path, file.getvalue())


def load_state(path: Path, model: Model) -> tuple[Progress, Mapping[str, Any]]:
    """Put a checkpoint's weights into the model; returns how far it had come and the optimiser's state."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    load_weights(model, {**state["weights"], **state["buffers"]})
    return Progress(**state["progress"]), state["optimizer"]


def load_weights(model: Model, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors in by name; those of parts that the model does not have (a stream taken out) are left aside."""
    own = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, tensor in tensors.items():
            if name in own:
                own[name].copy_(tensor)


def weights_to_keep(model: Model, trained: set[str]) -> dict[str, Tensor]:
    """What a run folder must hold: all that trained so far, and parts that started from random weights.

    Published weights that never trained stay where they are. With `run.weights: random` only what trained is kept: the
    rest is a function of the seed, and may be many gigabytes.
    """
    own = model.state_dict()
    return {name: own[name].detach().cpu().contiguous().clone() for name in names_to_keep(model, trained)}


def names_to_keep(model: Model, trained: set[str]) -> list[str]:
    """The names of `weights_to_keep`."""
    random = set() if model.plan.run.weights == "random" else set(random_parts(model.origins()))
    addresses = {name: model.address(name) for name in model.state_dict()}
    return [n for n, a in addresses.items() if a in trained or a in random or a.split(".")[0] in random]


def other_shapes(model: Model, tensors: Mapping[str, Tensor]) -> list[tuple[str, str, str]]:
    """Parameters of another shape in a file than in the model: name, shape there, shape here."""
    own = model.state_dict()
    return [
        (name, " x ".join(map(str, tensor.shape)), " x ".join(map(str, own[name].shape)))
        for name, tensor in tensors.items()
        if name in own and own[name].shape != tensor.shape
    ]


def save_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Safetensors under a temporary name, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.tmp")
    save_file(dict(tensors), half)
    half.chmod(0o644)  # the writer makes it readable to its owner alone
    half.replace(path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """What `save_weights` wrote."""
    return load_file(path)


class Keeper(lightning.Callback):
    """Counts how far a stage is, writes checkpoints and curves, stops at the last step."""

    def __init__(self, training: Training, curves: Curves, before: Collection[str] = ()) -> None:
        """`before` are addresses that trained earlier, in this run or in the one that it started from."""
        self.training, self.curves, self.before = training, curves, before
        self.folder = training.run.stage(training.stage.name)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        t, s = self.training, self.training.stage.settings
        t.done.batch += 1
        left = trainer.num_training_batches - (batch_idx + 1)
        stepped = (batch_idx + 1) % s.accumulate == 0 or left == 0
        total, count = t._last
        self.curves.add(
            t.stage.name,
            t.done,
            "train",
            float(total) / max(1, count),
            trainer.optimizers[0].param_groups[0]["lr"],
        )
        if not stepped:
            return
        t.done.step += 1
        if s.most_steps and t.done.step >= s.most_steps:
            trainer.should_stop = True
        elif t.done.step % s.save_every == 0 and left:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Runs after validation: the epoch is done."""
        t = self.training
        t.done.epoch += 1
        t.done.batch = 0
        if t._val:
            loss = t.val_loss()
            self.curves.add(t.stage.name, t.done, "val", loss)
            if t.stage.settings.keep == "best" and (t.done.best is None or loss < t.done.best):
                t.done.best = loss
                if trainer.is_global_zero:
                    save_weights(self.folder / "best.safetensors", weights_to_keep(t.model, set(t.stage.trains)))
        every = t.stage.settings.keep_every
        if every and t.done.epoch % every == 0 and trainer.is_global_zero:
            kept = self.folder / f"epoch-{t.done.epoch}.safetensors"
            save_weights(kept, weights_to_keep(t.model, {*self.before, *t.stage.trains}))
        self._save(trainer)

    def _save(self, trainer: lightning.Trainer) -> None:
        if trainer.is_global_zero:
            self.curves.flush()
            save_state(self.folder / "state.pt", self.training.model, trainer.optimizers[0], self.training.done)
