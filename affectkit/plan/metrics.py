"""Which answers of a model a metric scores, read from its settings. Imports neither torch nor numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from affectkit.errors import Problem
from affectkit.pieces import AsksTask, ComparesTasks, MayAskClient, ReadsColumns
from affectkit.plan.plan import CANDIDATES, GENERATE
from affectkit.plan.use import Checker, Use
from affectkit.recipe.marked_yaml import Path_, items
from affectkit.recipe.sections import ScoreSettings
from affectkit.sample import LABEL, LABELS, NUMBERS

if TYPE_CHECKING:
    from affectkit.plan.plan import Plan

Query = tuple[str, str]
"""(task, method): `("label", "candidates")`, `("reason", "generate")`."""


def query_of(settings: Any, plan: Plan | None = None) -> Query:
    """Task and method of the answers that a metric of these settings scores; by default labels, as the plan's recipe has them
    answered (without a plan the method is left empty)."""
    task, own = settings.asks() if isinstance(settings, AsksTask) else (LABEL, "")
    return task, own or (plan.method(task) if plan else "")


def references(settings: Any) -> tuple[str, ...]:
    """The tasks whose true text a metric of these settings compares answers with, the first that a sample has; none: the
    task that is asked."""
    return tuple(settings.compares()) if isinstance(settings, ComparesTasks) else ()


def columns_of(settings: Any) -> tuple[str, ...]:
    """The columns of files that a metric of these settings reads, the likeliest first; none: columns of texts."""
    return tuple(settings.columns()) if isinstance(settings, ReadsColumns) else ()


def read_metrics(checker: Checker) -> dict[str, Use]:
    """The metrics of a recipe that are right, each with the client that it asks; those set to null are not there."""
    found: dict[str, Use] = {}
    for name, block in items(checker.recipe.get("score", "metrics")):
        at: Path_ = ("score", "metrics", name)
        use = checker.block(at, "metric") if block is not None else None
        if use is None or not isinstance(name, str):
            continue
        if wants_client(use) and use.settings.client is not None:
            use = replace(use, client=checker.block((*at, "client"), "client"))
        found[name] = use
    return found


def check_metrics(plan: Plan, checker: Checker) -> None:
    """Report metrics whose task no part of the prompt asks, and those that need a client and name none."""
    answered = plan.answered
    if plan.score.method not in (CANDIDATES, GENERATE, *plan.heads) and not plan.graph.partial:
        checker.unknown(("score", "method"), "method", plan.score.method, (CANDIDATES, GENERATE, *plan.heads))
    for name, use in plan.metrics.items():
        at = ("score", "metrics", name)
        task, _ = query_of(use.settings, plan)
        if task not in answered and plan.heads and not plan.tasks:
            what = f"the metric {use.piece.name!r} scores the task {task!r}, which no head answers"
            checker.problem(at, what, "add a head that does, or take this metric out", answered)
        elif task not in answered and plan.tasks and (task != LABEL or NUMBERS in answered or LABELS in answered):
            what = f"the metric {use.piece.name!r} scores the task {task!r}, which no part of the prompt asks"
            what += " and no head answers" if plan.heads else ""
            checker.problem(at, what, "add a part that does, or take this metric out", answered)
        if wants_client(use) and use.settings.client is None:
            checker.problems.append(no_client(plan.recipe.place(at), use, plan.registry.names("client")))
    check_calibration(plan, checker)


def check_calibration(plan: Plan, checker: Checker) -> None:
    """Report a temperature that would be fitted on samples which the model learned from, or which are scored at it."""
    split, at = plan.score.calibrate, ("score", "calibrate")
    fix = f"name a validation split, such as {ScoreSettings().calibrate}; an empty text fits none"
    if split == "train":
        checker.problem(
            at, "'train' is the split that stages learn from: probabilities there are surer than elsewhere", fix
        )
    elif split in plan.score.splits and split != ScoreSettings().calibrate:
        checker.problem(at, f"the split {split!r} is scored, and a temperature is fitted on other samples", fix)


def wants_client(use: Use) -> bool:
    """Whether a metric asks another model: it has a setting `client`, and no method `wants_client` that says no."""
    if isinstance(use.settings, MayAskClient):
        return bool(use.settings.wants_client())
    return any(f.name == "client" for f in fields(use.settings))


def no_client(place: str, use: Use, known: Sequence[str]) -> Problem:
    """The problem of a metric that asks a model where none is named."""
    what = f"the metric {use.piece.name!r} asks another model, and no client is named"
    return Problem(place, what, "add `client: {use: …}` to it", tuple(known))
