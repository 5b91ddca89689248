"""Faults of a recipe that show only once its modules are built. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from affectkit.errors import InputError, Problem
from affectkit.marked_yaml import Path_
from affectkit.pieces import Piece
from affectkit.plan import Plan
from affectkit.uses import at_key


@contextmanager
def told_at(plan: Plan, path: Path_, piece: Piece) -> Iterator[None]:
    """Give what a piece tells of its weights or settings while it is built their place in the recipe."""
    try:
        yield
    except InputError as error:
        raise InputError([at_key(plan.recipe, problem, path, piece) for problem in error.problems]) from error


def check_told(plan: Plan, address: str, module: object) -> None:
    """Raise InputError where a stage wants the loss of a step, or the prompt its facts, and the module has none.

    `check` takes a piece's word for both; a sentence on age and gender would go missing without a trace.
    """
    piece = plan.graph.steps[address].piece
    by_stage = any(stage.objective == address for stage in plan.stages.values())
    wanted = {"loss": ("objective=True", by_stage), "facts": ("tells", address in plan.reads)}
    stream, step = address.split(".", 1)
    at = plan.recipe.place(("streams", stream, "steps", step))
    problems = [
        Problem(at, f"the {piece.kind} {piece.name!r} says {said}, and its module has no `{method}`")
        for method, (said, needed) in wanted.items()
        if needed and not hasattr(module, method)
    ]
    if problems:
        raise InputError(problems)


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
