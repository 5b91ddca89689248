"""A recipe, checked: every block read into its piece's settings, the graph wired, what trains in each stage. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from affectkit import settings as reading
from affectkit.errors import InputError, Problem
from affectkit.layouts import check_layouts
from affectkit.leaving_out import leave_out
from affectkit.marked_yaml import WRONG, Path_
from affectkit.merging import items
from affectkit.pieces import Survey
from affectkit.recipe import Recipe, find, load_recipe
from affectkit.references import words_in
from affectkit.registry import Registry
from affectkit.sections import RunSettings, ScoreSettings
from affectkit.slots import check_slots, reads_of, slots_of
from affectkit.stages import Stage, matching, read_stages
from affectkit.surveys import survey_data
from affectkit.uses import Use, read_block
from affectkit.wanted import problems as wanted_problems
from affectkit.wiring import Graph, wire

__all__ = ["Plan", "Stage", "Use", "check", "check_slots", "matching", "plan_recipe"]


MOST_PROBLEMS = 50
"""More than a person reads."""


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
    surveys: dict[Path_, Survey] = field(default_factory=dict)
    """What each data block, by its path, told of itself; empty where nobody asked."""
    left_out: tuple[str, ...] = ()
    """Addresses of what goes with the streams that are off."""
    unread: bool = False
    """Whether some part of the prompt could not be read: what it would have named is not known."""

    @property
    def name(self) -> str:
        """The recipe's name, or its file's."""
        return str(self.recipe.get("name") or Path(self.recipe.source).stem)

    @property
    def slots(self) -> tuple[str, ...]:
        """Streams that the prompt names, in prompt order."""
        return tuple(dict.fromkeys(s for part in self.parts.values() for s in slots_of(part)))

    @property
    def reads(self) -> tuple[str, ...]:
        """Addresses of steps whose facts the prompt reads."""
        return tuple(dict.fromkeys(s for part in self.parts.values() for s in reads_of(part)))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that a part of the prompt is set to."""
        named = (getattr(part.settings, "task", "") for part in self.parts.values())
        return tuple(dict.fromkeys(t for t in named if t and isinstance(t, str)))

    def needed(self, stage: Stage | None = None) -> list[str]:
        """Steps that have to run, in running order: for a stage's objective, or for the prompt."""
        return self.upstream(stage.objective if stage is not None else "")

    def upstream(self, objective: str = "") -> list[str]:
        """Steps that an objective leans on, itself included; without one, those that the prompt leans on."""
        if objective:
            return self.graph.upstream([objective] if objective in self.graph.steps else [])
        ends = [self.graph.ends[s].step for s in self.slots if s in self.graph.ends]
        return self.graph.upstream([*ends, *(a for a in self.reads if a in self.graph.steps)])


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
