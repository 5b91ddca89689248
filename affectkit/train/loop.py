"""Stages to Lightning trainers: checkpoints, resume, and the weights that a stage hands on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
import torch

from affectkit.data.splits import Splits
from affectkit.encode.cache import Cache
from affectkit.errors import InputError, Interrupted, Problem
from affectkit.files import append_whole, drop_unfinished_line, read_jsonl, write_jsonl_atomic
from affectkit.model.model import Model
from affectkit.plan.check import Stage
from affectkit.train.checkpoint import (
    Progress,
    load_state,
    load_weights,
    read_weights,
    save_state,
    save_weights,
    weights_to_keep,
)
from affectkit.train.fit_head import fit_head, fits
from affectkit.train.interrupt import SIGNALS
from affectkit.train.profile import Profile
from affectkit.train.run_folder import Run
from affectkit.train.stage import Training
from affectkit.train.trainer import device, is_first, make_trainer, quiet_lightning


class CheckpointWriter(lightning.Callback):
    """Counts how far a stage is, writes checkpoints and curves, stops at the last step."""

    def __init__(self, training: Training, curves: Curves, before: Collection[str] = ()) -> None:
        """`before` are addresses that trained earlier, in this run or in the one that it started from."""
        self.training, self.curves, self.before = training, curves, before
        self.folder = training.run.stage(training.stage.name)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the batch and the optimiser step, notes the loss, and writes a checkpoint every `save_every` steps."""
        t, s = self.training, self.training.stage.settings
        t.done.batch += 1
        t.done.rows = min(t.rows, t.done.rows + s.batch * trainer.world_size)
        left = trainer.num_training_batches - (batch_idx + 1)
        stepped = (batch_idx + 1) % s.accumulate == 0 or left == 0
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        if (found := t.last()) is not None:
            self.curves.add(t.stage.name, t.done, "train", found, rate)
        if not stepped:
            return
        t.done.step += 1
        asked = SIGNALS.pending
        if s.max_steps and t.done.step >= s.max_steps:
            trainer.should_stop = True
        elif left and (asked or t.done.step % s.save_every == 0):
            self._save(trainer)
            self._stop_if(asked)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Lightning has put its own handlers of signals there, which end the process with 0."""
        SIGNALS.install()
        SIGNALS.training = True

    def _stop_if(self, asked: int | None) -> None:
        """Raises Interrupted where a signal waits for what was saved just now."""
        if asked:
            done = self.training.done
            raise Interrupted(asked, f"in stage {self.training.stage.name}; saved after step {done.step}")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Runs after validation: the epoch is done."""
        t = self.training
        t.done.epoch += 1
        t.done.batch = t.done.rows = 0
        if t.val:
            loss, each = t.val_loss()
            self.curves.add(t.stage.name, t.done, "val", (loss, each))
            if t.stage.settings.keep == "best" and (t.done.best is None or loss < t.done.best):
                t.done.best = loss
                if trainer.is_global_zero:
                    save_weights(self.folder / "best.safetensors", weights_to_keep(t.model, set(t.stage.trains)))
        every = t.stage.settings.keep_every
        if every and t.done.epoch % every == 0 and trainer.is_global_zero:
            kept = self.folder / f"epoch-{t.done.epoch}.safetensors"
            save_weights(kept, weights_to_keep(t.model, {*self.before, *t.stage.trains}))
        self._save(trainer)
        self._stop_if(SIGNALS.pending)

    def _save(self, trainer: lightning.Trainer) -> None:
        if trainer.is_global_zero:
            self.curves.flush()
            t = self.training
            save_state(self.folder / "state.pt", t.model, trainer.optimizers[0], t.done, t.conditions)


def train_stage(
    model: Model,
    stage: Stage,
    splits: Splits,
    cache: Cache,
    run: Run,
    trained: set[str],
    bars: Callable[[Stage], list[Any]],
) -> Profile | None:
    """Run one stage to its end, from its checkpoint if there is one, and write its weights.

    `trained` holds the addresses that trained before and gets those of this stage. Returns where the time went, where the
    recipe asks for that.
    """
    model.freeze(stage.trains)
    training = Training(model, stage, splits, cache, run)
    state = run.stage(stage.name) / "state.pt"
    curves = Curves(run.curves)
    if state.exists():
        training.resumed = load_state(state, model)
        training.done = training.resumed.progress
    done, settings = training.done, stage.settings
    curves.rewind(stage.name, done)
    finished = done.epoch >= settings.epochs or (settings.max_steps or math.inf) <= done.step
    profile = Profile() if model.plan.run.profile and not finished else None
    if fits(model, stage):
        if is_first():
            fit_head(model.to(device(model.plan)), stage, splits, cache, device(model.plan))
    elif not finished:
        watched = [] if profile is None else [profile]
        callbacks = [CheckpointWriter(training, curves, trained), *bars(stage), *watched]
        with quiet_lightning(), profile.watching(model) if profile else nullcontext():
            clock = profile.clock if profile else None
            try:
                make_trainer(model.plan, stage, done, callbacks, clock).fit(training)
            finally:
                SIGNALS.training = False
    trained.update(stage.trains)
    model.cpu()
    if is_first():
        best = run.stage(stage.name) / "best.safetensors"
        if settings.keep == "best" and best.exists():
            load_weights(model, read_weights(best), str(best))
        save_weights(run.weights(stage.name), weights_to_keep(model, trained))
        for leftover in (state, best, *state.parent.glob(".*.tmp")):  # the last are from a run killed while writing
            leftover.unlink(missing_ok=True)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        load_weights(model, read_weights(run.weights(stage.name)), str(run.weights(stage.name)))
    return profile


class Curves:
    """The losses of a run by step, as rows of curves.jsonl; kept in memory and flushed with each checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, object]] = []

    def rewind(self, stage: str, done: Progress) -> None:
        """Forget what a stage wrote after its checkpoint."""
        if self.path.exists():
            drop_unfinished_line(self.path)
            rows = [row for _, row in read_jsonl(self.path)]
            here = done.epoch, done.batch
            try:
                left = [r for r in rows if r["stage"] != stage or (r["epoch"], r["batch"]) <= here]
            except (KeyError, TypeError) as error:
                what = "holds a line that is no loss of a step"
                raise InputError(
                    Problem(str(self.path), what, "delete it: the run goes on without its past")
                ) from error
            write_jsonl_atomic(self.path, left)

    def add(
        self,
        stage: str,
        done: Progress,
        kind: str,
        losses: tuple[float, Mapping[str, float]],
        lr: float | None = None,
    ) -> None:
        """One row: the loss of a batch (`train`) at its learning rate, or of the validation split (`val`) after an epoch; and
        where there are several, each by its name."""
        place = {"epoch": done.epoch, "batch": done.batch, "step": done.step}
        total, each = losses
        several = {"losses": dict(each)} if each else {}
        self.rows.append({"stage": stage, "kind": kind, **place, "loss": total, **several, "lr": lr})

    def flush(self) -> None:
        """Append what was added since."""
        if self.rows:
            append_whole(self.path, "".join(json.dumps(r) + "\n" for r in self.rows))
            self.rows = []
