"""One stage as Lightning sees it: order of batches, optimiser, rates, losses."""

from __future__ import annotations

import hashlib
import logging
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
from affectkit.model.batch import Batch, Batches, Key, Order, Prompter, Rows, loader, stack
from affectkit.model.lengths import check_context
from affectkit.model.model import Model, seed_for
from affectkit.model.scales import scales, unequal
from affectkit.plan.check import Stage, matching
from affectkit.recipe.sections import StageSettings
from affectkit.sample import Sample
from affectkit.train.checkpoint import Conditions, Progress, SavedState
from affectkit.train.fit_head import fit_steps
from affectkit.train.losses import StageLosses, StepsAhead
from affectkit.train.run_folder import Run
from affectkit.train.trainer import precision

log = logging.getLogger(__name__)


class Training(lightning.LightningModule):
    """One stage as Lightning sees it."""

    def __init__(self, model: Model, stage: Stage, splits: Splits, cache: Cache, run: Run) -> None:
        super().__init__()
        self.model = model
        self.stage, self.splits, self.cache, self.run = stage, splits, cache, run
        self.done = Progress()
        self.resumed: SavedState | None = None
        """The checkpoint that the stage goes on from."""
        self.pending: list[tuple[Tensor, Batch]] = []
        """(sums of the losses [K], batch) of the optimiser step under way."""
        self.latest: tuple[Tensor, Batch] | None = None
        """The same of the batch before."""
        self.counts = torch.ones(1)
        """[K]: the terms of each loss in it, those of all ranks together."""
        self.unsound: dict[str, None] = {}
        """Validation samples in a batch whose loss is not finite."""
        self.val_sum: Tensor = torch.zeros(2, 1, dtype=torch.double)
        """[2 K]: sums of the losses over the validation split, and their terms."""
        self.perceiver: Perceiver | None = None
        self._loaders: dict[str, tuple[Batches, DataLoader[Any]]] = {}
        self.broken: dict[str, str] = splits.broken
        self.rows = 0
        """Rows of the epoch under way, those of all ranks together."""
        self.running = model.plan.demand(stage).rest
        self.losses = StageLosses(model, stage, self.running)

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
        self.losses.check(self._whole)
        self._check_resumed()
        fit_steps(self.model, self._whole, perceiver)
        self._check_context()
        self._compare_scales(perceiver)

    def _compare_scales(self, perceiver: Perceiver) -> None:
        """Note how large the streams' tokens are beside words, as the stage's first batch shows them; a stream where they are
        far apart is told of, once a run."""
        if not self.stage.llm or self.trainer.global_rank:
            return
        rows = self._rows(self._whole)
        batches = self.order().batches(self.done.epoch, self.done.rows)
        if not batches:  # an epoch may have no row: of few samples that are rarely asked
            return
        batch = stack([rows[key] for key in batches[0]]).to(perceiver.device)
        found, notes = scales(self.model, batch, self.running), self.run.notes()
        before = notes.get("scale_warnings", {})
        warnings = {stream: said for stream, said in unequal(found).items() if stream not in before}
        for said in warnings.values():
            log.warning("stage %s: %s", self.stage.name, said)
        self.run.note(
            {
                "scales": {**notes.get("scales", {}), self.stage.name: found},
                "scale_warnings": {**before, **warnings},
            }
        )

    def _check_context(self) -> None:
        """Raises InputError with training and validation samples whose prompts do not fit into the LLM's context."""
        for samples in (self._whole, self.val) if self.losses.asks else ():
            keys = [
                Key(i, task) for i, s in enumerate(samples) for task in self.stage.settings.tasks if self.asks(s, task)
            ]
            check_context(self.model, self._rows(samples), keys, self.running)

    def _rows(self, samples: Sequence[Sample]) -> Rows:
        """Samples with the prompts that they train on."""
        assert self.perceiver is not None
        plan = self.model.plan
        if not self.losses.asks:
            return Rows(plan, samples, self.perceiver, None, None, self.stage.objective)
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
                told = (s.id, s.label, *(sorted(t.items()) for t in (s.labels, s.numbers, s.answers)), s.turns)
                facts = sorted((name, repr(fact.value)) for name, fact in s.facts.items() if fact.origin == "label")
                digest.update(repr((told, seen, facts)).encode())
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
        tasks = s.tasks if self.losses.asks else {"objective": 1.0}
        seed = seed_for(self.model.plan.run.seed, self.stage.name)
        world, rank = self.trainer.world_size, self.trainer.global_rank
        one_task = s.visits == "one_task"
        return Order(self._whole, tasks, seed, s.batch, s.balance, flips, world, rank, one_task, self.asks)

    def asks(self, sample: Sample, task: str) -> bool:
        """Whether there is anything to teach: the LLM what the prompt has to ask (a conversation that a sample does not have, it
        has not); without its loss, a head what the sample has a truth for, an objective what it counts."""
        if self.losses.asks and self.model.prompt.turns(sample, task) == 0:
            return False
        return self.stage.llm or self.losses.teaches(sample)

    def _loader(self, split: str, samples: Sequence[Sample], batches: Sequence[list[Key]], size: int) -> StepsAhead:
        """The split's loader with these batches, `size` of them a step: the same for the whole stage, so that its workers start
        once."""
        if split not in self._loaders:
            assert self.perceiver is not None
            sampler, workers = Batches(), self.model.plan.run.workers
            self._loaders[split] = sampler, loader(self._rows(samples), sampler, workers, self.perceiver.device)
        sampler, found = self._loaders[split]
        sampler.batches = list(batches)
        return StepsAhead(found, size, self.losses.count)

    def teardown(self, stage: str) -> None:
        """Ends the loader processes."""
        self._loaders.clear()

    def train_dataloader(self) -> StepsAhead:
        """This epoch's batches, those left out that a resumed run has had."""
        epoch, order = self.done.epoch, self.order()
        self.rows = len(order.epoch(epoch))
        batches = order.batches(epoch, self.done.rows)
        return self._loader("train", self._whole, batches, self.stage.settings.accumulate)

    def val_dataloader(self) -> Any:
        """Validation samples in order, each asked every task."""
        if not self.val:
            return []
        order, tasks = self.order(), dict.fromkeys(self.order().tasks, 1.0)
        plain = replace(order, samples=self.val, tasks=tasks, balance="none", flips=(False,), one_task=False)
        return self._loader("val", self.val, plain.batches(0), 1)

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
        """The batch's part in the weighted sum of the losses' means over the whole optimiser step: all ranks and accumulated
        batches together give the gradient of one batch that holds them all."""
        size, world = self.trainer.accumulate_grad_batches, self.trainer.world_size
        if batch_idx % size == 0:
            self.counts = torch.tensor(batch.step_terms, dtype=torch.float, device=self.device)
            if world > 1:
                self.counts = self.trainer.strategy.reduce(self.counts, reduce_op="sum")
        sums = self._sums(batch)
        self.latest = sums.detach(), batch
        self.pending.append(self.latest)
        # Lightning divides by accumulate_grad_batches, DDP by the number of ranks: both are undone here.
        total = self.losses.mean(sums, self.counts) * (world * size)
        if not total.requires_grad:  # nothing of this batch reaches what trains, and Lightning wants a gradient
            total = total + sum(p.sum() * 0 for p in self.model.parameters() if p.requires_grad)
        return total

    def _sums(self, batch: Batch) -> Tensor:
        """[K]: the sum of each loss; zeros for a batch that only keeps a rank busy."""
        sums = self.losses.sums(batch)
        return sums if batch.counts else sums * 0

    def last(self) -> tuple[float, dict[str, float]] | None:
        """The loss of the batch before, and where there are several each by its name: means over that batch, None before the
        first."""
        if self.latest is None:
            return None
        sums, batch = self.latest
        return self._named(sums, sums.new_tensor(batch.terms))

    def _named(self, sums: Tensor, counts: Tensor) -> tuple[float, dict[str, float]]:
        """The weighted sum of means, and each mean by its name; those without a term are left out."""
        total, *values = torch.cat([self.losses.mean(sums, counts)[None], sums / counts.clamp(min=1), counts]).tolist()
        names = self.losses.names
        each = zip(names, values[: len(names)], values[len(names) :], strict=True)
        return total, {name: mean for name, mean, count in each if name and count}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Looks at losses and gradients; then the optimiser step is over."""
        self._check_finite(optimizer)
        self.pending = []

    def _check_finite(self, optimizer: torch.optim.Optimizer) -> None:
        """Raises RunError before a step whose loss or gradient is not finite. Gradients are the same on all ranks here, so
        that all of them stop; each knows its own samples, and the first process tells those of all."""
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        losses = torch.stack([sums for sums, _ in self.pending]).double().sum()
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None  # which skips such steps by itself
        norm = torch.zeros((), device=self.device) if scaled or not grads else torch.nn.utils.get_total_norm(grads)
        sound = torch.isfinite(losses) & torch.isfinite(norm)
        if self.trainer.world_size > 1:
            sound = self.trainer.strategy.reduce((~sound).float(), reduce_op="sum") == 0
        if not sound:
            place = f"epoch {self.done.epoch + 1}, step {self.done.step + 1}"
            self._stop(self._odd() or ("the gradient", "", [s.id for _, b in self.pending for s in b.samples]), place)

    def _odd(self) -> tuple[str, str, list[str]] | None:
        """Of the optimiser step under way, the first loss that is not finite: its name, its value, the samples of its batches."""
        names = self.losses.names
        odd = [(sums.tolist(), batch) for sums, batch in self.pending if not sums.isfinite().all()]
        if not odd:
            return None
        name, value = next((n, v) for n, v in zip(names, odd[0][0], strict=True) if not math.isfinite(v))
        ids = [s.id for _, batch in odd for s in batch.samples]
        return f"the loss {name!r}" if name else "the loss", f" ({value})", ids

    def _stop(self, told: tuple[str, str, list[str]], place: str) -> NoReturn:
        """Raises RunError with the place, what is not finite (its name, its value) and the samples, those of all ranks: where
        one knows a loss, those of ranks that know only of the gradient are left out."""
        every = [told]
        if self.trainer.world_size > 1:
            every = [told] * self.trainer.world_size
            torch.distributed.all_gather_object(every, told)
        every = [one for one in every if one[1]] or every
        names = list(dict.fromkeys(name for _, _, ids in every for name in ids))
        some = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        fix = "look at these samples (affectkit data check), or take a lower lr; the last checkpoint is as it was"
        what = f"{every[0][0]} is not finite{every[0][1]}; samples: {some}"
        raise RunError(Problem(f"stage {self.stage.name}, {place}", what, fix))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds to the validation loss."""
        sums = self.losses.sums(batch)
        if not batch.counts:
            return
        if not torch.isfinite(sums).all():
            self.unsound.update(dict.fromkeys(s.id for s in batch.samples))
        self.val_sum = self.val_sum + torch.stack([sums.double(), sums.new_tensor(batch.terms, dtype=torch.double)])

    def on_validation_epoch_start(self) -> None:
        self.val_sum = torch.zeros(2, len(self.losses.names), dtype=torch.double, device=self.device)
        self.unsound = {}

    def val_loss(self) -> tuple[float, dict[str, float]]:
        """The weighted sum of the losses' means over the validation split, all ranks together, and where there are several each
        by its name. Raises RunError where it is not finite."""
        total = self.val_sum
        if self.trainer.world_size > 1:
            total = self.trainer.strategy.reduce(total, reduce_op="sum")
        loss, each = self._named(*total)
        if not math.isfinite(loss):
            name = next((f" of {name!r}" for name, value in each.items() if not math.isfinite(value)), "")
            told = f"the validation loss{name}", f" ({loss})", list(self.unsound)
            self._stop(told, f"after epoch {self.done.epoch}")
        return loss, each


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
