"""The stages of a recipe: what trains in each, on which data, for which tasks; and what is wrong with that. No torch."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from affectkit.errors import nearest
from affectkit.heads import HEADS
from affectkit.plan.losses import read_losses
from affectkit.plan.plan import LORA, MODEL, Loss, Stage
from affectkit.plan.use import NO_STREAMS, Checker, spelled_out
from affectkit.recipe.marked_yaml import WRONG, Path_, items
from affectkit.recipe.sections import StageSettings

if TYPE_CHECKING:
    from affectkit.plan.plan import Plan


def addresses(plan: Plan) -> list[str]:
    """Everything that can train in any stage, as written."""
    return [*plan.graph.written, *(() if plan.alone else (MODEL, LORA))]


def matching(pattern: str, known: Sequence[str]) -> list[str]:
    """Addresses that a glob names; `streams.` may stand before a step's address, and then names steps alone."""
    if pattern.startswith("streams."):
        pattern, known = pattern.removeprefix("streams."), [a for a in known if a.split(".")[0] not in NO_STREAMS]
    return [a for a in known if fnmatch.fnmatchcase(a, pattern) or a.startswith(f"{pattern}.")]


def read_stages(plan: Plan, checker: Checker) -> dict[str, Stage]:
    """The stages that are right."""
    stages: dict[str, Stage] = {}
    for name, block in items(plan.recipe.get("stages")):
        if block is not None and block is not WRONG and checker.is_name(("stages", name), "stage"):
            stage = _StageReader(plan, str(name), checker).read(block)
            if stage is not None:
                stages[str(name)] = stage
    return stages


class _StageReader:
    """Reads one stage."""

    def __init__(self, plan: Plan, name: str, checker: Checker) -> None:
        self.plan, self.name, self.checker = plan, name, checker
        self.path = ("stages", name)
        self.own: tuple[str, ...] = ()
        """Addresses of its objectives."""

    def read(self, block: Any) -> Stage | None:
        """The stage, or None where its settings, its data or its objective are wrong."""
        plan = self.plan
        told = spelled_out(self.path, block)
        made = self.checker.settings(StageSettings, told, self.path)
        if made is None:
            self._rest(told)
            return None
        data = plan.data
        if made.data is not None:
            data = self.checker.block((*self.path, "data"), "dataset")
            made = replace(made, data=data.block() if data else {})
        losses: tuple[Loss, ...] | None = ()
        if isinstance(made.objective, dict):
            losses = read_losses(plan, self.checker, self.name)
        elif made.objective and made.objective not in plan.graph.written:
            if not plan.graph.partial:
                self.checker.unknown((*self.path, "objective"), "step", made.objective, plan.graph.written)
            losses = None
        self.own = tuple(loss.objective.address for loss in losses or () if loss.objective)
        trains = self._trains(made)
        self._rates(made)
        if losses is None:
            return None
        if losses:
            blocks = {
                one.name: {**plan.graph.block(one.objective), "weight": one.weight} if one.objective else one.weight
                for one in losses
            }
            made = replace(made, objective=blocks)
        right = tuple(dict.fromkeys(a for a in (*trains, *self.own) if _is_right(plan, a) or a in self.own))
        stage = Stage(self.name, made, data, right, losses)  # type: ignore[arg-type]  # without data it goes no further
        if plan.asks(stage):
            self._facts(trains)
            self._tasks(made)
            if plan.alone:
                known = [f"{HEADS}.{name}" for name in plan.heads]
                self._problem((), "a stage trains a head's loss where there is no LLM", "say its `objective`", known)
        if not stage.objective or self._has_loss(stage.objective):
            self._idle(stage, trains)
        return None if data is None else stage

    def _rest(self, told: Any) -> None:
        """What is wrong with the names that a stage gives, where others of its settings cannot be read."""
        named = {key: told[key] for key in ("train", "data", "lrs", "tasks") if isinstance(told, dict) and key in told}
        alone = Checker(self.plan.recipe, self.plan.registry)  # whose problems were told with the whole block
        right = {k: v for k, v in named.items() if alone.settings(StageSettings, {"train": ["*"], k: v}, self.path)}
        made = alone.settings(StageSettings, {"train": ["*"], **right}, self.path)
        if made is None:
            return
        if "train" in right:
            self._trains(made)
        if made.data is not None:
            self.checker.block((*self.path, "data"), "dataset")
        self._rates(made)
        if "tasks" in right:
            self._tasks(made)

    def _problem(self, below: Path_, what: str, fix: str = "", known: Sequence[str] = ()) -> None:
        self.checker.problem((*self.path, *below), what, fix, known)

    def _trains(self, made: StageSettings) -> tuple[str, ...]:
        trains: list[str] = []
        for i, pattern in enumerate(made.train):
            hits = self._hits(pattern, ("train", i))
            trains += hits
            backbone = self.plan.backbone
            if hits == [LORA] and backbone and getattr(backbone.settings, "lora", LORA) is None:
                fix = "give the backbone `lora: {}`, or train backbone.model"
                self._problem(("train", i), "backbone.lora trains here, but the backbone has no LoRA", fix)
        return tuple(dict.fromkeys(trains))

    def _rates(self, made: StageSettings) -> None:
        for pattern, rate in made.lrs.items():
            self._hits(pattern, ("lrs", pattern))
            if not rate > 0:
                self._problem(("lrs", pattern), f"a learning rate must be above 0, got {rate}")

    def _hits(self, pattern: str, below: Path_) -> list[str]:
        known = [*addresses(self.plan), *self.own]
        hits = matching(pattern, known)
        if not hits and not self.plan.graph.partial and not _is_removed(self.plan, pattern):
            start = "streams." if pattern.startswith("streams.") else ""
            globs = [f"*.{a.split('.')[1]}" for a in self.plan.graph.written] if "*" in pattern else []
            close = nearest(pattern.removeprefix("streams."), [*known, *self.plan.graph.reads, *globs])
            fix = f"did you mean {start + close!r}?" if close else ""
            self._problem(below, f"nothing has an address like {pattern!r}", fix, known)
        return hits

    def _idle(self, stage: Stage, trains: Sequence[str]) -> None:
        """What trains must be used: a name written out, or else something of what the globs name."""
        plan = self.plan
        if any(not _is_right(plan, a) for a in plan.graph.written) or plan.unread or plan.graph.partial or not trains:
            return
        running = {*plan.needed(stage), *self.own, *((MODEL, LORA) if plan.asks(stage) else ())}
        user = f"the objective {stage.objective}" if stage.objective else "the prompt"
        user = f"its objective ({', '.join(loss.name for loss in stage.mixed)})" if stage.mixed else user
        made = stage.settings
        named = {p.removeprefix("streams.") for p in made.train}
        for address in trains:
            if address in named and address not in running:
                i = next(i for i, p in enumerate(made.train) if p.removeprefix("streams.") == address)
                self._problem(("train", i), f"{address} trains here, but {user} does not use it", "leave it out")
        if not running & set(trains) and not named & set(trains):
            self._problem(("train",), f"nothing that trains here is used by {user}", "", sorted(running))

    def _has_loss(self, objective: str) -> bool:
        """Whether an objective is a step with a loss of its own, as far as that step is right."""
        steps = self.plan.graph.steps
        if objective not in steps or steps[objective].piece.objective or steps[objective].stream == HEADS:
            return True
        piece = steps[objective].piece
        known = [a for a, step in steps.items() if step.piece.objective or step.stream == HEADS]
        fix = "name a step that has one" if known else "leave it out, so that the LLM's loss counts"
        fix += f", or set stages.{self.name} to null"
        what = f"{objective} is the {piece.kind} {piece.name!r}, which has no loss of its own"
        self._problem(("objective",), what, fix, known)
        return False

    def _facts(self, trains: Sequence[str]) -> None:
        """Words of the prompt that come from a step must not change while the LLM learns to read them."""
        graph = self.plan.graph
        for address in (a for a in self.plan.reads if a in graph.steps and graph.steps[a].tells):
            trained = [a for a in graph.upstream([address]) if a in trains]
            if trained:
                what = (
                    f"the prompt reads facts of {address}, but {', '.join(trained)} still trains in this stage: "
                    "its words would change under the LLM"
                )
                self._problem(("train",), what, f"train {trained[0]} in a stage before, by its own objective")

    def _tasks(self, made: StageSettings) -> None:
        known = self.plan.tasks
        for task, share in made.tasks.items():
            if not share > 0:
                self._problem(("tasks", task), f"the share of task {task!r} must be above 0, got {share}")
            if task not in known and not self.plan.unread and known:
                self.checker.unknown((*self.path, "tasks", task), "task", task, known, _ADD)
        if not made.tasks:
            self._problem(("tasks",), "a stage asks at least one task, or has an objective", "", known)


_ADD = "else add a part with that `task` to the prompt"


def _is_removed(plan: Plan, pattern: str) -> bool:
    """Whether a pattern names a stream or step that is set to null: what a base recipe trains may be taken out."""
    stream, _, step = pattern.removeprefix("streams.").partition(".")
    streams = dict(items(plan.recipe.get("streams")))
    steps = dict(items(plan.recipe.get("streams", stream, "steps")))
    return (stream in streams and streams[stream] is None) or (step in steps and steps[step] is None)


def _is_right(plan: Plan, address: str) -> bool:
    return address in plan.graph.steps or address in (MODEL, LORA)
