"""A recipe, checked: every block read into its piece's settings, the graph wired, what trains in each stage. No torch."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affectkit import settings as reading
from affectkit.errors import InputError, Problem, nearest, unknown
from affectkit.pieces import Piece
from affectkit.recipe import Recipe, load_recipe
from affectkit.registry import Registry
from affectkit.sections import RunSettings, ScoreSettings, StageSettings
from affectkit.wiring import Graph, Path_, read_block, wire


@dataclass(frozen=True)
class Use:
    """A piece with its settings, as a recipe uses it."""

    piece: Piece
    settings: Any


@dataclass(frozen=True)
class Stage:
    """One stage, with its globs resolved."""

    name: str
    settings: StageSettings
    data: Use
    trains: tuple[str, ...]
    """Addresses that train: steps (`scene.miner`) and `backbone.model`, `backbone.lora`."""

    @property
    def objective(self) -> str:
        """Address of the step whose own loss counts; empty = the LLM's."""
        return self.settings.objective


@dataclass
class Plan:
    """All that a recipe says, read and checked."""

    recipe: Recipe
    registry: Registry
    graph: Graph = field(default_factory=Graph)
    data: Use | None = None
    template: Use | None = None
    parts: dict[str, Use] = field(default_factory=dict)
    backbone: Use | None = None
    width: int | None = None
    """The LLM's width; None = known when built."""
    stages: dict[str, Stage] = field(default_factory=dict)
    metrics: dict[str, Use] = field(default_factory=dict)
    score: ScoreSettings = field(default_factory=ScoreSettings)
    run: RunSettings = field(default_factory=RunSettings)

    @property
    def name(self) -> str:
        """The recipe's name, or its file's."""
        return str(self.recipe.get("name") or Path(self.recipe.source).stem)

    @property
    def slots(self) -> tuple[str, ...]:
        """Streams that the prompt names, in prompt order."""
        return tuple(dict.fromkeys(s for part in self.parts.values() for s in _told(part, "slots")))

    @property
    def reads(self) -> tuple[str, ...]:
        """Addresses of steps whose facts the prompt reads."""
        return tuple(dict.fromkeys(s for part in self.parts.values() for s in _told(part, "reads")))

    def needed(self, stage: Stage | None = None) -> list[str]:
        """Steps that have to run, in running order: for a stage's objective, or for the prompt."""
        if stage is not None and stage.objective:
            return self.graph.upstream([stage.objective])
        ends = [self.graph.ends[s].step for s in self.slots if s in self.graph.ends]
        return self.graph.upstream([*ends, *self.reads])


def _told(use: Use, method: str) -> Sequence[str]:
    tell = getattr(use.settings, method, None)
    return tuple(tell()) if tell else ()


def check(
    source: str | Path | Recipe,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
) -> Plan:
    """Read and check a recipe without torch. Raises InputError with every problem that was found."""
    recipe = source if isinstance(source, Recipe) else load_recipe(source, overrides)
    named = recipe.get("plugins") or []
    registry = Registry.load([*plugins, *(named if trust else ())])
    plan, problems = plan_recipe(recipe, registry)
    if named and not trust:
        what = f"the recipe names plugin files ({', '.join(map(str, named))}), which are not loaded unless you say so"
        problems.insert(0, Problem(recipe.place(("plugins",)), what, "add --trust-plugins if you trust who wrote them"))
    if problems:
        raise InputError(problems)
    return plan


def plan_recipe(recipe: Recipe, registry: Registry) -> tuple[Plan, list[Problem]]:
    """The plan, as far as it can be made, and every problem."""
    problems = list(recipe.problems)
    plan = Plan(recipe, registry)
    for key, cls in (("run", RunSettings), ("score", ScoreSettings)):
        made, found = reading.read(cls, recipe.get(key) or {}, lambda below, key=key: recipe.place((key, *below)))  # type: ignore[misc]
        problems.extend(found)
        if made is not None:
            setattr(plan, key, made)
    for key, kind in (("data", "dataset"), ("backbone", "backbone")):
        if recipe.get(key) is None:
            problems.append(
                Problem(
                    recipe.place(()),
                    f"the section {key!r} is missing",
                    f"add `{key}: {{use: …}}`",
                    tuple(registry.names(kind)),
                )
            )
            continue
        found_block = read_block(recipe, (key,), kind, registry, problems)
        if found_block:
            setattr(plan, key, Use(*found_block))
    if plan.backbone and plan.backbone.piece.shapes:
        plan.width = plan.backbone.piece.shapes(plan.backbone.settings, {}, None)["llm"].width
    plan.graph = wire(recipe, registry, plan.width, problems)
    _read_prompt(plan, problems)
    _check_slots(plan, problems)
    _read_stages(plan, problems)
    _check_use(plan, problems)
    for name in plan.score.metrics:
        found_block = read_block(recipe, ("score", "metrics", name), "metric", registry, problems)
        if found_block:
            plan.metrics[name] = Use(*found_block)
    for name, view in plan.graph.views.items():
        if getattr(view.settings, "detector", None) is not None:
            read_block(recipe, ("views", name, "detector"), "detector", registry, problems)
    return plan, problems


def _read_prompt(plan: Plan, problems: list[Problem]) -> None:
    recipe, registry = plan.recipe, plan.registry
    prompt = recipe.get("prompt")
    if not prompt:
        problems.append(
            Problem(recipe.place(()), "the section 'prompt' is missing", "add `prompt: {use: …, parts: {…}}`")
        )
        return
    template = read_block(recipe, ("prompt",), "prompt", registry, problems, leave=("parts",))
    plan.template = Use(*template) if template else None
    parts = prompt.get("parts")
    if not isinstance(parts, Mapping):
        problems.append(Problem(recipe.place(("prompt",)), "a prompt has `parts`, a mapping of prompt pieces in order"))
        return
    for name, block in parts.items():
        if block is None:
            continue
        found = read_block(recipe, ("prompt", "parts", name), "prompt", registry, problems)
        if found:
            plan.parts[name] = Use(*found)


def _check_slots(plan: Plan, problems: list[Problem]) -> None:
    """Every slot names a stream, and what the stream ends in has the LLM's width."""
    streams = [s for s, v in (plan.recipe.get("streams") or {}).items() if v is not None]
    for part, use in plan.parts.items():
        path: Path_ = ("prompt", "parts", part)
        for slot in _told(use, "slots"):
            if slot not in streams:
                problems.append(unknown(plan.recipe.place(path), "stream for a slot", slot, streams))
                continue
            end = plan.graph.ends.get(slot)
            width = plan.graph.shape(end).width if end else None
            if end and None not in (width, plan.width) and width != plan.width:
                at = plan.recipe.place(("streams", slot, "steps", end.step.split(".")[1]))
                what = f"{end} is {width} wide, the LLM {plan.width}: a stream that a prompt names must end in the LLM's width"
                problems.append(
                    Problem(
                        at,
                        what,
                        "end the stream with a projector",
                        tuple(p.name for p in plan.registry.pieces("projector")),
                    )
                )
        for address in _told(use, "reads"):
            if address not in plan.graph.steps:
                problems.append(unknown(plan.recipe.place(path), "step to read facts of", address, plan.graph.steps))


def addresses(plan: Plan) -> list[str]:
    """Everything that can train."""
    return [*plan.graph.steps, "backbone.model", "backbone.lora"]


def matching(pattern: str, known: Sequence[str]) -> list[str]:
    """Addresses that a glob names; `streams.` may stand before a step's address."""
    pattern = pattern.removeprefix("streams.")
    return [a for a in known if fnmatch.fnmatchcase(a, pattern) or a.startswith(f"{pattern}.")]


def _read_stages(plan: Plan, problems: list[Problem]) -> None:
    recipe = plan.recipe
    for name, block in (recipe.get("stages") or {}).items():
        if block is None:
            continue
        path: Path_ = ("stages", name)
        made, found = reading.read(StageSettings, block, lambda below, path=path: recipe.place((*path, *below)))  # type: ignore[misc]
        problems.extend(found)
        if made is None:
            continue
        data = plan.data
        if made.data is not None:
            found_block = read_block(recipe, (*path, "data"), "dataset", plan.registry, problems)
            data = Use(*found_block) if found_block else None
        if made.objective and made.objective not in plan.graph.steps:
            problems.append(unknown(recipe.place((*path, "objective")), "step", made.objective, plan.graph.steps))
            continue
        trains = _resolve(plan, name, made, problems)
        if data is not None:
            plan.stages[name] = Stage(name, made, data, trains)
    for name, stage in plan.stages.items():
        _check_stage(plan, name, stage, problems)


def _resolve(plan: Plan, name: str, made: StageSettings, problems: list[Problem]) -> tuple[str, ...]:
    known = addresses(plan)
    trains: list[str] = []
    for i, pattern in enumerate(made.train):
        hits = matching(pattern, known)
        if not hits:
            at = plan.recipe.place(("stages", name, "train", i))
            close = nearest(pattern.removeprefix("streams."), known)
            problems.append(
                Problem(
                    at,
                    f"nothing has an address like {pattern!r}",
                    f"did you mean {close!r}?" if close else "",
                    tuple(known),
                )
            )
        trains += hits
    for pattern in made.lrs:
        if not matching(pattern, known):
            problems.append(
                Problem(
                    plan.recipe.place(("stages", name, "lrs", pattern)),
                    f"nothing has an address like {pattern!r}",
                    known=tuple(known),
                )
            )
    return tuple(dict.fromkeys(trains))


def _check_stage(plan: Plan, name: str, stage: Stage, problems: list[Problem]) -> None:
    if stage.objective:
        return
    running = set(plan.needed())
    for address in plan.reads:
        trained = (
            [a for a in plan.graph.upstream([address]) if a in stage.trains] if address in plan.graph.steps else []
        )
        if trained:
            what = f"the prompt reads facts of {address}, but {', '.join(trained)} still trains in this stage: its words would change under the LLM"
            problems.append(
                Problem(
                    plan.recipe.place(("stages", name, "train")),
                    what,
                    f"train {trained[0]} in a stage before, by its own objective",
                )
            )
    idle = [a for a in stage.trains if not a.startswith("backbone.") and a not in running]
    literal = [a for a in idle if a in {p.removeprefix("streams.") for p in stage.settings.train}]
    for address in literal:
        problems.append(
            Problem(
                plan.recipe.place(("stages", name, "train")),
                f"{address} trains here, but the prompt does not use it",
            )
        )
    for task, share in stage.settings.tasks.items():
        if not 0 < share:
            problems.append(
                Problem(
                    plan.recipe.place(("stages", name, "tasks", task)),
                    f"the share of task {task!r} must be above 0",
                )
            )


def _check_use(plan: Plan, problems: list[Problem]) -> None:
    """A stream that no prompt, step or stage uses is a mistake, not a style."""
    if any(p.what.startswith(("unknown stream", "nothing fills")) for p in problems):
        return
    ends = [plan.graph.ends[s].step for s in plan.slots if s in plan.graph.ends]
    aims = [s.objective for s in plan.stages.values() if s.objective]
    reads = [a for a in plan.reads if a in plan.graph.steps]
    used = {a.split(".")[0] for a in plan.graph.upstream([*ends, *aims, *reads])}
    failed = set(plan.recipe.get("streams") or {}) - {a.split(".")[0] for a in plan.graph.steps}
    for stream in plan.graph.ends:
        if stream not in used and not failed:
            fix = f"add a part `{{use: slot, stream: {stream}}}` to the prompt, or set streams.{stream} to null"
            problems.append(Problem(plan.recipe.place(("streams", stream)), f"nobody uses the stream {stream!r}", fix))
