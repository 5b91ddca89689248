"""The sections of a recipe that are no pieces: stages, score, run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


def at_least(settings: Any, least: int, *names: str) -> list[tuple[str, str]]:
    """For `problems`: the settings of those names that are numbers below `least`, or no numbers (NaN)."""
    found = [(n, getattr(settings, n)) for n in names]
    return [(n, f"must be at least {least}, got {v}") for n, v in found if v is not None and not v >= least]


@dataclass(frozen=True)
class StageSettings:
    """One stage of training: what trains, on which data and tasks, how long, at which rates."""

    train: tuple[str, ...]
    """What trains: globs over addresses (`streams.*.projector`, `backbone.lora`, `backbone.model`)."""
    data: dict[str, Any] | None = None
    """A data block of this stage's own; without it the recipe's data."""
    objective: str | dict[str, Any] = ""
    """Address of the step or head whose own loss is trained (`priors.net`, `heads.emotion`); empty = the LLM's loss; or a
    mapping of losses that are added: `llm` with its weight, and objectives by name, each with its `weight`."""
    tasks: dict[str, float] = field(default_factory=lambda: {"label": 1.0})
    """Task to share: how often each task is asked, for each sample and epoch (1.0 = always, 0.5 = every other time)."""
    visits: Literal["every_task", "one_task"] = "every_task"
    """Whether a sample is asked each task as often as its share says, or one task a visit, drawn by shares (AffectGPT)."""
    epochs: int = 1
    """Passes over the training split."""
    max_steps: int | None = field(default=None, metadata={"formerly": "most_steps"})
    """Stop after this many optimiser steps, even inside an epoch."""
    batch: int = field(default=16, metadata={"also": "batch_size"})
    """Samples in one forward pass, on each device (`batch_size` says the same)."""
    accumulate: int = 1
    """Forward passes in one optimiser step."""
    lr: float = field(default=1e-3, metadata={"also": "learning_rate"})
    """Learning rate at the top of the schedule (`learning_rate` says the same)."""
    lrs: dict[str, float] = field(default_factory=dict)
    """Other learning rates by glob over addresses; the last that matches counts."""
    scheduler: Literal["cosine", "linear", "constant"] = field(default="cosine", metadata={"formerly": "schedule"})
    """How the learning rate falls after the warm-up."""
    warmup: float = 0.03
    """Share of the steps over which the learning rate rises from 0."""
    warmup_steps: int | None = None
    """Steps over which it rises, instead of a share of them."""
    warmup_lr: float | None = None
    """Rate of the very first step, from which the rise is even; null rises from 0."""
    min_lr: float = 0.0
    """Rate at which the fall ends; rates of `lrs` fall to the same share of their top."""
    fall: Literal["after_warmup", "from_start"] = "after_warmup"
    """Where the fall is measured from: the end of the warm-up, or the first step, which makes the rate dip where they meet."""
    weight_decay: float = 0.0
    """AdamW's weight decay; biases, norms and other one-dimensional parameters have none."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 = no clipping."""
    balance: Literal["none", "sqrt", "equal"] = "none"
    """How often classes are drawn: as they come, by the square root of their frequency, or equally often."""
    keep: Literal["last", "best"] = "last"
    """Which weights the stage hands on: those at its end, or those of the epoch with the lowest validation loss."""
    save_every: int = 50
    """Optimiser steps between two checkpoints that a killed run can be resumed from."""
    keep_every: int = 0
    """Epochs between two checkpoints that stay in the run, to be evaluated beside what the stage hands on; 0 keeps none."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = at_least(self, 1, "epochs", "batch", "accumulate", "max_steps", "save_every")
        found += at_least(self, 0, "weight_decay", "clip", "keep_every")
        found += [] if self.lr > 0 else [("lr", f"must be above 0, got {self.lr}")]
        found += [] if 0 <= self.warmup <= 1 else [("warmup", f"must be between 0 and 1, got {self.warmup}")]
        found += at_least(self, 0, "warmup_steps", "min_lr", "warmup_lr")
        found += [
            (n, f"must not be above lr ({self.lr:g}), got {rate:g}")
            for n in ("min_lr", "warmup_lr")
            if (rate := getattr(self, n)) is not None and rate > self.lr > 0
        ]
        found += [] if self.train else [("train", "a stage trains at least one address")]
        return found


@dataclass(frozen=True)
class ScoreSettings:
    """How a trained model is evaluated."""

    splits: tuple[str, ...] = ("test",)
    """Splits of the recipe's data to evaluate."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Metric pieces by the name they have in the report."""
    method: str = "candidates"
    """How a label is found: the likeliest label of the set (`candidates`), free text that must be one of them (`generate`), or
    by the head of that name. Without an LLM `candidates` stands for the first head that answers labels."""
    normalise: Literal["sum", "mean", "prior"] = "sum"
    """How candidates are compared: by the sum of their tokens' log-probabilities, which favours short ones; by their mean;
    or by the sum less that after the prompt without the sample's media and words."""
    reader: str | dict[str, Any] = field(default_factory=lambda: {"use": "plain"})
    """The piece that reads labels and ratings from texts that the model generated."""
    protocol: str = "honest"
    """Name of the protocol, shown by every report: invalid answers count as invalid, nothing is chosen on test data."""
    reasons: int = 8
    """For how many samples the report shows a generated reason (task `reason`, when the prompt has one)."""
    batch: int = field(default=16, metadata={"also": "batch_size"})
    """Samples in one forward pass (`batch_size` says the same)."""
    strict: bool = False
    """One sample a pass: answers cannot depend on batch size, bit for bit, at the cost of speed."""
    max_new_tokens: int = field(default=64, metadata={"formerly": "most_tokens"})
    """Longest generated answer, in tokens."""
    resamples: int = 1000
    """Bootstrap resamples behind each interval."""
    yardstick: dict[str, Any] | None = field(default_factory=lambda: {"use": "linear_probe"})
    """A head without a training loop that every report of an LLM shows beside it, on the same frozen features; null for none."""

    calibrate: str = "val"
    """The split that a temperature of the labels' probabilities is fitted on, whose samples are asked too; empty for none."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = at_least(self, 1, "batch", "max_new_tokens") + at_least(self, 0, "reasons", "resamples")
        found += [] if self.splits else [("splits", "names no split to evaluate")]
        return found


MOST_PROCESSES = 1024
"""Processes that one machine starts at most: more end it."""


@dataclass(frozen=True)
class RunSettings:
    """Machine and bookkeeping."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = field(
        default="auto", metadata={"meant": ("device", "gpu", "cpu")}
    )
    """Lightning's accelerator."""
    devices: int | str = "auto"
    """How many devices (processes); auto = all GPUs, or one CPU process."""
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false"] = "auto"
    """How several processes train together; auto and ddp allow for parameters that a step does not use."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """Precision, of frozen parts too; auto = bf16-mixed on GPU, 32-true on CPU."""
    seed: int = 0
    """Seed of initial weights, order of samples and every random choice."""
    weights: Literal["given", "random"] = "given"
    """`random` builds published sizes without downloading anything: for trials of speed and memory."""
    start: str = ""
    """Folder of a run whose weights training starts from, such as an imported checkpoint; empty = what the pieces bring."""
    folder: str = "runs"
    """Where run folders go."""
    workers: int = field(default=0, metadata={"also": "num_workers"})
    """Loader processes that decode and tokenise, started once a stage for training and once for validation; 0 = in the main
    process (`num_workers` says the same)."""
    cache: str = ""
    """Folder of the feature cache; empty = the user cache folder."""
    profile: bool = False
    """Measure where training time and memory go, part by part; the report says it. On a GPU this waits for every part."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = at_least(self, 0, "seed", "workers")
        found += [] if self.seed < 2**32 else [("seed", f"must be below 2**32, got {self.seed:g}")]
        whole = isinstance(self.devices, int)
        if (whole and self.devices < 1) or not (whole or str(self.devices) == "auto"):  # type: ignore[operator]
            found.append(("devices", f"must be auto or at least 1, got {self.devices}"))
        many = [
            name for name in ("workers", "devices") if isinstance(n := getattr(self, name), int) and n > MOST_PROCESSES
        ]
        return found + [(name, f"must be at most {MOST_PROCESSES}: each is a process") for name in many]


@dataclass(frozen=True)
class StreamSettings:
    """What a stream says beside its steps."""

    cache: Literal["none", "memory", "disk"] = "disk"
    """Where the results of its frozen steps are kept."""
    off: bool = False
    """Leave it out, with all that reads it: its places in the prompt, streams with a step that eats of it, stages whose
    objective is in it."""


SETTINGS: dict[tuple[str, ...], type] = {
    ("stages", "*"): StageSettings,
    ("score",): ScoreSettings,
    ("run",): RunSettings,
    ("streams", "*"): StreamSettings,
}
"""Where in a recipe settings stand that no piece has."""
