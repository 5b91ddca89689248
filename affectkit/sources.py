"""Published weights that a recipe names: a file, a folder or a hub id, and whether it is on this machine. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectkit.settings import plain

if TYPE_CHECKING:
    from affectkit.plan import Plan


def on_disk(source: str) -> Path | None:
    """The file or folder that `source` names: itself, or a hub id's newest snapshot in the local hub cache."""
    if not source:
        return None
    path = Path(source).expanduser()
    if path.exists():
        return path
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / f"models--{source.replace('/', '--')}"
    main = hub / "refs" / "main"
    if source.count("/") == 1 and main.is_file():
        snapshot = hub / "snapshots" / main.read_text().strip()
        return snapshot if snapshot.is_dir() else None
    return None


def absent(plan: Plan) -> dict[str, str]:
    """By address of a setting, the weights that a recipe names and this machine does not have: by convention the settings
    `source` and `…_source` of steps and of the backbone. Nothing with `run.weights: random`, which loads none."""
    if plan.run.weights == "random":
        return {}
    parts = {address: step.settings for address, step in plan.graph.steps.items()}
    if plan.backbone is not None:
        parts["backbone"] = plan.backbone.settings
    named = ((f"{a}.{name}", value) for a, settings in parts.items() for name, value in _sources(settings))
    return {address: value for address, value in named if on_disk(value) is None}


def _sources(settings: Any) -> Iterator[tuple[str, str]]:
    for name, value in plain(settings).items():
        if (name == "source" or name.endswith("_source")) and isinstance(value, str) and value:
            yield name, value
