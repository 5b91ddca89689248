"""Stages to Lightning trainers: order, optimiser, checkpoints, resume."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from affectkit.cache import Cache
from affectkit.curves import Curves
from affectkit.errors import InputError, Problem, RunError
from affectkit.keeper import (
    Progress,
    load_state,
    load_weights,
    read_weights,
    save_state,
    save_weights,
    weights_to_keep,
)
from affectkit.model import Model, seed_for
from affectkit.perceive import Demand, Perceiver, demand
from affectkit.plan import Plan, Stage, matching
from affectkit.rows import Asking, Batch, Batches, Order, Rows, stack
from affectkit.runs import Run
from affectkit.sample import Sample


@dataclass
class Splits:
    """The samples of a stage, and what is wrong with some of them."""

    train: Sequence[Sample]
    val: Sequence[Sample]
    labels: tuple[str, ...]
    broken: dict[str, str] = field(default_factory=dict)


def open_split(use: Any, split: str, place: str) -> Sequence[Sample]:
    """One split of a data set; raises InputError if it is empty."""
    samples: Sequence[Sample] = use.piece.build(use.settings, split)
    if not len(samples):
        raise InputError(Problem(place, f"the split {split!r} of data set {use.piece.name!r} is empty"))
    return samples


def open_splits(plan: Plan, stage: Stage) -> Splits:
    """Training and validation samples of a stage; a data set without a validation split has none."""
    place = plan.recipe.place(("stages", stage.name, "data") if stage.settings.data else ("data",))
    train = open_split(stage.data, "train", place)
    try:
        val: Sequence[Sample] = stage.data.piece.build(stage.data.settings, "val")
    except InputError:
        val = ()
    labels = tuple(getattr(train, "labels", ()))
    if not stage.objective and "label" in stage.settings.tasks:
        check_labels(train, labels, place)
    return Splits(train, val, labels)


def check_labels(samples: Sequence[Sample], labels: tuple[str, ...], place: str) -> None:
    """Every label must be one of the set."""
    wrong = []
    for i in range(len(samples)):
        sample = samples[i]
        if sample.label is not None and sample.label not in labels:
            wrong.append(
                Problem(
                    f"{place}: sample {sample.id}",
                    f"label {sample.label!r} is not in the label set",
                    known=labels,
                )
            )
    if wrong:
        raise InputError(wrong[:20])


class Training(lightning.LightningModule):
    """One stage as Lightning sees it."""

    def __init__(self, model: Model, stage: Stage, splits: Splits, cache: Cache, run: Run) -> None:
        super().__init__()
        self.model = model
        self.stage, self.splits, self.cache, self.run = stage, splits, cache, run
        self.done = Progress()
        self.optimizer_state: Any = None
        self.tokens = 0
        self.val_sum: Tensor = torch.zeros(2, dtype=torch.double)
        self.perceiver: Perceiver | None = None
        self.running: list[str] = []
        self.broken: dict[str, str] = splits.broken
        plan = model.plan
        needed = plan.needed(stage)
        ends = [stage.objective] if stage.objective else [plan.graph.ends[s].step for s in plan.slots]
        self.wanted: Demand = demand(
            plan, model.steps, needed, stage.trains, [] if stage.objective else plan.reads, ends
        )
        self.running = [a for a in needed if a not in self.wanted.heads]

    # -- data ---------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Fill the cache: each rank takes its share of the chunks."""
        self.model.steps.to(self.trainer.strategy.root_device)
        self.perceiver = Perceiver(
            self.model.plan, self.model.steps, self.cache, self.trainer.strategy.root_device, self.wanted
        )
        flips = self.perceiver.flips
        ranks = (self.trainer.global_rank, self.trainer.world_size)
        self.perceiver.fill(self.splits.train, flips, f"{self.stage.name}: train", ranks)
        self.perceiver.fill(self.splits.val, (False,), f"{self.stage.name}: val", ranks)
        if self.trainer.world_size > 1:
            self.trainer.strategy.barrier()
            self.cache.forget()
            self.perceiver.fill(self.splits.train, flips, f"{self.stage.name}: train")
            self.perceiver.fill(self.splits.val, (False,), f"{self.stage.name}: val")
        self.broken.update(self.perceiver.broken)
        self._whole = [s for s in _all(self.splits.train) if s.id not in self.broken]
        self._val = [s for s in _all(self.splits.val) if s.id not in self.broken]
        if not self._whole:
            raise RunError(
                Problem(
                    f"stage {self.stage.name}",
                    f"none of the {len(self.splits.train)} training samples can be decoded: {next(iter(self.broken.values()))}",
                )
            )

    def order(self) -> Order:
        """Who is asked what, when."""
        s = self.stage.settings
        assert self.perceiver is not None
        tasks = {"objective": 1.0} if self.stage.objective else s.tasks
        seed = seed_for(self.model.plan.run.seed, self.stage.name)
        return Order(
            self._whole,
            tasks,
            seed,
            s.batch,
            s.balance,
            self.perceiver.flips,
            self.trainer.world_size,
            self.trainer.global_rank,
        )

    def asking(self) -> Asking | None:
        """How samples become prompts; none for a step's own objective."""
        if self.stage.objective:
            return None
        return Asking(
            self.model.prompt,
            self.splits.labels,
            self.model.plan.run.seed,
            "train",
            reads=self.model.plan.reads,
        )

    def _loader(self, samples: Sequence[Sample], batches: Sequence[Any]) -> DataLoader[Any]:
        assert self.perceiver is not None
        rows = Rows(self.model.plan, samples, self.perceiver, self.asking(), self.model.llm, self.stage.objective)
        workers = self.model.plan.run.workers
        return DataLoader(rows, batch_sampler=Batches(batches), collate_fn=stack, num_workers=workers)

    def train_dataloader(self) -> DataLoader[Any]:
        """This epoch's batches, those left out that a resumed run has had."""
        epoch = self.done.epoch
        return self._loader(self._whole, self.order().batches(epoch)[self.done.batch :])

    def val_dataloader(self) -> Any:
        """Validation samples in order, each asked every task."""
        if not self._val:
            return []
        order = self.order()
        plain = Order(
            self._val,
            dict.fromkeys(order.tasks, 1.0),
            order.seed,
            order.batch,
            world=order.world,
            rank=order.rank,
        )
        return self._loader(self._val, plain.batches(0))

    # -- optimisation -------------------------------------------------------------------------------------------

    def steps_in_all(self) -> int:
        """Optimiser steps of the whole stage."""
        s = self.stage.settings
        order = self.order()
        total = sum(math.ceil(len(order.batches(e)) / s.accumulate) for e in range(s.epochs))
        return min(total, s.most_steps or total)

    def configure_optimizers(self) -> Any:
        """AdamW with a rate per address, and the schedule as a function of the stage's own step."""
        s = self.stage.settings
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                lr = self._rate(self.model.address(name))
                decay = s.weight_decay if parameter.dim() > 1 else 0.0
                groups.setdefault((lr, decay), []).append(parameter)
        params = [{"params": p, "lr": lr, "weight_decay": wd} for (lr, wd), p in groups.items()]
        optimizer = torch.optim.AdamW(params, lr=s.lr)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
            for group, (lr, _) in zip(optimizer.param_groups, groups, strict=True):
                group["initial_lr"] = group["lr"] = lr
        start = self.done.step
        factor = partial(rate_factor, settings=s, total=self.steps_in_all())
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step + start))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, address: str) -> float:
        rate = self.stage.settings.lr
        for pattern, other in self.stage.settings.lrs.items():
            if matching(pattern, [address]):
                rate = other
        return rate

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Dropout and augmentation of a step depend on where it is, not on what ran before."""
        place = (self.stage.name, self.done.epoch, self.done.batch, self.trainer.global_rank)
        torch.manual_seed(seed_for(self.model.plan.run.seed, *place))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The sum of the loss; gradients are divided by the number of its terms in the whole optimiser step."""
        total, count = self.model.loss(batch, self.running, self.stage.objective)
        self.tokens += count
        self._last = (total.detach(), count)
        return total

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Sum over the step, divided by the terms of all batches and ranks: accumulation and DDP change nothing."""
        world = self.trainer.world_size
        count = torch.tensor(float(self.tokens), device=self.device)
        if world > 1:
            count = self.trainer.strategy.reduce(count, reduce_op="sum")
        # Lightning divides by accumulate_grad_batches, DDP by the number of ranks: both are undone here.
        scale = world * self.trainer.accumulate_grad_batches / count.clamp(min=1)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.mul_(scale)
        self.tokens = 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds to the validation loss."""
        total, count = self.model.loss(batch, self.running, self.stage.objective)
        self.val_sum = self.val_sum + torch.stack(
            [total.double(), torch.tensor(float(count), dtype=torch.double, device=total.device)]
        )

    def on_validation_epoch_start(self) -> None:
        self.val_sum = torch.zeros(2, dtype=torch.double, device=self.device)

    def val_loss(self) -> float:
        """Mean over the validation split, all ranks together."""
        total = self.val_sum
        if self.trainer.world_size > 1:
            total = self.trainer.strategy.reduce(total, reduce_op="sum")
        return float(total[0] / total[1].clamp(min=1))


def _all(samples: Sequence[Sample]) -> list[Sample]:
    return [samples[i] for i in range(len(samples))]


def rate_factor(step: int, settings: Any, total: int) -> float:
    """Share of the top learning rate at an optimiser step: a linear rise, then the schedule's fall to 0."""
    rise = round(settings.warmup * total)
    if step < rise:
        return (step + 1) / (rise + 1)
    if settings.schedule == "constant":
        return 1.0
    done = min(1.0, (step - rise) / max(1, total - rise))
    return 0.5 * (1 + math.cos(math.pi * done)) if settings.schedule == "cosine" else 1 - done


class Keeper(lightning.Callback):
    """Counts how far a stage is, writes checkpoints and curves, stops at the last step."""

    def __init__(self, training: Training, curves: Curves) -> None:
        self.training, self.curves = training, curves
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
        self._save(trainer)

    def _save(self, trainer: lightning.Trainer) -> None:
        if trainer.is_global_zero:
            self.curves.flush()
            save_state(self.folder / "state.pt", self.training.model, trainer.optimizers[0], self.training.done)


def train_stage(
    plan: Plan,
    model: Model,
    stage: Stage,
    splits: Splits,
    cache: Cache,
    run: Run,
    trained: set[str],
    bars: Callable[[Stage], list[Any]],
) -> None:
    """Run one stage to its end, from its checkpoint if there is one, and write its weights."""
    model.freeze(stage.trains)
    training = Training(model, stage, splits, cache, run)
    state = run.stage(stage.name) / "state.pt"
    curves = Curves(run.curves)
    if state.exists():
        training.done, training.optimizer_state = load_state(state, model)
    curves.rewind(stage.name, training.done.step, training.done.epoch, training.done.batch)
    finished = (
        training.done.epoch >= stage.settings.epochs or (stage.settings.most_steps or math.inf) <= training.done.step
    )
    if not finished:
        with quiet_lightning():
            trainer = make_trainer(plan, stage, training.done, [Keeper(training, curves), *bars(stage)])
        with quiet_lightning():
            trainer.fit(training)
    trained.update(stage.trains)
    model.cpu()
    if is_first():
        best = run.stage(stage.name) / "best.safetensors"
        if stage.settings.keep == "best" and best.exists():
            load_weights(model, read_weights(best))
        save_weights(run.weights(stage.name), weights_to_keep(model, trained))
        for leftover in (state, best, *state.parent.glob(".*.tmp")):  # the last are from a run killed while writing
            leftover.unlink(missing_ok=True)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        load_weights(model, read_weights(run.weights(stage.name)))


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning's own advice and its remarks on every start stay out of the terminal; errors do not."""
    loggers = [
        logging.getLogger(n)
        for n in (
            "lightning.pytorch",
            "lightning.fabric",
            "lightning.pytorch.utilities.rank_zero",
            "lightning.pytorch.accelerators.cuda",
        )
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning.*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def is_first() -> bool:
    """Whether this is the process that writes: rank 0, or the only one."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def make_trainer(plan: Plan, stage: Stage, done: Progress, callbacks: list[Any]) -> lightning.Trainer:
    """Lightning's trainer for what is left of a stage."""
    s, r = stage.settings, plan.run
    strategy = "ddp_find_unused_parameters_true" if r.strategy == "ddp" else r.strategy
    return lightning.Trainer(
        accelerator=r.accelerator,
        devices=devices(plan),
        strategy=strategy,
        precision=precision(plan),  # type: ignore[arg-type]
        max_epochs=s.epochs - done.epoch,
        accumulate_grad_batches=s.accumulate,
        gradient_clip_val=s.clip or None,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(c, lightning.pytorch.callbacks.ProgressBar) for c in callbacks),
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
    )


def devices(plan: Plan) -> int | str:
    """How many devices: as said; else every GPU, or one process on the CPU."""
    if plan.run.devices != "auto":
        return plan.run.devices
    return "auto" if plan.run.accelerator != "cpu" and torch.cuda.is_available() else 1


def precision(plan: Plan) -> str:
    """As said; else bf16 on a GPU, float32 on the CPU."""
    if plan.run.precision != "auto":
        return plan.run.precision
    return "bf16-mixed" if plan.run.accelerator != "cpu" and torch.cuda.is_available() else "32-true"
