"""The records of a checked recipe: what is used, the graph, what trains in each stage."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from affectkit import files
from affectkit.heads import HEADS
from affectkit.pieces import AsksNumbers, Survey
from affectkit.plan.graph import CachePlan, Graph, cache_plan_of
from affectkit.plan.use import Use, reads_of, slots_of, task_of, task_of_head
from affectkit.recipe.marked_yaml import Path_
from affectkit.recipe.recipe import Recipe
from affectkit.recipe.sections import RunSettings, ScoreSettings, StageSettings
from affectkit.registry import Registry
from affectkit.sample import LABEL, LABELS, NUMBERS

MODEL, LORA = "backbone.model", "backbone.lora"
CANDIDATES, GENERATE = "candidates", "generate"
"""How an LLM answers: the likeliest of given answers, or a text of its own."""


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
        """Steps that have to run, in running order: for a stage's objective, or for the prompt."""
        return self.upstream(stage.objective if stage is not None else "")

    def upstream(self, objective: str = "") -> list[str]:
        """Steps that an objective depends on, itself included; without one, those that the prompt depends on."""
        if objective:
            return self.graph.upstream([objective] if objective in self.graph.steps else [])
        heads = [f"{HEADS}.{name}" for name in self.heads] if self.alone else []
        return self.graph.upstream([*self._ends(), *(a for a in self.reads if a in self.graph.steps), *heads])

    def _ends(self) -> list[str]:
        """The last steps of the streams that the prompt names."""
        return [self.graph.ends[s].step for s in self.slots if s in self.graph.ends]

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
        if head or (self.alone and stage is None):
            asked = [f"{HEADS}.{name}" for name in ([head] if head else self.heads)]
            return cache_plan_of(self.graph, self.graph.upstream(asked), moving, (), asked)
        if stage and stage.objective:
            return cache_plan_of(self.graph, self.needed(stage), moving, (), [stage.objective])
        return cache_plan_of(self.graph, self.needed(), moving, self.reads, self._ends())
