"""One stage as Lightning sees it: order of batches, optimiser, rates, losses."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NoReturn

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from affectkit.data.splits import Splits
from affectkit.encode.cache import Cache
from affectkit.encode.perceive import Perceiver
from affectkit.errors import InputError, Problem, RunError
from affectkit.heads import HEADS, wants
from affectkit.model.batch import Batch, Batches, Key, Order, Prompter, Rows, loader
from affectkit.model.lengths import check_context
from affectkit.model.model import Model, seed_for
from affectkit.plan.check import Stage, matching
from affectkit.recipe.sections import StageSettings
from affectkit.sample import Sample
from affectkit.train.checkpoint import Conditions, Progress, SavedState
from affectkit.train.fit_head import fit_steps
from affectkit.train.run_folder import Run
from affectkit.train.trainer import precision


class Training(lightning.LightningModule):
    """One stage as Lightning sees it."""

    def __init__(self, model: Model, stage: Stage, splits: Splits, cache: Cache, run: Run) -> None:
        super().__init__()
        self.model = model
        self.stage, self.splits, self.cache, self.run = stage, splits, cache, run
        self.done = Progress()
        self.resumed: SavedState | None = None
        """The checkpoint that the stage goes on from."""
        self.tokens = 0
        self.pending: list[tuple[Tensor, Batch]] = []
        """(loss, batch) of the optimiser step under way."""
        self.unsound: dict[str, None] = {}
        """Validation samples in a batch whose loss is not finite."""
        self.val_sum: Tensor = torch.zeros(2, dtype=torch.double)
        self.perceiver: Perceiver | None = None
        self._loaders: dict[str, tuple[Batches, DataLoader[Any]]] = {}
        self.broken: dict[str, str] = splits.broken
        self.rows = 0
        """Rows of the epoch under way, those of all ranks together."""
        self.running = model.plan.demand(stage).rest

    # -- data ---------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Fill the cache: each rank takes its share of the chunks."""
        device = self.trainer.strategy.root_device
        name, train, val = self.stage.name, self.splits.train, self.splits.val
        perceiver = self.perceiver = Perceiver.of(self.model, self.stage, self.cache, device)
        share = (self.trainer.global_rank, self.trainer.world_size)
        for ranks in (share,) if self.trainer.world_size == 1 else (share, (0, 1)):
            if ranks != share:  # what the others made is read, and broken files are known to all
                self.trainer.strategy.barrier()
                self.cache.forget()
            perceiver.fill(train, perceiver.flips, f"{name}: train", ranks)
            perceiver.fill(val, (False,), f"{name}: val", ranks)
        self.broken.update(perceiver.broken)
        self.splits.mended.update({i: n["mended"] for i, n in perceiver.notices.items() if "mended" in n})
        self._whole, self.val = (
            [s for s in (split[i] for i in range(len(split))) if s.id not in self.broken] for split in (train, val)
        )
        if not self._whole:
            what = f"none of the {len(train)} training samples can be decoded: {next(iter(self.broken.values()))}"
            raise RunError(Problem(f"stage {name}", what))
        self._check_resumed()
        fit_steps(self.model, self._whole, perceiver)
        self._check_context()

    def _check_context(self) -> None:
        """Raises InputError with training and validation samples whose prompts do not fit into the LLM's context."""
        for samples in (self._whole, self.val) if not self.stage.objective else ():
            keys = [
                Key(i, task) for i, s in enumerate(samples) for task in self.stage.settings.tasks if self.asks(s, task)
            ]
            check_context(self.model, self._rows(samples), keys, self.running)

    def _rows(self, samples: Sequence[Sample]) -> Rows:
        """Samples with the prompts that they train on."""
        assert self.perceiver is not None
        plan, own = self.model.plan, self.stage.objective
        if own:
            return Rows(plan, samples, self.perceiver, None, None, own)
        prompter = Prompter(self.model.prompt, self.splits.labels, plan.run.seed, "train", reads=plan.reads)
        return Rows(plan, samples, self.perceiver, prompter, self.model.llm)

    @cached_property
    def conditions(self) -> Conditions:
        """What the stage trains under, for its checkpoints."""
        assert self.perceiver is not None
        digest = hashlib.blake2b(digest_size=16)
        for split in (self._whole, self.val):
            for s in split:
                seen = self.perceiver.names.sample(s, False)  # its files by content, boxes, subtitle
                digest.update(repr((s.id, s.label, seen, sorted(s.answers.items()), s.turns)).encode())
            digest.update(b"/")
        plan, settings = self.model.plan, hashlib.blake2b(repr(self.stage.settings).encode(), digest_size=16)
        data = digest.hexdigest()
        return Conditions(plan.run.seed, precision(plan), len(self._whole), data, settings.hexdigest())

    def _check_resumed(self) -> None:
        """Raises InputError where a resumed stage would go on under other conditions, and end otherwise in silence."""
        before = self.resumed.conditions if self.resumed else None
        if before is None or before == self.conditions:
            return
        now, place = self.conditions, f"stage {self.stage.name}"
        problems = []
        if before.rows != now.rows:
            what = (
                f"has {now.rows} training samples that can be decoded, and had {before.rows} when the run was cut off"
            )
            problems.append(Problem(place, what, "put the data back as it was, or start a new run"))
        elif before.data != now.data:
            what = "its samples, their files, labels or texts are others than when the run was cut off"
            problems.append(Problem(place, what, "put the data back as it was, or start a new run"))
        if before.settings not in ("", now.settings):
            what = "the settings of the stage are others than when the run was cut off"
            problems.append(Problem(place, what, "put its recipe.yaml back as it was, or start a new run"))
        if before.seed != now.seed:
            problems.append(
                Problem("run.seed", f"is {now.seed}, and the run began with {before.seed}", "leave it as it was")
            )
        said = any(o.partition("=")[0] == "run.precision" for o in self.model.plan.recipe.overrides)
        if before.precision != now.precision and not said:
            what = f"is {now.precision} here, and the run began with {before.precision}"
            problems.append(Problem("run.precision", what, f"say so, and it is noted: run.precision={now.precision}"))
        if problems:
            raise InputError(problems)

    def order(self) -> Order:
        """The order of this rank's training samples and their tasks."""
        assert self.perceiver is not None
        s, flips = self.stage.settings, self.perceiver.flips
        tasks = {"objective": 1.0} if self.stage.objective else s.tasks
        seed = seed_for(self.model.plan.run.seed, self.stage.name)
        world, rank = self.trainer.world_size, self.trainer.global_rank
        one_task = s.visits == "one_task"
        return Order(self._whole, tasks, seed, s.batch, s.balance, flips, world, rank, one_task, self.asks)

    def asks(self, sample: Sample, task: str) -> bool:
        """Whether there is anything to teach: a head what the sample has a truth for, the LLM what the prompt has to ask (a
        conversation that a sample does not have, it has not)."""
        own = self.stage.objective
        if own:
            task = self.model.plan.heads.get(own.removeprefix(f"{HEADS}."), "")
            return not task or wants(task, sample)
        return self.model.prompt.turns(sample, task) != 0

    def _loader(self, split: str, samples: Sequence[Sample], batches: Sequence[list[Key]]) -> DataLoader[Any]:
        """The split's loader with these batches: the same for the whole stage, so that its workers start once."""
        if split not in self._loaders:
            assert self.perceiver is not None
            sampler, workers = Batches(), self.model.plan.run.workers
            self._loaders[split] = sampler, loader(self._rows(samples), sampler, workers, self.perceiver.device)
        sampler, found = self._loaders[split]
        sampler.batches = list(batches)
        return found

    def train_dataloader(self) -> DataLoader[Any]:
        """This epoch's batches, those left out that a resumed run has had."""
        epoch, order = self.done.epoch, self.order()
        self.rows = len(order.epoch(epoch))
        return self._loader("train", self._whole, order.batches(epoch, self.done.rows))

    def val_dataloader(self) -> Any:
        """Validation samples in order, each asked every task."""
        if not self.val:
            return []
        order, tasks = self.order(), dict.fromkeys(self.order().tasks, 1.0)
        plain = replace(order, samples=self.val, tasks=tasks, balance="none", flips=(False,), one_task=False)
        return self._loader("val", self.val, plain.batches(0))

    # -- optimisation -------------------------------------------------------------------------------------------

    def steps_in_all(self) -> int:
        """Optimiser steps of the whole stage: those that were done, perhaps on another number of ranks, and what is left."""
        s, done, order = self.stage.settings, self.done, self.order()
        left = (len(order.batches(e, done.rows if e == done.epoch else 0)) for e in range(done.epoch, s.epochs))
        total = done.step + sum(math.ceil(batches / s.accumulate) for batches in left)
        return min(total, s.max_steps or total)

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
        if self.resumed is not None:
            try:
                optimizer.load_state_dict(dict(self.resumed.optimizer))
            except (ValueError, KeyError, TypeError) as error:
                what = f"the optimiser's state in its checkpoint is of other parameters ({error})"
                fix = "delete its state.pt: the stage then begins anew"
                raise InputError(Problem(f"stage {self.stage.name}", what, fix)) from error
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
        if not batch.counts:
            total, count = total * 0, 0
        self.tokens += count
        self.last = (total.detach(), count)
        self.pending.append((total.detach(), batch))
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
        self._check_finite(optimizer)
        self.tokens, self.pending = 0, []

    def _check_finite(self, optimizer: torch.optim.Optimizer) -> None:
        """Raises RunError before a step whose loss or gradient is not finite. Gradients are the same on all ranks here, so
        that all of them stop; each knows its own samples, and the first process tells those of all."""
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        losses = torch.stack([loss for loss, _ in self.pending]).double().sum()
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None  # which skips such steps by itself
        norm = torch.zeros((), device=self.device) if scaled or not grads else torch.nn.utils.get_total_norm(grads)
        sound = torch.isfinite(losses) & torch.isfinite(norm)
        if self.trainer.world_size > 1:
            sound = self.trainer.strategy.reduce((~sound).float(), reduce_op="sum") == 0
        if not sound:
            odd = [(loss, batch) for loss, batch in self.pending if not torch.isfinite(loss)]
            what = "the loss" if odd else "the gradient"
            ids = [s.id for _, batch in odd or self.pending for s in batch.samples]
            place = f"epoch {self.done.epoch + 1}, step {self.done.step + 1}"
            self._stop(what, "" if not odd else f" ({float(odd[0][0])})", ids, place)

    def _stop(self, what: str, value: str, ids: Sequence[str], place: str) -> NoReturn:
        """Raises RunError with the place, and the samples of all ranks."""
        every = [list(ids)]
        if self.trainer.world_size > 1:
            every = [[] for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather_object(every, list(ids))
        names = list(dict.fromkeys(name for each in every for name in each))
        some = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        fix = "look at these samples (affectkit data check), or take a lower lr; the last checkpoint is as it was"
        raise RunError(
            Problem(f"stage {self.stage.name}, {place}", f"{what} is not finite{value}; samples: {some}", fix)
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds to the validation loss."""
        total, count = self.model.loss(batch, self.running, self.stage.objective)
        if not batch.counts:
            return
        if not torch.isfinite(total):
            self.unsound.update(dict.fromkeys(s.id for s in batch.samples))
        self.val_sum = self.val_sum + torch.stack(
            [total.double(), torch.tensor(float(count), dtype=torch.double, device=total.device)]
        )

    def on_validation_epoch_start(self) -> None:
        self.val_sum = torch.zeros(2, dtype=torch.double, device=self.device)
        self.unsound = {}

    def val_loss(self) -> float:
        """Mean over the validation split, all ranks together. Raises RunError where it is not finite."""
        total = self.val_sum
        if self.trainer.world_size > 1:
            total = self.trainer.strategy.reduce(total, reduce_op="sum")
        loss = float(total[0] / total[1].clamp(min=1))
        if not math.isfinite(loss):
            self._stop("the validation loss", f" ({loss})", list(self.unsound), f"after epoch {self.done.epoch}")
        return loss


def rate_factor(step: int, settings: StageSettings, total: int) -> float:
    """Share of the top learning rate at an optimiser step of `total`: a linear rise, then the schedule's fall to its least."""
    rise = round(settings.warmup * total) if settings.warmup_steps is None else settings.warmup_steps
    if step < rise:
        if settings.warmup_lr is None:
            return (step + 1) / (rise + 1)
        first = settings.warmup_lr / settings.lr
        return first + (1 - first) * step / rise
    if settings.scheduler == "constant":
        return 1.0
    begin = rise if settings.fall == "after_warmup" else 0
    done = min(1.0, (step - begin) / max(1, total - begin))
    left = 0.5 * (1 + math.cos(math.pi * done)) if settings.scheduler == "cosine" else 1 - done
    least = settings.min_lr / settings.lr
    return least + (1 - least) * left
