"""The losses of a stage whose objective is a mapping: what gives each, its weight, and what is wrong with that. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affectkit.heads import HEADS
from affectkit.objectives import OBJECTIVES
from affectkit.pieces import ReadsWords
from affectkit.plan.graph import BlockFinder, Step, question_steps
from affectkit.plan.plan import LLM, Loss
from affectkit.plan.references import Addresses, path_of
from affectkit.plan.use import Checker
from affectkit.recipe.marked_yaml import WRONG, Path_, items
from affectkit.recipe.sections import at_least
from affectkit.recipe.settings import read

if TYPE_CHECKING:
    from affectkit.plan.plan import Plan


@dataclass(frozen=True)
class LossSettings:
    """What a loss says beside the settings of its objective."""

    weight: float = 1.0
    """What its mean is multiplied by before the losses of a stage are added."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return at_least(self, 0, "weight")


def read_losses(plan: Plan, checker: Checker, stage: str) -> tuple[Loss, ...] | None:
    """The losses of a stage; None where one of them is wrong."""
    path: Path_ = ("stages", stage, "objective")
    written = [(name, block) for name, block in items(plan.recipe.get(*path)) if block is not None]
    reader = _LossReader(plan, checker, stage)
    losses = [reader.read(str(name), block) for name, block in written]
    if not written:
        known = (LLM, *plan.registry.names("objective"))
        fix = "write {llm: 1.0, NAME: {use: …, weight: …}}, or the name of a step or head alone"
        checker.problem(path, "names no loss", fix, known)
    right = tuple(loss for loss in losses if loss is not None)
    if right and not any(loss.weight for loss in right) and len(right) == len(losses):
        checker.problem(path, "the weight of every loss is 0: nothing would be learned", "give one a weight above 0")
    return right if right and len(right) == len(losses) else None


class _LossReader:
    """Reads the losses of one stage."""

    def __init__(self, plan: Plan, checker: Checker, stage: str) -> None:
        self.plan, self.checker, self.stage = plan, checker, stage
        self.names = Addresses(checker, {n: v.shape.kind for n, v in plan.graph.views.items()})
        self.finder = BlockFinder(checker, plan.graph, plan.width)

    def read(self, name: str, block: Any) -> Loss | None:
        """One loss, or None where it is wrong."""
        address = f"{OBJECTIVES}.{self.stage}.{name}"
        path = path_of(address)
        if block is WRONG or not self.checker.is_name(path, "loss"):
            return None
        if name == LLM:
            return self._llm(path, block)
        if not isinstance(block, Mapping | str):
            fix = f"write {name}: {{use: …, weight: …}}"
            known = self.plan.registry.names("objective")
            self.checker.problem(
                path, f"only {LLM!r} is written as a weight alone; {name!r} names an objective", fix, known
            )
            return None
        use = self.checker.block(path, "objective", leave=("weight",))
        block = block if isinstance(block, Mapping) else {}
        weight = {"weight": block["weight"]} if "weight" in block else {}
        told = self.checker.settings(LossSettings, weight, path)
        piece = use.piece if use else self.checker.in_part(path, "objective")
        inputs = self.names.inputs(address, piece, block) if piece else None
        if piece is None or told is None or inputs is None:
            return None
        source, settings = self.checker.registry.source_of(piece), use.settings if use else None
        step = self.finder.settle(Step(address, piece, settings, inputs, {}, {}, "none", source))
        loss = Loss(name, told.weight, objective=step)
        return loss if step is not None and self._wired(loss, step, path) else None

    def _llm(self, path: Path_, weight: Any) -> Loss | None:
        """The LLM's own loss."""
        made, wrong = read(LossSettings, {"weight": weight}, lambda below: self.plan.recipe.place(path))
        self.checker.problems += wrong
        if made is not None and self.plan.alone:
            self.checker.problem(path, "there is no LLM whose loss could be trained", "leave it out, or name an LLM")
            return None
        return None if made is None else Loss(LLM, made.weight)

    def _wired(self, loss: Loss, step: Step, path: Path_) -> bool:
        """Whether what a loss looks at can be had: blocks with a row a sample, heads that there are, an LLM for its words."""
        plan, before = self.plan, len(self.checker.problems)
        for port, ref in step.inputs.items():
            if ref.view:
                known = [f"{a}.{b}" for a, one in plan.graph.steps.items() for b in one.shapes]
                self.checker.problem(
                    (*path, port), f"{ref} is a view, and an objective reads blocks", "name a block", known
                )
        written = [str(name) for name, _ in items(plan.recipe.get(HEADS))]
        for head in loss.heads:
            if head not in plan.heads and head not in written:
                self.checker.unknown(
                    self._key(path, head), "head", head, plan.heads, "" if plan.heads else "add it to `heads`"
                )
        if isinstance(step.settings, ReadsWords) and step.settings.reads_words() and plan.alone:
            what = f"the objective {step.piece.name!r} reads the LLM's word embeddings, and there is no LLM"
            self.checker.problem(path, what, "take another objective, or name an LLM")
        ends = [r.step for r in step.inputs.values() if r.step in plan.graph.steps]
        ends += [f"{HEADS}.{head}" for head in loss.heads if head in plan.heads]
        running = plan.graph.upstream(ends)
        for asked in question_steps(plan.graph, running)[:1]:
            what = f"depends on {asked}, which reads the words of each turn: an objective wants one row a sample"
            self.checker.problem(path, what, "name a block in front of it")
        return len(self.checker.problems) == before and all(head in plan.heads for head in loss.heads)

    def _key(self, path: Path_, head: str) -> Path_:
        """The key of a loss under which a head is named, or the loss."""
        return next(((*path, k) for k, v in items(self.plan.recipe.get(*path)) if v == head), path)
