"""Faults of a recipe that show only once its modules are built. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection

from affectkit.errors import InputError, Problem
from affectkit.plan import Plan


def check_built(plan: Plan, trainable: Collection[str]) -> None:
    """Raise InputError with every stage that trains nothing.

    `trainable` are the addresses that have parameters.
    """
    problems = []
    for name, stage in plan.stages.items():
        if not set(stage.trains) & set(trainable):
            what = f"nothing that trains here has parameters ({', '.join(stage.trains)})"
            known = tuple(trainable)
            problems.append(Problem(plan.recipe.place(("stages", name, "train")), what, "", known))
    if problems:
        raise InputError(plan.recipe.in_order(problems))
