"""A recipe, checked: every block read into its piece's settings, the graph wired, what trains in each stage. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from affectkit import weights
from affectkit.errors import InputError, Problem
from affectkit.heads import HEADS
from affectkit.plan import graph as graphs
from affectkit.plan.graph import wire
from affectkit.plan.metrics import check_metrics, read_metrics
from affectkit.plan.numbers import number_problems, size_problems, source_problems
from affectkit.plan.plan import CANDIDATES, GENERATE, YARDSTICK, Plan, Stage
from affectkit.plan.references import path_of, words_in
from affectkit.plan.slots import check_layouts, check_slots
from affectkit.plan.stages import matching, read_stages
from affectkit.plan.survey import survey_data
from affectkit.plan.use import Checker, Use, reader_of, task_of_head
from affectkit.recipe.load import RecipeSource, find, load_recipe
from affectkit.recipe.marked_yaml import WRONG, items, walk
from affectkit.recipe.recipe import Recipe
from affectkit.recipe.sections import RunSettings, ScoreSettings
from affectkit.registry import Registry
from affectkit.sample import LABEL, LABELS, NUMBERS

__all__ = ["Plan", "Stage", "Use", "check", "check_slots", "matching", "plan_recipe"]


S = TypeVar("S")
READER = ("score", "reader")
MOST_PROBLEMS = 50
"""More than a person reads."""


def check(
    source: RecipeSource,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
    data: bool = False,
) -> Plan:
    """Read and check a recipe (whatever `load_recipe` takes) without torch. Raises InputError with every problem that was found,
    in order.

    With `data` the data sets are surveyed too, as far as that needs no decoding: files, columns, splits, labels.
    """
    recipe = load_recipe(source, overrides)
    problems: list[Problem] = []
    named = _plugin_files(recipe, trust, problems)
    registry = Registry.load([*plugins, *named])
    asked = {str(f) for f in (*plugins, *named)}  # an installed plugin may be broken; one that is asked for may not
    problems += [
        Problem(p.source, why, p.disable()) for p in registry.plugins if p.source in asked for _, why in p.broken
    ]
    plan, found = plan_recipe(recipe, registry)
    if data:
        plan = replace(plan, surveys=survey_data(plan, found))
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
    checker = Checker(recipe, registry, list(recipe.problems))
    if recipe.broken:
        return Plan(recipe, registry), checker.problems
    left_out = tuple(leave_out(checker))
    run = _section(checker, "run", RunSettings)
    with weights.using(run.weights):  # a source that is not read need not be right
        return _planned(checker, run, left_out)


def _planned(checker: Checker, run: RunSettings, left_out: tuple[str, ...]) -> tuple[Plan, list[Problem]]:
    """The plan of what a recipe says beside `run`."""
    recipe, registry = checker.recipe, checker.registry
    score = _section(checker, "score", ScoreSettings)
    data = _piece(checker, "data", "dataset")
    alone = "backbone" in recipe.values and recipe.get("backbone") is None  # heads without an LLM
    backbone = None if alone else _piece(checker, "backbone", "backbone")
    width = _width(checker, backbone)
    graph = wire(checker, width)
    plan = Plan(recipe, registry, graph, data, None, {}, backbone, width, run=run, score=score, left_out=left_out)
    plan = _without_llm(replace(plan, alone=True), checker) if alone else _with_prompt(plan, checker)
    check_slots(plan, checker)
    plan = replace(plan, stages=read_stages(plan, checker))
    if not _dangling(plan):
        _check_use(plan, checker)
    reader = checker.block(READER, "reader") if recipe.get(*READER) is not None else reader_of(registry, score.reader)
    metrics, yardstick = read_metrics(checker), _yardstick(plan, checker)
    score = replace(score, metrics={name: use.block() for name, use in metrics.items()})
    score = replace(score, yardstick=yardstick.block() if yardstick else None)
    score = replace(score, reader=reader.block()) if reader else score
    plan = replace(plan, metrics=metrics, score=score, reader=reader, yardstick=yardstick)
    check_metrics(plan, checker)
    checker.problems += (
        number_problems(plan, plan.run.accelerator == "cpu") + source_problems(plan) + size_problems(plan)
    )
    return plan, recipe.in_order(checker.problems)


def _yardstick(plan: Plan, checker: Checker) -> Use | None:
    """The head that is tried beside the LLM: the one that the recipe names, else the usual one, set to what the LLM answers."""
    at = ("score", YARDSTICK)
    for name in (YARDSTICK, CANDIDATES, GENERATE):
        if checker.recipe.get(HEADS, name) is not None:
            checker.problem(
                (HEADS, name), f"{name!r} says already how else a label is found", "call the head otherwise"
            )
    score = checker.recipe.get("score")
    if isinstance(score, Mapping) and "yardstick" in score:
        named = None if score["yardstick"] is None else checker.block(at, "head")
        task = task_of_head(named.piece, named.settings) if named else ""
        if named and task not in plan.tasks and {*plan.tasks} & {LABEL, LABELS, NUMBERS}:
            what = f"the head {named.piece.name!r} answers {task}, and the LLM is asked for {' and '.join(plan.tasks)}"
            checker.problem(at, what, "name a head that answers the same, or null for none")
        return named
    usual = ScoreSettings().yardstick or {}
    piece = checker.registry.find("head", str(usual.get("use")))
    if piece is None:
        return None
    made = Use(piece, piece.settings())
    own = task_of_head(piece, made.settings)
    asked = next((task for task in (own, LABELS, NUMBERS) if task in plan.tasks), own)
    settable = asked != own and any(f.name == "answer" for f in fields(piece.settings))
    return Use(piece, piece.settings(answer=asked)) if settable else made


def with_width(plan: Plan, width: int) -> Plan:
    """The plan, with the width of the LLM as it turned out when built.

    Raises InputError where a piece cannot be of that width, or a stream that the prompt names does not end in it.
    """
    checker = Checker(plan.recipe, plan.registry)
    plan = replace(plan, width=width, graph=graphs.with_width(plan.graph, checker, width))
    check_slots(plan, checker)
    if checker.problems:
        raise InputError(checker.problems)
    return plan


def _section(checker: Checker, key: str, cls: type[S]) -> S:
    """The settings of a section; its defaults where it is missing or wrong."""
    values = checker.recipe.get(key)
    made = None if values is None or values is WRONG else checker.settings(cls, values, (key,))
    return cls() if made is None else made


def _piece(checker: Checker, key: str, kind: str) -> Use | None:
    """The piece of a section that is a block."""
    if checker.recipe.get(key) is None:
        fix = f"add `{key}: {{use: …}}`"
        checker.problem((), f"the section {key!r} is missing", fix, checker.registry.names(kind))
        return None
    return checker.block((key,), kind)


def _width(checker: Checker, backbone: Use | None) -> int | None:
    """The LLM's width, where the backbone knows it without being built."""
    if backbone is None or backbone.piece.shapes is None:
        return None
    try:
        return backbone.piece.shapes(backbone.settings, {}, None)["llm"].width
    except Exception as error:  # a config.json of somebody's, or a stranger's piece
        why = error.problems[0].what if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        what = f"the width of the backbone {backbone.piece.name!r} cannot be worked out: {why}"
        checker.problem(("backbone",), what)
        return None


def _with_prompt(plan: Plan, checker: Checker) -> Plan:
    """The plan with the template and the parts of its prompt that are right; those set to null are not there."""
    prompt = plan.recipe.get("prompt")
    plan = replace(plan, unread=True)
    if prompt is WRONG:
        return plan
    if not prompt:
        fix = "add `prompt: {use: …, parts: {…}}`"
        checker.problem((), "the section 'prompt' is missing", fix, plan.registry.names("prompt"))
        return plan
    template = checker.block(("prompt",), "prompt", leave=("parts",))
    plan = replace(plan, template=template)
    parts = plan.recipe.get("prompt", "parts")
    if parts is WRONG:
        return plan
    if not isinstance(parts, Mapping) or all(block is None for block in parts.values()):
        at = ("prompt", "parts") if isinstance(prompt, Mapping) and "parts" in prompt else ("prompt",)
        checker.problem(at, "a prompt has `parts`, a mapping of at least one prompt piece")
        return plan
    written = [name for name, block in items(parts) if block is not None]
    read = {n: checker.block(("prompt", "parts", n), "prompt") for n in written}
    right = {name: use for name, use in read.items() if use is not None and isinstance(name, str)}
    plan = replace(plan, parts=right, unread=len(right) < len(written))
    if not plan.unread and template:
        named = {n: getattr(u.settings, "layout", "") for n, u in plan.parts.items()}
        check_layouts(getattr(template.settings, "layouts", {}), named, checker)
    if not plan.unread and not plan.tasks:
        asking = [p.name for p in plan.registry.pieces("prompt") if getattr(p.settings, "task", "")]
        checker.problem(("prompt", "parts"), "no part of the prompt asks for a task", "add a part that does", asking)
    return plan


def _without_llm(plan: Plan, checker: Checker) -> Plan:
    """The plan of a recipe that says `backbone: null`: its heads answer. Reports what only an LLM has a use for."""
    if not items(plan.recipe.get(HEADS)) or all(block is None for _, block in items(plan.recipe.get(HEADS))):
        fix = "add `heads: {NAME: {use: …, tokens: …}}`, or name an LLM"
        checker.problem(("backbone",), "there is no LLM, and no head that answers", fix, plan.registry.names("head"))
    if plan.recipe.get("prompt") is not None:
        checker.problem(("prompt",), "there is no LLM that a prompt could go to", "set `prompt: null`, or name an LLM")
    for address, step in plan.graph.steps.items():
        if step.piece.kind == "projector":
            what = f"the projector {step.piece.name!r} brings tokens to the LLM's width, and there is no LLM"
            checker.problem(path_of(address), what, "set it to null, or name an LLM")
    return plan


def _dangling(plan: Plan) -> bool:
    """Whether a name leads nowhere: the stream that was meant would seem unused."""
    streams = dict(items(plan.recipe.get("streams")))
    lost = [s for s in plan.slots if streams.get(s) is None] or set(plan.reads) - set(plan.graph.written)
    return bool(lost) or plan.graph.partial or not (plan.parts or plan.heads)


def _check_use(plan: Plan, checker: Checker) -> None:
    """A stream that no prompt, step or stage uses is a mistake, not a style.

    Blocks that are wrong count as users of every stream whose name is in them. Streams that only feed an unused one are
    not reported.
    """
    recipe, reads = plan.recipe, plan.graph.reads
    stages = [v for _, v in items(recipe.get("stages"))]
    said = {*plan.slots, *(a.split(".")[0] for a in plan.reads)}
    aims = [v.get("objective") for v in stages if isinstance(v, Mapping)]
    said |= {_stream(text) for aim in aims for _, text in walk(aim) if isinstance(text, str)}
    if plan.unread:
        wrong = {n: v for n, v in items(recipe.get("prompt", "parts")) if n not in plan.parts}
        said |= words_in(wrong)
    fed = set().union(*reads.values()) if reads else set()
    for stream in reads:
        if stream != HEADS and stream not in said and stream not in fed:
            fix = f"add a part with a slot for {stream!r} to the prompt, or set streams.{stream} to null"
            fix = fix if not plan.alone else f"let a head read it, or set streams.{stream} to null"
            checker.problem(("streams", stream), f"nobody uses the stream {stream!r}", fix)
    _check_heads(plan, checker)


def _check_heads(plan: Plan, checker: Checker) -> None:
    """A head that no stage trains would answer as it began, at random. A recipe without stages evaluates what others trained."""
    written = [block for _, block in items(plan.recipe.get("stages")) if block is not None]
    if not plan.stages or len(plan.stages) < len(written):
        return
    trained = {address for stage in plan.stages.values() for address in stage.trains}
    for name, task in plan.heads.items():
        address = f"{HEADS}.{name}"
        if task not in (LABEL, LABELS, NUMBERS):
            piece = plan.graph.steps[address].piece
            what = f"answers the task {task!r}" if task else "does not say what it answers"
            fix = f"`answers` of a head is one of these; tell its author ({checker.registry.source_of(piece)})"
            checker.problem((HEADS, name), f"the head {piece.name!r} {what}", fix, (LABEL, LABELS, NUMBERS))
        if address not in trained and not getattr(plan.graph.steps[address].settings, "source", ""):
            fix = f"add a stage `{{train: [{address}], objective: {address}}}`, or set {address} to null"
            checker.problem((HEADS, name), f"no stage trains the head {name!r}: it would answer at random", fix)


def leave_out(checker: Checker) -> list[str]:
    """Set to null: streams that are off, streams with a step that reads one of those, prompt parts with a place for one,
    losses that read one, and stages whose objective is in one; returns the addresses of all of them. A problem for each
    stream that is off and was never there."""
    recipe, registry = checker.recipe, checker.registry
    streams = recipe.get("streams")
    if not isinstance(streams, dict):
        return []
    strange = [name for name, value in items(streams) if isinstance(value, Mapping) and set(value) == {"off"}]
    known = [str(name) for name, value in items(streams) if value is not None and name not in strange]
    for name in strange:
        checker.unknown(("streams", name), "stream", str(name), known)
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
    left += [f"prompt.parts.{name}" for name in parts]
    for name, stage in items(recipe.get("stages")):
        losses = stage.get("objective") if isinstance(stage, Mapping) else None
        if isinstance(losses, dict) and any(block is not None for block in losses.values()):
            fewer = _empty(losses, lambda loss: _reads(loss, gone, registry))
            left += [f"stages.{name}.objective.{loss}" for loss in fewer]
            stage["objective"] = losses if any(block is not None for block in losses.values()) else next(iter(gone))
    stages = _empty(recipe.get("stages"), lambda stage: _stream(stage.get("objective")) in gone)
    return [*left, *(f"stages.{name}" for name in stages)]


def _steps(stream: Any) -> list[Mapping[str, object]]:
    """The blocks of a stream's steps that can be read."""
    steps = stream.get("steps") if isinstance(stream, Mapping) else None
    return [block for _, block in items(steps) if isinstance(block, Mapping)]


def _reads(step: Mapping[str, object], gone: set[str | int], registry: Registry) -> bool:
    """Whether a port of a step is filled by one of these streams, named in the block or by the port's own name."""
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
