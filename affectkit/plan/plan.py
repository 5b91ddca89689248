"""The records of a checked recipe: what is used, the graph, what trains in each stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from affectkit.pieces import Survey
from affectkit.plan.graph import Graph
from affectkit.plan.use import Use, reads_of, slots_of
from affectkit.recipe.marked_yaml import Path_
from affectkit.recipe.recipe import Recipe
from affectkit.recipe.sections import RunSettings, ScoreSettings, StageSettings
from affectkit.registry import Registry

MODEL, LORA = "backbone.model", "backbone.lora"


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
