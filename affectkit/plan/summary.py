"""A plan in words: what `check` prints, and the whole recipe with its defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from affectkit.heads import HEADS
from affectkit.objectives import OBJECTIVES
from affectkit.pieces import Shape
from affectkit.plan.graph import per_batch
from affectkit.plan.plan import Plan, Stage
from affectkit.plan.slots import facts_read
from affectkit.plan.use import Use
from affectkit.recipe.interpolate import escape
from affectkit.recipe.marked_yaml import copied, dump, items
from affectkit.recipe.settings import plain
from affectkit.weights import on_disk


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


def trained_text(trains: Sequence[str], parameters: Mapping[str, int] | None = None) -> str:
    """What a stage trains; where the parameters of each address are known, those that have none are marked. Objectives are
    there only if they are known to have some: many have none."""
    shown = [a for a in trains if not a.startswith(f"{OBJECTIVES}.") or (parameters or {}).get(a)]
    return ", ".join(a if parameters is None or parameters.get(a) else f"{a} (no parameters)" for a in shown)


def aim_text(stage: Stage) -> str:
    """What a stage trains for: `tasks label`, `the objective of heads.emotion`, `tasks label + 0.1 align (contrastive)`."""
    tasks = f"tasks {', '.join(stage.settings.tasks)}"
    if not stage.mixed:
        return f"the objective of {stage.objective}" if stage.objective else tasks
    said = []
    for loss in stage.mixed:
        what = f"{loss.name} ({loss.objective.piece.name})" if loss.objective else tasks
        said.append(what if loss.weight == 1 else f"{loss.weight:g} {what}")
    return " + ".join(said)


def summary_rows(plan: Plan, parameters: Mapping[str, int] | None = None) -> list[list[str]]:
    """What a recipe composes, a row each. `parameters` are those of each address, where it was built."""
    rows = [["data", _use(plan.data)], ["backbone", _backbone(plan)]]
    rows += [[f"view {n}", f"{v.use}: {shape_text(v.shape)}"] for n, v in plan.graph.views.items()]
    for address, step in plan.graph.steps.items():
        eats = ", ".join(str(r) for r in step.inputs.values())
        makes = ", ".join(f"{b} {shape_text(s)}" for b, s in step.shapes.items())
        told = "; looks at its batch as a whole: never cached" if per_batch(step) else ""
        told += f"; answers {plan.heads[step.name]}" if step.stream == HEADS else ""
        rows.append([address, f"{step.piece.kind} {step.piece.name}({eats}) -> {makes}{told}"])
    slots = [f"{s} x{_number(slot_tokens(plan, s))}" for s in plan.slots]
    if plan.template:
        rows.append(["prompt", f"{_use(plan.template)}: {', '.join(plan.parts)}; slots {', '.join(slots) or 'none'}"])
    rows += [[f"facts of {address}", names] for address, names in facts_read(plan).items()]
    for name, stage in plan.stages.items():
        told = f"trains {trained_text(stage.trains, parameters)}; {stage.settings.epochs} epochs"
        rows.append([f"stage {name}", f"{aim_text(stage)}; {told}"])
    rows += [["left out", ", ".join(plan.left_out)]] if plan.left_out else []
    rows += [[f"weights of {address}", f"{source}: not here yet"] for address, source in absent(plan).items()]
    if parameters is not None:
        rows.append(["built", f"on the meta device, without weights: {sum(parameters.values()):,} parameters"])
    return rows


def _backbone(plan: Plan) -> str:
    if plan.alone:
        return f"none: {', '.join(plan.heads)} alone"
    return f"{_use(plan.backbone)}, {_number(plan.width)} wide"


def _use(use: Use | None) -> str:
    return use.piece.name if use else "none"


def full_values(plan: Plan) -> dict[str, object]:
    """The recipe with every default filled in, as plain values; what it extends, overrides and interpolates is in it."""
    recipe = plan.recipe
    full: dict[str, object] = {"name": plan.name, "about": str(recipe.get("about") or "")}
    if recipe.get("plugins"):
        full["plugins"] = list(recipe.get("plugins"))
    full["data"] = _block(plan.data)
    full["views"] = {n: {"use": v.use, **plain(v.settings)} for n, v in plan.graph.views.items()}
    full["streams"] = {str(n): _stream(plan, str(n), v) for n, v in _removed_last(recipe.get("streams"))}
    if plan.template:
        full["prompt"] = {**_block(plan.template), "parts": {n: _block(u) for n, u in plan.parts.items()}}
    full["backbone"] = None if plan.alone else _block(plan.backbone)
    if plan.heads:
        full[HEADS] = {name: plan.graph.block(plan.graph.steps[f"{HEADS}.{name}"]) for name in plan.heads}
    full["stages"] = {n: plain(s.settings) for n, s in plan.stages.items()}
    full["score"] = plain(plan.score)
    full["run"] = plain(plan.run)
    return full


def _removed_last(written: object) -> list[tuple[str | int, Any]]:
    """What was set to null stays null, behind all else: stages may still name it."""
    return sorted(items(written), key=lambda one: one[1] is None)


def _stream(plan: Plan, name: str, written: Any) -> dict[str, object] | None:
    """A stream's block, of which `written` is in the recipe."""
    if written is None:
        return None
    steps = {
        s: plan.graph.steps[f"{name}.{s}"] if block is not None else None
        for s, block in _removed_last(written["steps"])
    }
    cache = next(step.cache for step in steps.values() if step)
    return {"cache": cache, "steps": {s: plan.graph.block(step) if step else None for s, step in steps.items()}}


def _block(use: Use | None) -> dict[str, object]:
    return use.block() if use else {}


def full_recipe(plan: Plan) -> str:
    """The recipe with every default filled in, as YAML that can be run again."""
    return dump(escape_references(full_values(plan)))


def escape_references(value: object) -> object:
    """Texts that hold `${` as the recipe reader wants them."""
    return copied(value, lambda text: escape(text) if isinstance(text, str) else text)
