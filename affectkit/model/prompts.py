"""The prompt of a plan, built, and the texts that its stages teach with it. Plain Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from affectkit.data.splits import Splits, open_splits
from affectkit.encode.faults import place_errors
from affectkit.errors import InputError, Problem
from affectkit.model.batch import answers, texts
from affectkit.pieces import Converses
from affectkit.plan.plan import Plan, Stage
from affectkit.plan.use import Use
from affectkit.prompt import Ask, Prompt, PromptPiece, Segment
from affectkit.recipe.marked_yaml import Path_
from affectkit.sample import Sample


def make_prompt(plan: Plan) -> Prompt:
    """The prompt pieces of a plan, built."""
    assert plan.template is not None
    parts = {n: _built_prompt(plan, ("prompt", "parts", n), u) for n, u in plan.parts.items()}
    layouts = getattr(plan.template.settings, "layouts", {})
    talks = tuple(u.settings.count_turns for u in plan.parts.values() if isinstance(u.settings, Converses))
    return Prompt(_built_prompt(plan, ("prompt",), plan.template), parts, layouts, talks)


class BuiltPrompt:
    """A prompt piece, built; another process, to which it may have to travel, builds it anew: it may be a closure."""

    def __init__(self, use: Use) -> None:
        self.use = use
        self.said: PromptPiece = use.piece.build(use.settings)

    def __call__(self, sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        return self.said(sample, ask)

    def __reduce__(self) -> tuple[Any, ...]:
        return BuiltPrompt, (self.use,)


def _built_prompt(plan: Plan, path: Path_, use: Use) -> PromptPiece:
    with place_errors(plan, path, use.piece, f"the settings {use.settings}"):
        return BuiltPrompt(use)


def corpus(plan: Plan, splits: Mapping[str, Splits] | None = None) -> Iterator[str]:
    """Texts of every stage that trains the LLM's loss; `splits` are those of the stages, where they are open already."""
    prompt = None if plan.alone else make_prompt(plan)
    for name, stage in plan.stages.items():
        if plan.asks(stage) and prompt is not None:
            data = splits[name] if splits else open_splits(plan, stage)
            yield from texts(plan, prompt, data.train, data.labels, list(stage.settings.tasks), plan.run.seed)


def check_answers(plan: Plan, stage: Stage, splits: Splits) -> list[str]:
    """Notices of the stage's tasks to which no training sample has an answer: such a row teaches nothing. Raises InputError
    where that is so of all tasks."""
    if not stage.llm:
        return []
    prompt, tasks = make_prompt(plan), stage.settings.tasks
    without = [t for t in tasks if not answers(plan, prompt, splits.train, splits.labels, t)]
    some = ", ".join(splits.train[i].id for i in range(min(3, len(splits.train))))
    what = f"none of the {len(splits.train)} training samples ({some}, …) has an answer to the task"
    if len(without) == len(tasks):
        place = plan.recipe.place(("stages", stage.name, "tasks"))
        fix = "train another task, or give the data set these answers"
        raise InputError([Problem(place, f"{what} {task!r}", fix) for task in without])
    return [f"stage {stage.name}: {what} {task!r}: asking it teaches nothing" for task in without]
