"""Losses by step, in a file that a killed and resumed run leaves as an unbroken one would. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from affectkit.files import read_jsonl, write_jsonl_atomic


class _Progress(Protocol):
    epoch: int
    batch: int
    step: int


class Curves:
    """Rows {"stage", "step", "epoch", "batch", "kind", "loss", "lr"}; kept in memory and flushed with each checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def rewind(self, stage: str, step: int, epoch: int, batch: int) -> None:
        """Forget what a stage wrote after its checkpoint."""
        if not self.path.exists():
            return
        known = [row for _, row in read_jsonl(self.path)]
        kept = [r for r in known if r["stage"] != stage or _before(r, epoch, batch)]
        write_jsonl_atomic(self.path, kept)

    def add(self, stage: str, done: _Progress, kind: str, loss: float, lr: float | None = None) -> None:
        """One row."""
        self.rows.append(
            {
                "stage": stage,
                "kind": kind,
                "epoch": done.epoch,
                "batch": done.batch,
                "step": done.step,
                "loss": loss,
                "lr": lr,
            }
        )

    def flush(self) -> None:
        """Append what was added since."""
        if self.rows:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(r) + "\n" for r in self.rows))
            self.rows = []


def _before(row: dict[str, Any], epoch: int, batch: int) -> bool:
    if row["kind"] == "val":
        return bool(row["epoch"] <= epoch)
    return (row["epoch"], row["batch"]) <= (epoch, batch)
