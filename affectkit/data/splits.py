"""The samples of a stage, opened and checked. Decodes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from affectkit.errors import InputError, Problem, nearest
from affectkit.heads import answerable, wants
from affectkit.plan.graph import Step
from affectkit.plan.plan import Plan, Stage
from affectkit.plan.survey import label_problems
from affectkit.sample import LABEL, LABELS, NUMBERS, Sample, labels_in, targets_in


@dataclass
class Splits:
    """The samples of a stage, and what is wrong with some of them."""

    train: Sequence[Sample]
    val: Sequence[Sample]
    labels: tuple[str, ...]
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The ratings of the samples, each with the ends of its scale."""
    broken: dict[str, str] = field(default_factory=dict)
    """Samples that cannot be decoded, and why."""
    mended: dict[str, str] = field(default_factory=dict)
    """Samples whose sound had to be mended, and how."""


def open_split(use: Any, split: str, place: str) -> Sequence[Sample]:
    """One split of a data set; raises InputError if it is empty."""
    samples: Sequence[Sample] = use.piece.build(use.settings, split)
    if not len(samples):
        raise InputError(Problem(place, f"the split {split!r} of data set {use.piece.name!r} is empty"))
    return samples


def data_notes(splits: Mapping[str, Splits]) -> list[str]:
    """What the data sets of some stages say of themselves (what was mended or passed over), each once."""
    opened = [samples for one in splits.values() for samples in (one.train, one.val)]
    return list(dict.fromkeys(note for samples in opened for note in getattr(samples, "notes", ())))


def open_splits(plan: Plan, stage: Stage) -> Splits:
    """Training and validation samples of a stage; a data set without a validation split has none."""
    place = plan.recipe.place(("stages", stage.name, "data") if stage.settings.data else ("data",))
    train = open_split(stage.data, "train", place)
    try:
        val: Sequence[Sample] = stage.data.piece.build(stage.data.settings, "val")
    except InputError:
        val = ()
    labels = labels_in(train)
    asked = tuple(stage.settings.tasks) if plan.asks(stage) else ()
    problems = list(label_problems(plan, labels, asked))
    if problems:
        raise InputError(problems)
    heads = dict.fromkeys(head for loss in stage.losses for head in loss.heads)
    for head in heads:
        check_head(plan, head, train, place)
    if LABEL in (*asked, *(plan.heads[head] for head in heads)):
        check_labels(train, labels, place)
    check_faces(plan, train, stage)
    return Splits(train, val, labels, targets_in(train).numbers)


def check_head(plan: Plan, head: str, samples: Sequence[Sample], place: str) -> None:
    """Raises InputError where a data set has nothing that a head of the plan could learn to answer, or one answer alone."""
    task, targets, wanted = plan.heads[head], targets_in(samples), plan.wants(head)
    if not answerable(task, targets):
        what = f"the head {head!r} answers {task}, and the data set has none"
        fix = "name columns of ratings" if task == NUMBERS else "name a column of labels"
        raise InputError(Problem(place, what, f"{fix}, or train another head"))
    useful = [s for s in (samples[i] for i in range(len(samples))) if wanted(s)]
    if not useful:
        wanting = ", ".join(plan.ratings(head)) or task
        what = f"none of the {len(samples)} training samples has {wanting}, which the head {head!r} is to learn"
        raise InputError(Problem(place, what, "give the data set these answers, or train another head"))
    unrated = {*(plan.ratings(head) or targets.numbers)} if task == NUMBERS else set()
    if unrated := unrated.difference(*(s.numbers for s in useful)):
        what = f"no training sample has the rating {min(unrated)}, which the head {head!r} is to learn"
        raise InputError(Problem(place, what, f"give samples this rating, or name others: `heads.{head}.numbers`"))
    own = {frozenset({s.label} if task == LABEL or not s.labels else s.labels) for s in useful if task != NUMBERS}
    if len(own) == 1:
        same = ", ".join(sorted(map(repr, next(iter(own)))))
        what = (
            f"all {len(useful)} training samples with {task} have {same}: the head {head!r} has nothing to tell apart"
        )
        raise InputError(Problem(place, what, "train it on samples of two labels at least"))


def learned(labels: Sequence[str], samples: Sequence[Sample]) -> tuple[str, ...]:
    """Of a label set those that samples have."""
    there = {
        name
        for s in map(samples.__getitem__, range(len(samples)))
        for name in (s.label, *(n for n, w in s.labels.items() if w))
    }
    return tuple(label for label in labels if label in there)


def without_target(plan: Plan, stage: Stage, samples: Sequence[Sample]) -> int:
    """How many samples have nothing that a stage of heads, or of questions for labels and ratings alone, learns from, and are
    left out of it."""
    wanted = [plan.wants(head) for loss in stage.losses for head in loss.heads]
    if stage.llm and not wanted and {*stage.settings.tasks} <= {LABEL, LABELS, NUMBERS}:
        wanted = [partial(wants, task) for task in stage.settings.tasks]
    elif not wanted or not all(loss.heads for loss in stage.losses):
        return 0
    return sum(not any(want(samples[i]) for want in wanted) for i in range(len(samples)))


FIRST = 16
"""Samples of a split that are checked for face boxes before training; every sample is checked again when it is read."""


def check_faces(plan: Plan, samples: Sequence[Sample], stage: Stage | None = None) -> None:
    """Clips without boxes, for a view that must find faces and names no detector: said before anything trains.

    `stage` None means the steps that an answer needs. Raises InputError with one problem a view.
    """
    problems = face_problems(plan, {"": samples}, stage)
    if problems:
        raise InputError(problems)


def face_problems(plan: Plan, sets: Mapping[str, Sequence[Sample]], stage: Stage | None = None) -> list[Problem]:
    """The same for several data sets by name: a problem a view, which names all sets that lack boxes."""
    eaten = eaten_views(plan, [plan.graph.steps[a] for a in plan.needed(stage)])
    lacking = {name: sample for name, samples in sets.items() if (sample := _without_box(samples)) is not None}
    problems = []
    for view in sorted(eaten) if lacking else ():
        settings = plan.graph.views[view].settings
        hides = getattr(settings, "hide", "none") != "none"
        finds = hides or getattr(settings, "whole", "always") != "always"
        if getattr(settings, "detector", ...) is None and finds:
            fix = f"set `views.{view}.detector` (`affectkit pieces detector` lists them), or "
            fix += "`hide: none`" if hides else "`whole: always`"
            problems.append(Problem(plan.recipe.place(("views", view)), _lacking(lacking), fix))
    return problems


def eaten_views(plan: Plan, steps: Iterable[Step]) -> set[str]:
    """The views that steps eat, and those that these are cut from."""
    eaten = {ref.view for step in steps for ref in step.inputs.values() if ref.view}
    return eaten | {str(of) for n in eaten if (of := getattr(plan.graph.views[n].settings, "of", None))}


def _without_box(samples: Sequence[Sample]) -> str | None:
    """The id of the first clip without a box among the first samples."""
    first = (samples[i] for i in range(min(FIRST, len(samples))))
    return next((s.id for s in first if s.video is not None and s.fact("face_box").value is None), None)


def _lacking(samples: Mapping[str, str]) -> str:
    """Which data sets lack boxes, with a sample of the first."""
    (name, sample), *others = samples.items()
    also = f", nor have clips of {', '.join(n for n, _ in others)}" if others else ""
    return (
        f"sample {sample!r}{f' of {name}' if name else ''} has no fact `face_box`{also}, and the view names no detector"
    )


def check_labels(samples: Sequence[Sample], labels: tuple[str, ...], place: str) -> None:
    """Every label must be one of the set."""
    wrong: dict[str, list[str]] = {}
    for i in range(len(samples)):
        sample = samples[i]
        if sample.label is not None and sample.label not in labels:
            wrong.setdefault(sample.label, []).append(sample.id)
    problems = []
    for label, (first, *others) in wrong.items():
        more = f" and {len(others)} more" if others else ""
        close = nearest(label, labels)
        fix = f"did you mean {close!r}?" if close else ""
        problems.append(
            Problem(f"{place}: sample {first}{more}", f"label {label!r} is not in the label set", fix, labels)
        )
    if problems:
        raise InputError(problems)
