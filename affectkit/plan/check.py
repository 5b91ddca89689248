"""A recipe, checked: every block read into its piece's settings, the graph wired, what trains in each stage. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from affectkit.errors import InputError, Problem, unknown
from affectkit.plan.graph import wire
from affectkit.plan.metrics import problems as wanted_problems
from affectkit.plan.plan import Plan, Stage
from affectkit.plan.references import words_in
from affectkit.plan.slots import check_layouts, check_slots
from affectkit.plan.stages import matching, read_stages
from affectkit.plan.survey import survey_data
from affectkit.plan.use import Use, read_block
from affectkit.recipe import settings as reading
from affectkit.recipe.load import find, load_recipe
from affectkit.recipe.marked_yaml import WRONG
from affectkit.recipe.merge import items
from affectkit.recipe.recipe import Recipe
from affectkit.recipe.sections import RunSettings, ScoreSettings
from affectkit.registry import Registry

__all__ = [
    "Plan",
    "Stage",
    "Use",
    "check",
    "check_slots",
    "matching",
    "plan_recipe",
]


MOST_PROBLEMS = 50
"""More than a person reads."""


def check(
    source: str | Path | Recipe,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
    data: bool = False,
) -> Plan:
    """Read and check a recipe without torch. Raises InputError with every problem that was found, in order.

    With `data` the data sets are asked too, as far as that needs no decoding: files, columns, splits, labels.
    """
    recipe = source if isinstance(source, Recipe) else load_recipe(source, overrides)
    problems: list[Problem] = []
    named = _plugin_files(recipe, trust, problems)
    registry = Registry.load([*plugins, *named])
    asked = {str(f) for f in (*plugins, *named)}  # an installed plugin may be broken; one that is asked for may not
    problems += [
        Problem(p.source, why, p.disable()) for p in registry.plugins if p.source in asked for _, why in p.broken
    ]
    plan, found = plan_recipe(recipe, registry)
    if data:
        plan.surveys = survey_data(plan, found)
    problems = recipe.in_order([*problems, *found])
    if len(problems) > MOST_PROBLEMS:
        problems[MOST_PROBLEMS:] = [Problem("", f"and {len(problems) - MOST_PROBLEMS} more problems")]
    if problems:
        raise InputError(problems)
    return plan


def _plugin_files(recipe: Recipe, trust: bool, problems: list[Problem]) -> list[Path]:
    """Plugin files that a recipe names, where they may be loaded: beside the recipe, or in the working folder."""
    named = recipe.get("plugins")
    if not named or named is WRONG:
        return []
    if not trust:
        what = f"the recipe names plugin files ({', '.join(map(str, named))}), which are not loaded unless you say so"
        fix = "add --trust-plugins if you trust who wrote them"
        problems.append(Problem(recipe.place(("plugins",)), what, fix))
        recipe.left_out = True
        return []
    own = find(recipe.source)
    files = []
    for i, name in enumerate(named):
        tries = [Path(name), *([own.parent / name] if own else [])]
        file = next((t for t in tries if t.is_file()), None)
        if file is None:
            problems.append(Problem(recipe.place(("plugins", i)), f"there is no plugin file {name!r}"))
            recipe.left_out = True
        else:
            files.append(file)
    return files


def plan_recipe(recipe: Recipe, registry: Registry) -> tuple[Plan, list[Problem]]:
    """The plan, as far as it can be made, and every problem."""
    problems = list(recipe.problems)
    plan = Plan(recipe, registry)
    if recipe.broken:
        return plan, problems
    plan.left_out = tuple(leave_out(recipe, registry, problems))
    for key, cls in (("run", RunSettings), ("score", ScoreSettings)):
        values = recipe.get(key)
        if values is None or values is WRONG:
            continue
        made, found = reading.read(cls, values, lambda below, key=key: recipe.place((key, *below)))  # type: ignore[misc]
        problems.extend(found)
        if made is not None:
            setattr(plan, key, made)
    plan.data = _section(plan, "data", "dataset", problems)
    plan.backbone = _section(plan, "backbone", "backbone", problems)
    plan.width = _width(plan, problems)
    plan.graph = wire(recipe, registry, plan.width, problems)
    _read_prompt(plan, problems)
    check_slots(plan, problems)
    plan.stages = read_stages(plan, problems)
    if not _dangling(plan):
        _check_use(plan, problems)
    plan.metrics = _blocks(plan, ("score", "metrics"), "metric", problems)
    problems += wanted_problems(plan)
    plan.score = replace(plan.score, metrics={n: u.block() for n, u in plan.metrics.items()})
    return plan, recipe.in_order(problems)


def _section(plan: Plan, key: str, kind: str, problems: list[Problem]) -> Use | None:
    """The piece of a section that is a block."""
    recipe, registry = plan.recipe, plan.registry
    if recipe.get(key) is None:
        what = f"the section {key!r} is missing"
        problems.append(Problem(recipe.place(()), what, f"add `{key}: {{use: …}}`", tuple(registry.names(kind))))
        return None
    found = read_block(recipe, (key,), kind, registry, problems)
    return Use(*found) if found else None


def _width(plan: Plan, problems: list[Problem]) -> int | None:
    """The LLM's width, where the backbone knows it without being built."""
    if plan.backbone is None or plan.backbone.piece.shapes is None:
        return None
    piece = plan.backbone.piece
    assert piece.shapes is not None
    try:
        return piece.shapes(plan.backbone.settings, {}, None)["llm"].width
    except Exception as error:  # a config.json of somebody's, or a stranger's piece
        why = error.problems[0].what if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        what = f"the width of the backbone {piece.name!r} cannot be worked out: {why}"
        problems.append(Problem(plan.recipe.place(("backbone",)), what))
        return None


def _blocks(plan: Plan, path: tuple[str, ...], kind: str, problems: list[Problem]) -> dict[str, Use]:
    """The blocks of a mapping that are right; those set to null are not there."""
    found = {}
    for name, block in items(plan.recipe.get(*path)):
        use = read_block(plan.recipe, (*path, name), kind, plan.registry, problems) if block is not None else None
        if use and isinstance(name, str):
            found[name] = Use(*use)
    return found


def _read_prompt(plan: Plan, problems: list[Problem]) -> None:
    recipe = plan.recipe
    prompt = recipe.get("prompt")
    plan.unread = True
    if prompt is WRONG:
        return
    if not prompt:
        fix = "add `prompt: {use: …, parts: {…}}`"
        known = tuple(plan.registry.names("prompt"))
        problems.append(Problem(recipe.place(()), "the section 'prompt' is missing", fix, known))
        return
    template = read_block(recipe, ("prompt",), "prompt", plan.registry, problems, leave=("parts",))
    plan.template = Use(*template) if template else None
    parts = recipe.get("prompt", "parts")
    if parts is WRONG:
        return
    if not isinstance(parts, Mapping) or all(block is None for block in parts.values()):
        at = ("prompt", "parts") if isinstance(prompt, Mapping) and "parts" in prompt else ("prompt",)
        problems.append(Problem(recipe.place(at), "a prompt has `parts`, a mapping of at least one prompt piece"))
        return
    plan.parts = _blocks(plan, ("prompt", "parts"), "prompt", problems)
    plan.unread = len(plan.parts) < sum(block is not None for block in parts.values())
    if not plan.unread and plan.template:
        named = {n: getattr(u.settings, "layout", "") for n, u in plan.parts.items()}
        problems.extend(check_layouts(getattr(plan.template.settings, "layouts", {}), named, recipe.place))
    if not plan.unread and not plan.tasks:
        asking = [p.name for p in plan.registry.pieces("prompt") if getattr(p.settings, "task", "")]
        what = "no part of the prompt asks for a task"
        problems.append(Problem(recipe.place(("prompt", "parts")), what, "add a part that does", tuple(asking)))


def _dangling(plan: Plan) -> bool:
    """Whether a name leads nowhere: the stream that was meant would seem unused."""
    streams = dict(items(plan.recipe.get("streams")))
    lost = [s for s in plan.slots if streams.get(s) is None] or set(plan.reads) - set(plan.graph.written)
    return bool(lost) or plan.graph.partial or not plan.parts


def _check_use(plan: Plan, problems: list[Problem]) -> None:
    """A stream that no prompt, step or stage uses is a mistake, not a style.

    Blocks that are wrong count as users of every stream whose name is in them. Of streams that only feed an unused one
    nothing is said.
    """
    recipe, reads = plan.recipe, plan.graph.reads
    stages = [v for _, v in items(recipe.get("stages"))]
    said = {*plan.slots, *(a.split(".")[0] for a in plan.reads)}
    said |= {str(v.get("objective")).split(".")[0] for v in stages if isinstance(v, Mapping)}
    if plan.unread:
        wrong = {n: v for n, v in items(recipe.get("prompt", "parts")) if n not in plan.parts}
        said |= words_in(wrong)
    fed = set().union(*reads.values()) if reads else set()
    for stream in reads:
        if stream not in said and stream not in fed:
            fix = f"add a part with a slot for {stream!r} to the prompt, or set streams.{stream} to null"
            problems.append(Problem(recipe.place(("streams", stream)), f"nobody uses the stream {stream!r}", fix))


def leave_out(recipe: Recipe, registry: Registry, problems: list[Problem]) -> list[str]:
    """Set to null: streams that are off, streams with a step that reads one of those, prompt parts with a place for one,
    and stages whose objective is in one; returns the addresses of all of them. A problem for each stream that is off and
    was never there."""
    streams = recipe.get("streams")
    if not isinstance(streams, dict):
        return []
    strange = [name for name, value in items(streams) if isinstance(value, Mapping) and set(value) == {"off"}]
    known = [str(name) for name, value in items(streams) if value is not None and name not in strange]
    for name in strange:
        problems.append(unknown(recipe.place(("streams", name)), "stream", str(name), known))
        streams[name] = None
    gone = {name for name, value in items(streams) if isinstance(value, Mapping) and value.get("off") is True}
    if not gone:
        return []
    while more := {n for n, v in items(streams) if n not in gone and any(_reads(s, gone, registry) for s in _steps(v))}:
        gone |= more
    left = [f"streams.{name}" for name, _ in items(streams) if name in gone]
    for name in gone:
        streams[name] = None
    parts = _empty(recipe.get("prompt", "parts"), lambda part: part.get("stream") in gone)
    stages = _empty(recipe.get("stages"), lambda stage: _stream(stage.get("objective")) in gone)
    return [*left, *(f"prompt.parts.{name}" for name in parts), *(f"stages.{name}" for name in stages)]


def _steps(stream: Any) -> list[Mapping[str, Any]]:
    """The blocks of a stream's steps that can be read."""
    steps = stream.get("steps") if isinstance(stream, Mapping) else None
    return [block for _, block in items(steps) if isinstance(block, Mapping)]


def _reads(step: Mapping[str, Any], gone: set[Any], registry: Registry) -> bool:
    """Whether a port of a step is filled by one of these streams, said so or by the port's own name."""
    use = str(step.get("use"))
    ports = {p.name for piece in registry.pieces() if piece.name == use for p in piece.ports}
    return any(_stream(step[name]) in gone if name in step else name in gone for name in ports)


def _stream(reference: Any) -> str:
    """The stream of `stream`, `stream.step` or `stream.step.block`."""
    return reference.split(".")[0] if isinstance(reference, str) else ""


def _empty(blocks: Any, goes: Any) -> list[Any]:
    """Set to null the blocks that go; their names."""
    every = items(blocks) if isinstance(blocks, dict) else ()
    left = [name for name, block in every if isinstance(block, Mapping) and goes(block)]
    for name in left:
        blocks[name] = None
    return left
