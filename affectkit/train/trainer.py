"""Lightning's trainer as a plan wants it: devices, precision, and no remarks of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.profilers import Profiler
from rich.progress import TextColumn

from affectkit.errors import InputError, Problem, RunError
from affectkit.plan.check import Stage
from affectkit.plan.numbers import number_problems
from affectkit.plan.plan import Plan
from affectkit.train.checkpoint import Progress
from affectkit.train.interrupt import SIGNALS

ENDS = "lightning.fabric.strategies.launchers.subprocess_script"
"""The logger by which Lightning tells of a process that has ended and takes the others with it."""
REMARKS = (
    "lightning.pytorch",
    "lightning.fabric",
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.accelerators.cuda",
)
"""Lightning's loggers of advice, and of what it finds at every start."""


EVERY = 60.0
"""Seconds between two lines."""
UNUSED = "ddp_find_unused_parameters_true"
"""Lightning's strategy for models of which each step may use a part only."""


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning's own advice and its remarks on every start stay out of the terminal; errors do not."""
    levels = {logger: logger.level for logger in map(logging.getLogger, REMARKS)}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    logging.getLogger(ENDS).setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning.*")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextlib.contextmanager
def meeting_others(stage: str, folder: Path) -> Iterator[None]:
    """Let what torch raises where another process of the run has ended become a RunError that says so."""
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error)
        if not lost or SIGNALS.pending is not None:  # a signal to all of them is told as one
            raise
        what = f"another process of this run has ended, or does not answer ({str(error).splitlines()[0]})"
        fix = f"see what it said, and go on from the last checkpoint: affectkit fit --resume {folder}"
        raise RunError(Problem(f"stage {stage}", what, fix)) from error


def is_first() -> bool:
    """Whether this is the process that writes: rank 0, or the only one."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def make_trainer(
    plan: Plan, stage: Stage, done: Progress, callbacks: list[Any], clock: Profiler | None = None
) -> lightning.Trainer:
    """Lightning's trainer for what is left of a stage. Raises InputError for a machine that is not there."""
    s, r = stage.settings, plan.run
    try:
        return lightning.Trainer(
            accelerator=r.accelerator,
            devices=devices(plan),
            strategy=strategy(plan),
            precision=precision(plan),  # type: ignore[arg-type]
            max_epochs=s.epochs - done.epoch,
            accumulate_grad_batches=s.accumulate,
            gradient_clip_val=s.clip or None,
            callbacks=callbacks,
            profiler=clock,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=any(isinstance(c, lightning.pytorch.callbacks.ProgressBar) for c in callbacks),
            num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError) as error:
        asked = f"accelerator {r.accelerator}, devices {r.devices}, strategy {r.strategy}, precision {r.precision}"
        said = [k for k in ("strategy", "accelerator", "devices", "precision") if ("run", k) in plan.recipe.marks]
        place = plan.recipe.place(("run", *said[:1]))
        what = f"Lightning refuses {asked}: {error}"
        raise InputError(Problem(place, what, "say auto for what is not there")) from error


def devices(plan: Plan) -> int | str:
    """How many devices: as said; else every GPU, or one process on the CPU."""
    if plan.run.devices != "auto":
        return plan.run.devices
    return "auto" if plan.run.accelerator != "cpu" and torch.cuda.is_available() else 1


def device(plan: Plan) -> torch.device:
    """Where a single process computes."""
    on_gpu = plan.run.accelerator != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")


def strategy(plan: Plan) -> str:
    """As said; several processes tell each other of parameters that a step did not use, such as those of a modality that
    no row of it has."""
    count = devices(plan)
    several = torch.cuda.device_count() > 1 if count == "auto" else int(count) > 1
    return UNUSED if plan.run.strategy == "ddp" or (plan.run.strategy == "auto" and several) else plan.run.strategy


def precision(plan: Plan) -> str:
    """As said; else bf16 on a GPU, float32 on the CPU."""
    if plan.run.precision != "auto":
        return plan.run.precision
    return "bf16-mixed" if plan.run.accelerator != "cpu" and torch.cuda.is_available() else "32-true"


class StageBar(RichProgressBar):
    """Lightning's bar on stderr, with the name of the stage in front and the mean loss of the last batch behind."""

    def __init__(self, stage: str) -> None:
        super().__init__(refresh_rate=4, console_kwargs={"stderr": True})
        self.stage = stage

    def configure_columns(self, trainer: Any) -> list[Any]:
        return [TextColumn(f"{self.stage}:"), *super().configure_columns(trainer)]

    def get_metrics(self, trainer: Any, pl_module: Any) -> dict[str, int | str | float | dict[str, float]]:
        found = pl_module.last()
        return {} if found is None else {"loss": found[0]}


class StageLines(lightning.Callback):
    """A line on stderr once a minute, for where the output goes to a file."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.begun = self.told = time.monotonic()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.begun = self.told = time.monotonic()
        self.first, self.steps = trainer.global_step, 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.monotonic()
        if now - self.told < EVERY or not trainer.is_global_zero:
            return
        self.told = now
        self.steps = self.steps or pl_module.steps_in_all()
        done, (loss, _) = trainer.global_step - self.first, pl_module.last()
        step = pl_module.done.step
        rate = done / (now - self.begun)
        left = f"{(self.steps - step) / rate / 60:.0f} min left" if rate else "no step is done yet"
        print(
            f"{self.stage}: step {step} of {self.steps}, loss {loss:.4f}, {60 * rate:.1f} steps a minute, {left}",
            file=sys.stderr,
            flush=True,
        )


def bars(stage: Stage) -> list[Any]:
    """A bar where somebody watches; a line a minute where the output goes to a file."""
    return [StageBar(stage.name) if sys.stderr.isatty() else StageLines(stage.name)]


def refuse_numbers(plan: Plan) -> None:
    """Raises InputError for number formats that cannot be trained in here: float16 without a GPU, and weights in it."""
    on_cpu = plan.run.accelerator == "cpu" or (plan.run.accelerator == "auto" and not torch.cuda.is_available())
    problems = number_problems(plan, on_cpu)
    if problems:
        raise InputError(problems)
