"""What filters did to labels, who agrees with whom, and how right the labels are where the data knows. Imports no torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from affectkit.annotate.agreement import cohen_kappa
from affectkit.annotate.clips import Clip
from affectkit.annotate.plan import AnnotationPlan, main_finding
from affectkit.evaluation.figures import Figure, Record
from affectkit.sample import LABEL

MOST_VALUES, LONGEST, FEWEST = 40, 40, 10
"""A finding counts as a label where it has at most so many values of so many letters, in at least so many clips."""


@dataclass(frozen=True)
class Passed(Record):
    """The clips that are left behind an annotator that rejected some, by what their labels are."""

    after: str
    """The annotator; of the first, the one that gave the label."""
    clips: int
    labels: Mapping[str, int]
    precision: Figure | None
    """Share of the labels that are the data's own, with Wilson's interval; None where the data has none."""
    right_kept: float | None
    """Share of the right labels of the first row that are left."""
    wrong_removed: float | None
    """Share of the wrong ones that are gone."""


@dataclass(frozen=True)
class Agreement(Record):
    """How far two findings say the same."""

    first: str
    second: str
    clips: int
    equal: float
    """Share of the clips in which they are equal."""
    kappa: float | None
    """Cohen's kappa (1960); None where both say one thing only."""


@dataclass(frozen=True)
class Audit(Record):
    """What can be said of the labels of an annotation."""

    label: str
    """The finding that is the label, as `annotator.finding`; empty where no item has one."""
    truths: int
    """Clips whose label the data knows."""
    passed: tuple[Passed, ...]
    agreement: tuple[Agreement, ...]


def audit(plan: AnnotationPlan, clips: Sequence[Clip]) -> Audit:
    """The labels of an annotation, from the clips as it left them."""
    item = next((item for item in plan.items.values() if item.task == LABEL and item.answer), None)
    if item is None:
        return Audit("", 0, (), _agreement(plan, clips))
    annotator, finding = main_finding(plan, item.answer)

    def label(clip: Clip) -> str | None:
        found = clip.findings.get(annotator, {}).get(finding)
        return str(found.value) if found and isinstance(found.value, str) else None

    labelled = [clip for clip in clips if label(clip) is not None]
    order = list(plan.annotators)
    lost = {id(c): order.index(c.rejected[0]) for c in labelled if c.rejected and c.rejected[0] in order}
    first = order.index(annotator)
    steps = sorted({first, *(at for at in lost.values() if at > first)})
    passed = [
        _passed(order[at], labelled, [c for c in labelled if lost.get(id(c), len(order)) > at], label) for at in steps
    ]
    told = bool(plan.run.given)  # labels that annotators were told are no test of them
    truths = 0 if told else sum(clip.sample.label is not None for clip in labelled)
    return Audit(f"{annotator}.{finding}", truths, tuple(passed), _agreement(plan, clips))


def _passed(name: str, before: Sequence[Clip], left: Sequence[Clip], label: Callable[[Clip], str | None]) -> Passed:
    def right(clips: Sequence[Clip]) -> tuple[int, int]:
        known = [clip for clip in clips if clip.sample.label is not None]
        return sum(label(clip) == clip.sample.label for clip in known), len(known)

    (was, of), (now, left_of) = right(before), right(left)
    counts = Counter(str(label(clip)) for clip in left)
    return Passed(
        name,
        len(left),
        dict(sorted(counts.items())),
        wilson(now, left_of) if left_of else None,
        now / was if was else None,
        1 - (left_of - now) / (of - was) if of > was else None,
    )


def wilson(hits: int, of: int, z: float = 1.959964) -> Figure:
    """A share with its 95 % interval (Wilson 1927)."""
    share, square = hits / of, z * z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = z * math.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return Figure(share, max(0.0, middle - half), min(1.0, middle + half))


def _agreement(plan: AnnotationPlan, clips: Sequence[Clip]) -> tuple[Agreement, ...]:
    """Each pair of findings that are labels of one kind: most of what one says the other says too."""
    columns: dict[str, dict[int, str]] = {}
    for name, annotation in plan.annotators.items():
        for finding in annotation.finds:
            found = {i: clip.findings.get(name, {}).get(finding) for i, clip in enumerate(clips)}
            words = {i: one.value for i, one in found.items() if one and isinstance(one.value, str)}
            values = set(words.values())
            if len(words) >= FEWEST and len(values) <= MOST_VALUES and max(map(len, values)) <= LONGEST:
                columns[f"{name}.{finding}"] = words
    out = []
    for first, second in combinations(columns, 2):
        one, two = columns[first], columns[second]
        both = [i for i in one if i in two]
        alike = set(one.values()) & set(two.values())
        if first.split(".")[0] != second.split(".")[0] and len(both) >= FEWEST and len(alike) >= 2:
            pairs = [(one[i], two[i]) for i in both]
            out.append(
                Agreement(first, second, len(pairs), sum(a == b for a, b in pairs) / len(pairs), cohen_kappa(pairs))
            )
    return tuple(out)
