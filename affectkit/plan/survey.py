"""The data of a recipe, looked at before anything of it is made or decoded."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectkit.errors import InputError, Problem, nearest, unknown
from affectkit.heads import HEADS, answerable
from affectkit.pieces import AsksNumbers, NamesRatings, Survey
from affectkit.plan.use import Checker, Use, task_of
from affectkit.recipe import settings as reading
from affectkit.recipe.marked_yaml import Path_
from affectkit.recipe.recipe import Recipe
from affectkit.recipe.sections import ScoreSettings
from affectkit.sample import NUMBERS, Targets

if TYPE_CHECKING:
    from affectkit.plan.plan import Plan

DATA: Path_ = ("data",)


def survey_data(plan: Plan, problems: list[Problem]) -> dict[Path_, Survey]:
    """What each data block of the recipe (by its path) gives when surveyed; what is wrong is appended to `problems`.

    That is: data that is not there or broken, an empty training split, a split to evaluate that there is not, labels
    or ratings that the prompt offers and the data has not; and folders that a run could not write to.
    """
    checker = Checker(plan.recipe, plan.registry, problems)
    asked = {path: (use, tasks, _ask(checker, path, use)) for path, use, tasks in data_blocks(plan)}
    found = {path: told for path, (_, _, told) in asked.items() if told is not None}
    anywhere = [label for told in found.values() for label in told.labels]
    offered: dict[str, Problem] = {}
    trained = any(
        stage.settings.data is None for stage in plan.stages.values()
    )  # else the recipe's data is tested on only
    for path, told in found.items():
        use, tasks, _ = asked[path]
        if told.splits and not told.splits.get("train") and (path != DATA or trained):
            checker.problem(path, f"the split 'train' of data set {use.piece.name!r} is empty", known=_sizes(told))
        own = [*tasks, *plan.tasks] if path == DATA else tasks
        told_of = [*label_problems(plan, told.labels, own, anywhere), *rating_problems(plan, told.numbers, own)]
        told_of += [*head_problems(plan, path, told), *(metric_problems(plan, told) if path == DATA else ())]
        offered.update({p.place: p for p in told_of})
        if told.splits and not told.labels and any(_answers(u) in tasks for u in plan.parts.values()):
            what = "has no labels, but the prompt asks for one and a stage trains its answer"
            checker.problem(path, what, "say which column holds them, or leave the task out")
    problems.extend(offered.values())
    if DATA in found:
        _check_splits(plan, found[DATA], checker)
    _check_folders(plan, checker)
    return found


def _check_folders(plan: Plan, checker: Checker) -> None:
    """Report folders that a run writes to and cannot: runs, and the cache."""
    for key, folder in (("folder", Path(plan.run.folder)), ("cache", plan.cache_folder)):
        there = folder
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            what = f"{folder} cannot be written to: {there} {'is no folder' if not there.is_dir() else 'forbids it'}"
            checker.problem(("run", key), what, f"name another one: run.{key}=…")


def data_blocks(plan: Plan) -> Iterator[tuple[Path_, Use, Sequence[str]]]:
    """Every data block with its path and the tasks that stages train on its samples; the recipe's own first."""
    own = [t for s in plan.stages.values() if s.settings.data is None and plan.asks(s) for t in s.settings.tasks]
    if plan.data is not None:
        yield DATA, plan.data, own
    for name, stage in plan.stages.items():
        if stage.settings.data is not None:
            yield ("stages", name, "data"), stage.data, list(stage.settings.tasks) if plan.asks(stage) else ()


def _ask(checker: Checker, path: Path_, use: Use) -> Survey | None:
    """The survey of a data set, or None with the problems, each with its place in the recipe."""
    piece = use.piece
    if piece.survey is None or checker.registry.problem(piece.kind, piece.name):
        return None
    try:
        return piece.survey(use.settings)
    except InputError as error:
        checker.problems += [at_setting(checker.recipe, path, use, problem) for problem in error.problems]
    except Exception as error:  # a stranger's piece: the mistake must name it, and cost one message
        source = checker.registry.plugin_of(piece).source
        what = f"survey() of the data set {piece.name!r} from {source} failed: {type(error).__name__}: {error}"
        checker.problem(path, what, "tell its author")
    return None


def at_setting(recipe: Recipe, path: Path_, use: Use, problem: Problem) -> Problem:
    """A problem that a data set reported of `data.SETTING`, or of a file that a setting names, with its place in the recipe."""
    place = problem.place
    keys = place.partition(":")[0].split(".")
    if keys[0] == "data" and keys[1:2] and keys[1] in reading.type_hints(use.settings.__class__):
        return dataclasses.replace(problem, place=recipe.place((*path, *keys[1:])))
    field = _names(use.settings, place)
    at = recipe.place((*path, field) if field and isinstance(recipe.get(*path), dict) else path)
    return dataclasses.replace(problem, place=f"{at} ({place})" if place else at)


def _names(settings: Any, place: str) -> str:
    """The setting whose text a place begins with (a file), the longest one; or nothing."""
    texts = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
    texts = {name: t for name, t in texts.items() if isinstance(t, str) and t}
    hits = [n for n, t in texts.items() if place.startswith((t, str(Path(t).expanduser())))]
    return max(hits, key=lambda name: len(texts[name]), default="")


def _sizes(told: Survey) -> tuple[str, ...]:
    return tuple(f"{name} ({n})" for name, n in told.splits.items() if n)


def _check_splits(plan: Plan, told: Survey, checker: Checker) -> None:
    """Report splits to evaluate that the data has not, or that are empty."""
    for i, split in enumerate(plan.score.splits if told.splits else ()):
        if split not in told.splits:
            checker.unknown(("score", "splits", i), "split to evaluate", split, told.splits)
        elif not told.splits[split]:
            fix = "evaluate another one, or let the data's settings fill it"
            checker.problem(("score", "splits", i), f"the split {split!r} is empty", fix, _sizes(told))
    split = plan.score.calibrate
    if told.splits and split not in ("", ScoreSettings().calibrate, *told.splits):  # data may do without the usual one
        checker.unknown(("score", "calibrate"), "split to fit a temperature on", split, told.splits)


def _answers(use: Use) -> str | None:
    """The task of a prompt part that asks for a label; None for other parts."""
    offers = isinstance(getattr(use.settings, "labels", None), tuple)
    return getattr(use.settings, "task", None) if offers else None


def label_problems(
    plan: Plan, labels: Sequence[str], tasks: Sequence[str], anywhere: Sequence[str] = ()
) -> Iterator[Problem]:
    """Labels that a part of the prompt offers for one of these tasks and no data has (neither `labels` nor, of the
    recipe's other blocks, `anywhere` or a setting `labels`), and labels of the data that the part leaves out."""
    known = [
        *labels,
        *anywhere,
        *(n for _, use, _ in data_blocks(plan) for n in getattr(use.settings, "labels", None) or ()),
    ]
    for part, use in plan.parts.items():
        offers = getattr(use.settings, "labels", ())
        if not (labels and offers and _answers(use) in tasks):
            continue
        path: Path_ = ("prompt", "parts", part, "labels")
        wrong = [i for i, label in enumerate(offers) if label not in known]
        for i in wrong:
            also = "" if nearest(offers[i], labels) else "the labels of the data are offered where none are given"
            yield unknown(plan.recipe.place((*path, i)), "label (the data has not got it)", offers[i], labels, also)
        missing = [label for label in labels if label not in offers]
        if missing and not wrong:
            what = f"leaves out {', '.join(missing)}, which the data has: no answer could be right for such samples"
            yield Problem(plan.recipe.place(path), what, "name every label, or none: those of the data", tuple(labels))


def head_problems(plan: Plan, path: Path_, told: Survey) -> Iterator[Problem]:
    """Heads that the data of this block cannot teach: it has no answers of their task, or not the ratings that they name."""
    for name, task in plan.heads.items():
        by = next((s for s in plan.stages.values() if f"{HEADS}.{name}" in (s.objective, *s.trains)), None)
        if path != (DATA if by is None or by.settings.data is None else ("stages", by.name, "data")):
            continue
        place = plan.recipe.place((HEADS, name))
        if told.splits and not answerable(task, Targets(told.labels, told.numbers)):
            what = f"answers {'ratings' if task == NUMBERS else 'labels'}, and the data has none"
            yield Problem(place, what, "say which columns hold them, or leave the head out")
        yield from _missing_ratings(place, plan.ratings(name), told)


def metric_problems(plan: Plan, told: Survey) -> Iterator[Problem]:
    """Metrics of ratings that the recipe's data has not got."""
    for name, use in plan.metrics.items():
        if isinstance(use.settings, NamesRatings):
            yield from _missing_ratings(plan.recipe.place(("score", "metrics", name)), use.settings.numbers, told)


def _missing_ratings(place: str, named: Sequence[str], told: Survey) -> Iterator[Problem]:
    for rating in named if told.numbers else ():
        if rating not in told.numbers:
            yield unknown(place, "rating (the data has not got it)", rating, told.numbers)


def rating_problems(plan: Plan, numbers: Mapping[str, tuple[float, float]], tasks: Sequence[str]) -> Iterator[Problem]:
    """Ratings that a part of the prompt asks for one of these tasks and the data, where its ratings are known, has not; and
    scales of the question that leave out a part of the data's."""
    for part, use in plan.parts.items():
        if not (numbers and task_of(use) in tasks and isinstance(use.settings, AsksNumbers)):
            continue
        for name, (low, high) in use.settings.scales().items():
            place = plan.recipe.place(("prompt", "parts", part, "numbers", name))
            if name not in numbers:
                yield unknown(place, "rating (the data has not got it)", name, numbers)
                continue
            least, most = numbers[name]
            if math.isfinite(low) and math.isfinite(least) and not (low <= least and most <= high):
                what = f"asks for {name} from {low:g} to {high:g}, and the data's scale is {least:g} to {most:g}"
                yield Problem(place, what, f"write {name}: [{least:g}, {most:g}]")
