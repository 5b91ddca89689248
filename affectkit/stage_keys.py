"""A name for what a stage with an objective of its own comes to: equal names, equal weights. Imports no torch."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

from affectkit.plan import Plan, Stage
from affectkit.settings import plain

RUN = ("seed", "weights", "start", "precision", "accelerator", "devices", "strategy")
"""Settings of `run` that a trained weight hangs on."""


def stage_keys(plan: Plan) -> dict[str, str]:
    """Stage to key, for each stage that trains steps only and by their own objective.

    A key stands for all that the weights of these steps hang on: the steps that run, their views and widths, the
    stage's settings and data, the seed, and the stages before it that trained one of these steps. Not for the LLM, the
    prompt or other streams: a step starts from weights, and sees samples in an order, that they have no part in.
    """
    keys: dict[str, str] = {}
    before: list[Stage] = []
    for stage in plan.stages.values():
        running = plan.needed(stage)
        earlier = [s for s in before if set(s.trains) & set(running)]
        if stage.objective and set(stage.trains) <= set(running) and all(s.name in keys for s in earlier):
            told = {
                "affectkit": importlib.metadata.version("affectkit"),
                "stage": {**plain(stage.settings), "name": stage.name, "train": list(stage.trains)},
                "data": stage.data.block(),
                "steps": {address: _step(plan, address) for address in running},
                "views": _views(plan, running),
                "llm": plan.width,
                "run": {name: plain(getattr(plan.run, name)) for name in RUN},
                "before": [keys[s.name] for s in earlier],
            }
            text = json.dumps(told, sort_keys=True, default=str)
            keys[stage.name] = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
        before.append(stage)
    return keys


def _step(plan: Plan, address: str) -> dict[str, Any]:
    """A step as far as its weights hang on it. Where results are kept is no part of it."""
    step = plan.graph.steps[address]
    return {
        "piece": [step.piece.kind, step.piece.name],
        "settings": plain(step.settings),
        "inputs": {port: str(ref) for port, ref in step.inputs.items()},
        "eats": {port: str(shape) for port, shape in step.eats.items()},
    }


def _views(plan: Plan, running: list[str]) -> Mapping[str, Any]:
    """The views that these steps look at, and those that they are cut from."""
    views = plan.graph.views
    todo = [ref.view for a in running for ref in plan.graph.steps[a].inputs.values() if ref.view]
    found: dict[str, Any] = {}
    while todo:
        name = todo.pop()
        if name in views and name not in found:
            found[name] = [views[name].use, plain(views[name].settings)]
            todo.append(str(getattr(views[name].settings, "of", "")))
    return found
