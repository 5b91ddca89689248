"""The samples of a stage, opened and checked. Decodes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from affectkit.errors import InputError, Problem
from affectkit.plan import Plan, Stage
from affectkit.sample import Sample
from affectkit.surveys import label_problems


@dataclass
class Splits:
    """The samples of a stage, and what is wrong with some of them."""

    train: Sequence[Sample]
    val: Sequence[Sample]
    labels: tuple[str, ...]
    broken: dict[str, str] = field(default_factory=dict)


def open_split(use: Any, split: str, place: str) -> Sequence[Sample]:
    """One split of a data set; raises InputError if it is empty."""
    samples: Sequence[Sample] = use.piece.build(use.settings, split)
    if not len(samples):
        raise InputError(Problem(place, f"the split {split!r} of data set {use.piece.name!r} is empty"))
    return samples


def open_splits(plan: Plan, stage: Stage) -> Splits:
    """Training and validation samples of a stage; a data set without a validation split has none."""
    place = plan.recipe.place(("stages", stage.name, "data") if stage.settings.data else ("data",))
    train = open_split(stage.data, "train", place)
    try:
        val: Sequence[Sample] = stage.data.piece.build(stage.data.settings, "val")
    except InputError:
        val = ()
    labels = tuple(getattr(train, "labels", ()))
    asked = () if stage.objective else tuple(stage.settings.tasks)
    problems = list(label_problems(plan, labels, asked))
    if problems:
        raise InputError(problems)
    if not stage.objective and "label" in stage.settings.tasks:
        check_labels(train, labels, place)
    return Splits(train, val, labels)


def check_labels(samples: Sequence[Sample], labels: tuple[str, ...], place: str) -> None:
    """Every label must be one of the set."""
    wrong = []
    for i in range(len(samples)):
        sample = samples[i]
        if sample.label is not None and sample.label not in labels:
            wrong.append(
                Problem(
                    f"{place}: sample {sample.id}",
                    f"label {sample.label!r} is not in the label set",
                    known=labels,
                )
            )
    if wrong:
        raise InputError(wrong[:20])
