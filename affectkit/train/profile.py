"""Where a stage's time goes, part by part (`run.profile=true`): what Lightning does, and each step of the model by itself."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import Profiler

from affectkit.files import Json
from affectkit.model.model import Model

READING, DATA = "reading clips, keeping features", "waiting for samples"
FORWARD, BACKWARD, UPDATE = "LLM and loss, forward", "backward", "optimizer"
VALIDATION, REST = "validation", "the rest"
PARTS = (
    ("train_dataloader_next", DATA),
    ("batch_to_device", DATA),
    ("Training.setup", READING),
    ("validation", VALIDATION),
    ("val_next", VALIDATION),
    ("training_step", FORWARD),
    ("backward", BACKWARD),
    ("optimizer_step", UPDATE),
)
"""Words in the name of what Lightning does, the first that fits, and the part that it is counted to."""
_OURS = "part: "


class Clock(Profiler):
    """Seconds of each part without those of the parts inside it, so that all of them add up to the whole.

    On a GPU it waits for what was asked before it looks at the time: otherwise work would count where it is waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seconds: dict[str, float] = {}
        self.began = self.last = 0.0

    def start(self, action_name: str) -> None:
        """A part begins; what it is in stands still."""
        self._count()
        self.open.append(self._part(action_name))

    def stop(self, action_name: str) -> None:
        """The part that began last ends."""
        self._count()
        if self.open:
            self.open.pop()

    def again(self) -> None:
        """Forget the seconds so far; what is open stays open."""
        self._count()
        self.seconds.clear()
        self.began = self.last

    def _part(self, action: str) -> str:
        if action.startswith(_OURS):
            return action.removeprefix(_OURS)
        found = next((part for words, part in PARTS if words in action), REST)
        # inside validation all is validation, and hooks inside a part belong to that part
        return self.open[-1] if self.open and (VALIDATION in self.open or found == REST) else found

    def _count(self) -> None:
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self.open:
            part = self.open[-1]
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self.last
        self.last = now


class Profile(Callback):
    """What one stage of one process took: its seconds before training (clips to kept features), then those of training.

    The first batch is left out of the latter: it pays for what is set up once.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.before: dict[str, float] = {}
        self.batches = self.samples = 0
        self.wall = 0.0

    @contextmanager
    def watching(self, model: Model) -> Iterator[None]:
        """Count each step of the model as a part of its own while this lasts."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        handles = []
        for name in model.plan.graph.steps:
            module, part = model.steps.module(name), _OURS + name
            handles.append(module.register_forward_pre_hook(lambda *_, part=part: self.clock.start(part)))
            handles.append(module.register_forward_hook(lambda *_, part=part: self.clock.stop(part), always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """What was read and encoded once is a sum of its own."""
        self.before = dict(self.clock.seconds)
        self.clock.again()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Counts behind the first batch."""
        self.batches += 1
        if self.batches == 1:
            self.clock.again()
        else:
            self.samples += len(batch)
            self.wall = time.perf_counter() - self.clock.began

    def to_dict(self) -> dict[str, Json]:
        """Plain values: samples a second while training, bytes at most, seconds by part before and in training."""
        wall = self.wall - self.clock.seconds.get(VALIDATION, 0.0)
        return {
            "samples": self.samples,
            "samples_per_second": self.samples / wall if self.samples and wall > 0 else None,
            "most_bytes": most_bytes(),
            "before": _rounded(self.before),
            "training": _rounded(self.clock.seconds),
        }


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {part: round(value, 3) for part, value in sorted(seconds.items(), key=lambda item: -item[1])}


def most_bytes() -> dict[str, int]:
    """`gpu`: the most that torch held there at once; without one, `process`: the most memory of the process so far, where the
    system tells of it."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return {"gpu": torch.cuda.max_memory_allocated()}
    try:
        import resource
    except ImportError:  # there is none on Windows
        return {}
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return {"process": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
