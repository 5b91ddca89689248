"""The records of a checked recipe: what is used, the graph, what trains in each stage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from affectkit import files
from affectkit.heads import HEADS, wants
from affectkit.pieces import AsksNumbers, NamesHeads, NamesRatings, Survey
from affectkit.plan.graph import CachePlan, Graph, Step, cache_plan_of
from affectkit.plan.references import HIDDEN, Ref
from affectkit.plan.use import Use, reads_of, slots_of, task_of, task_of_head
from affectkit.recipe.marked_yaml import Path_
from affectkit.recipe.recipe import Recipe
from affectkit.recipe.sections import RunSettings, ScoreSettings, StageSettings
from affectkit.registry import Registry
from affectkit.sample import LABEL, LABELS, NUMBERS, Sample

MODEL, LORA = "backbone.model", "backbone.lora"
CANDIDATES, GENERATE = "candidates", "generate"
"""How an LLM answers: the likeliest of given answers, or a text of its own."""
YARDSTICK = "yardstick"
"""How the head that is tried beside an LLM is called among the others."""


LLM = "llm"
"""How a stage's mapping of losses calls the LLM's own."""


@dataclass(frozen=True)
class Loss:
    """One of the losses that a stage trains."""

    name: str = ""
    """As the mapping calls it; empty for the only loss of a stage without one."""
    weight: float = 1.0
    own: str = ""
    """Address of the step or head whose own loss it is."""
    objective: Step | None = None
    """The objective that gives it; where there is neither, it is the LLM's loss."""

    @property
    def llm(self) -> bool:
        """Whether it is the LLM's own."""
        return not self.own and self.objective is None

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads that it looks at."""
        if self.objective is not None:
            settings = self.objective.settings
            return tuple(settings.heads()) if isinstance(settings, NamesHeads) else ()
        return (self.own.removeprefix(f"{HEADS}."),) if self.own.startswith(f"{HEADS}.") else ()


@dataclass(frozen=True)
class Stage:
    """One stage, with its globs resolved."""

    name: str
    settings: StageSettings
    data: Use
    trains: tuple[str, ...]
    """Addresses that train: steps (`scene.miner`), `backbone.model` and `backbone.lora`, objectives of its own."""
    mixed: tuple[Loss, ...] = ()
    """Its losses, where its objective is a mapping of them."""

    @property
    def objective(self) -> str:
        """Address of the step or head whose own loss is all that counts; empty = the LLM's loss, or several."""
        return "" if isinstance(self.settings.objective, dict) else self.settings.objective

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What it trains: at least one loss."""
        return self.mixed or (Loss(own=self.objective),)

    @property
    def llm(self) -> bool:
        """Whether the LLM's own loss is among them."""
        return any(loss.llm for loss in self.losses)


@dataclass(frozen=True)
class Plan:
    """A recipe, read and checked. A build returns a new plan with what only built modules know."""

    recipe: Recipe
    registry: Registry
    graph: Graph = field(default_factory=Graph)
    data: Use | None = None
    template: Use | None = None
    parts: Mapping[str, Use] = field(default_factory=dict)
    backbone: Use | None = None
    width: int | None = None
    """The LLM's width; None = known when built."""
    stages: Mapping[str, Stage] = field(default_factory=dict)
    metrics: Mapping[str, Use] = field(default_factory=dict)
    yardstick: Use | None = None
    """The head that is tried on the LLM's frozen features."""
    score: ScoreSettings = field(default_factory=ScoreSettings)
    run: RunSettings = field(default_factory=RunSettings)
    surveys: Mapping[Path_, Survey] = field(default_factory=dict)
    """What each data block, by its path, gave when surveyed; empty where the data was not surveyed."""
    left_out: tuple[str, ...] = ()
    """Addresses of what goes with the streams that are off."""
    unread: bool = False
    """Whether some part of the prompt could not be read: what it would have named is not known."""
    alone: bool = False
    """Whether there is no LLM: the recipe says `backbone: null`, and its heads answer."""
    learns: frozenset[str] | None = None
    """Steps that have parameters; None = known when built, and until then all may have some."""
    reader: Use | None = None
    """Reads labels and ratings from generated texts; None where the recipe's is wrong."""

    @property
    def name(self) -> str:
        """The recipe's name, or its file's."""
        return str(self.recipe.get("name") or Path(self.recipe.source).stem)

    @property
    def cache_folder(self) -> Path:
        """The folder of the feature cache: the recipe's, or the user's."""
        return Path(self.run.cache) if self.run.cache else files.cache_folder()

    @property
    def slots(self) -> tuple[str, ...]:
        """Streams that the prompt names, in prompt order."""
        return tuple(dict.fromkeys(s for part in self.parts.values() for s in slots_of(part)))

    @property
    def reads(self) -> tuple[str, ...]:
        """Addresses of steps whose facts the prompt reads."""
        return tuple(dict.fromkeys(s for part in self.parts.values() for s in reads_of(part)))

    @property
    def heads(self) -> dict[str, str]:
        """The heads that are right, by name, each with the task that it answers."""
        steps = self.graph.steps.values()
        return {s.name: task_of_head(s.piece, s.settings) for s in steps if s.stream == HEADS}

    def ratings(self, head: str) -> tuple[str, ...]:
        """Those that a head answers; none for all that its data has."""
        settings = self.graph.steps[f"{HEADS}.{head}"].settings
        return tuple(settings.numbers) if isinstance(settings, NamesRatings) else ()

    def wants(self, head: str) -> Callable[[Sample], bool]:
        """Whether a sample has what a head learns from."""
        task, ratings = self.heads[head], self.ratings(head)
        return lambda sample: wants(task, sample, ratings)

    @property
    def answered(self) -> tuple[str, ...]:
        """Tasks that the prompt asks or a head answers."""
        return tuple(dict.fromkeys((*self.tasks, *self.heads.values())))

    @property
    def main_task(self) -> str:
        """What the recipe answers first of all: a label where it can, else several, else ratings, else its first task."""
        return next((t for t in (LABEL, LABELS, NUMBERS, *self.answered) if t in self.answered), LABEL)

    def method(self, task: str) -> str:
        """Who answers a task, as `Query` names it: `candidates` and `generate` are the LLM's, all else is a head's name."""
        own = [name for name, answered in self.heads.items() if answered == task]
        if self.score.method in own:
            return self.score.method
        if task == LABEL and self.score.method in (CANDIDATES, GENERATE) and not self.alone:
            return self.score.method
        if self.alone or (own and task not in self.tasks):
            return own[0] if own else ""
        return CANDIDATES if task == LABEL else GENERATE

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that a part of the prompt is set to."""
        return tuple(dict.fromkeys(task for part in self.parts.values() if (task := task_of(part))))

    def needed(self, stage: Stage | None = None) -> list[str]:
        """Steps that have to run, in running order: for a stage's losses, or for an answer."""
        ends = [ref.step for ref in self.ends(stage) if ref != HIDDEN]
        told = [a for a in self.reads if a in self.graph.steps] if stage is None or self.asks(stage) else []
        return self.graph.upstream([*ends, *told])

    def asks(self, stage: Stage) -> bool:
        """Whether a stage puts its samples into the prompt: for the LLM's own loss, or for its hidden state."""
        return stage.llm or any(
            any(map(self.reads_hidden, loss.heads))
            or (loss.objective is not None and HIDDEN in loss.objective.inputs.values())
            for loss in stage.losses
        )

    def reads_hidden(self, head: str) -> bool:
        """Whether a head of that name reads the LLM's hidden state."""
        step = self.graph.steps.get(f"{HEADS}.{head}")
        return step is not None and HIDDEN in step.inputs.values()

    def asked(self, task: str) -> str | None:
        """The task that the prompt asks for answers to `task`: itself, or that of a head which reads the LLM's hidden state; None
        where a head answers that reads no prompt."""
        head = self.method(task)
        if head not in self.heads:
            return task
        return self.task_of(head) if self.reads_hidden(head) else None

    def task_of(self, head: str) -> str:
        """The task behind whose prompt a head reads the LLM's hidden state: its own, or else the first of the prompt."""
        own = self.heads[head]
        return own if own in self.tasks else next(iter(self.tasks), own)

    def ends(self, stage: Stage | None = None) -> list[Ref]:
        """The blocks that a stage's losses read; without one, those that an answer does."""
        steps, found = self.graph.steps, list[Ref]()
        if stage is None or self.asks(stage):
            found += [self.graph.ends[s] for s in self.slots if s in self.graph.ends]
        if stage is None:
            found += [self.graph.main(f"{HEADS}.{name}") for name in self.heads] if self.alone else []
            return found
        for loss in stage.losses:
            own = [loss.own, *(f"{HEADS}.{name}" for name in loss.heads)]
            found += [self.graph.main(a) for a in dict.fromkeys(own) if a in steps]
            found += loss.objective.inputs.values() if loss.objective else ()
        return found

    def learning(self, addresses: Iterable[str]) -> list[str]:
        """Those of some addresses that can learn: a step without parameters is frozen whatever a glob says."""
        steps = self.graph.steps
        return [a for a in addresses if a not in steps or self.learns is None or a in self.learns]

    def scales(self, task: str) -> Mapping[str, tuple[float, float]]:
        """The ratings that the prompt asks for in a task, each with the ends of its scale."""
        parts = [use.settings for use in self.parts.values() if task_of(use) == task]
        return {n: ends for asks in parts if isinstance(asks, AsksNumbers) for n, ends in asks.scales().items()}

    def demand(self, stage: Stage | None = None, changing: Collection[str] = (), head: str = "") -> CachePlan:
        """What a stage (without one: an answer to the prompt, or of a `head`) needs of the frozen steps; `changing` names more
        steps that are not to be taken for frozen."""
        moving = self.learning([*changing, *(stage.trains if stage else ())])
        if head:
            asks = self.reads_hidden(head)
            ends = [self.graph.main(f"{HEADS}.{head}"), *(self.ends() if asks else ())]
            reads = self.reads if asks else ()
            return cache_plan_of(
                self.graph, self.graph.upstream([*(r.step for r in ends), *reads]), moving, reads, ends
            )
        reads = self.reads if stage is None or self.asks(stage) else ()
        return cache_plan_of(self.graph, self.needed(stage), moving, reads, self.ends(stage))
