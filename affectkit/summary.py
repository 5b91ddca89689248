"""A plan in words: what `check` prints, and the whole recipe with its defaults. Imports no torch."""

from __future__ import annotations

from typing import Any

import yaml

from affectkit.pieces import Shape
from affectkit.plan import Plan, Use
from affectkit.settings import plain


def shape_text(shape: Shape) -> str:
    """`8 x 16 x 128`: time, tokens, width; `?` is known when built."""
    if shape.kind == "wave":
        return f"{shape.kind} at {shape.width} Hz"
    if shape.kind == "text":
        return shape.kind
    if shape.kind == "pixels":
        return f"{_number(shape.time)} images"
    return " x ".join(_number(n) for n in (shape.time, shape.tokens, shape.width))


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def slot_tokens(plan: Plan, slot: str) -> int | None:
    """Most tokens that a stream puts into a prompt."""
    end = plan.graph.ends.get(slot)
    if end is None:
        return None
    shape = plan.graph.shape(end)
    return None if shape.time is None or shape.tokens is None else shape.time * shape.tokens


def summary_rows(plan: Plan) -> list[list[str]]:
    """What a recipe composes, a row each."""
    rows = [["data", _use(plan.data)], ["backbone", f"{_use(plan.backbone)}, {_number(plan.width)} wide"]]
    rows += [[f"view {n}", f"{v.use}: {shape_text(v.shape)}"] for n, v in plan.graph.views.items()]
    for address, step in plan.graph.steps.items():
        eats = ", ".join(str(r) for r in step.inputs.values())
        makes = ", ".join(f"{b} {shape_text(s)}" for b, s in step.shapes.items())
        rows.append([address, f"{step.piece.kind} {step.piece.name}({eats}) -> {makes}"])
    slots = [f"{s} x{_number(slot_tokens(plan, s))}" for s in plan.slots]
    rows.append(["prompt", f"{_use(plan.template)}: {', '.join(plan.parts)}; slots {', '.join(slots) or 'none'}"])
    for name, stage in plan.stages.items():
        aim = f"objective of {stage.objective}" if stage.objective else f"tasks {', '.join(stage.settings.tasks)}"
        rows.append([f"stage {name}", f"{aim}; trains {', '.join(stage.trains)}; {stage.settings.epochs} epochs"])
    return rows


def _use(use: Use | None) -> str:
    return use.piece.name if use else "none"


def full_values(plan: Plan) -> dict[str, Any]:
    """The recipe with every default filled in, as plain values."""
    recipe = plan.recipe
    full: dict[str, Any] = {"name": plan.name, "about": recipe.get("about") or ""}
    if recipe.get("plugins"):
        full["plugins"] = recipe.get("plugins")
    full["data"] = _block(plan.data)
    full["views"] = {n: {"use": v.use, **plain(v.settings)} for n, v in plan.graph.views.items()}
    full["streams"] = {}
    names = [s for s, v in (recipe.get("streams") or {}).items() if v is not None]
    for stream in names:
        written = recipe.get("streams", stream) or {}
        steps = {}
        for name, block in written["steps"].items():
            step = plan.graph.steps.get(f"{stream}.{name}")
            if block is not None and step is not None:
                steps[name] = {
                    "use": step.piece.name,
                    **{p: str(r) for p, r in step.inputs.items()},
                    **plain(step.settings),
                }
        full["streams"][stream] = {"steps": steps, **{k: v for k, v in written.items() if k != "steps"}}
    full["prompt"] = {**_block(plan.template), "parts": {n: _block(u) for n, u in plan.parts.items()}}
    full["backbone"] = _block(plan.backbone)
    full["stages"] = {n: plain(s.settings) for n, s in plan.stages.items()}
    full["score"] = {**plain(plan.score), "metrics": {n: _block(u) for n, u in plan.metrics.items()}}
    full["run"] = plain(plan.run)
    return full


def _block(use: Use | None) -> dict[str, Any]:
    return {"use": use.piece.name, **plain(use.settings)} if use else {}


def full_recipe(plan: Plan) -> str:
    """The recipe with every default filled in, as YAML that can be run again."""
    return yaml.safe_dump(full_values(plan), sort_keys=False, allow_unicode=True, width=110)
