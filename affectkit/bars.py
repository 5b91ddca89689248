"""The training progress bar."""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch.callbacks import TQDMProgressBar

from affectkit.plan import Stage


class Bar(TQDMProgressBar):
    """Lightning's bar, with the name of the stage in front."""

    def __init__(self, stage: str) -> None:
        super().__init__(refresh_rate=5)
        self.stage = stage

    @property
    def train_description(self) -> str:
        return f"{self.stage}: epoch"

    def get_metrics(self, trainer: Any, pl_module: Any) -> dict[str, int | str | float | dict[str, float]]:
        total, count = getattr(pl_module, "last", (None, 0))
        return {"loss": f"{float(total) / max(1, count):.3f}"} if total is not None else {}


def bars(stage: Stage) -> list[Any]:
    """A bar where somebody watches; nothing where the output goes to a file."""
    return [Bar(stage.name)] if sys.stderr.isatty() else []
