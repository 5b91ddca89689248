"""Faults of a recipe that show only once its modules are built. Plain torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import nn

from affectkit.errors import InputError, Problem
from affectkit.plan import Plan


def check_built(plan: Plan, steps: Mapping[str, nn.Module], trainable: Collection[str]) -> None:
    """Raise InputError with every stage or prompt part that wants of a module what it does not have.

    `trainable` are the addresses that have parameters.
    """
    problems = []
    for name, stage in plan.stages.items():
        if stage.objective and not hasattr(steps[stage.objective], "loss"):
            piece = plan.graph.steps[stage.objective].piece
            what = f"{stage.objective} is the {piece.kind} {piece.name!r}, which has no loss of its own"
            known = tuple(a for a, module in steps.items() if hasattr(module, "loss"))
            fix = "name a step that has one" if known else "leave the objective out: the LLM's loss is trained then"
            problems.append(Problem(plan.recipe.place(("stages", name, "objective")), what, fix, known))
        if not set(stage.trains) & set(trainable):
            what = f"nothing that trains here has parameters ({', '.join(stage.trains)})"
            known = tuple(trainable)
            problems.append(Problem(plan.recipe.place(("stages", name, "train")), what, "", known))
    for address in plan.reads:
        if not hasattr(steps[address], "facts"):
            piece = plan.graph.steps[address].piece
            what = f"the prompt reads facts of {address}, but the {piece.kind} {piece.name!r} tells none"
            known = tuple(a for a, module in steps.items() if hasattr(module, "facts"))
            problems.append(Problem(plan.recipe.place(("prompt", "parts")), what, "name a step that does", known))
    if problems:
        raise InputError(plan.recipe.in_order(problems))
