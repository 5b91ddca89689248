"""Draws of the figures of groups: what chance makes of them, sample by sample or person by person. Imports no torch.

Clips of one person are alike: a face that is hard to read is hard in each of them. Where it is known whose they are and
somebody has several, people are drawn, not clips, and people are dealt to groups at random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import Gap
from affectkit.evaluation.prediction import Metric, Prediction
from affectkit.evaluation.score import count

SMALL = 30
"""A group of fewer answered samples is marked, and is in no gap."""
FEW = 5
"""So is one of fewer people, where these are known: what chance does to so few cannot be told."""
Persons = Mapping[str, str]
"""By sample, who it is of; empty where that is not known."""
Parts = Mapping[str, Sequence[Prediction]]
"""Answers by group."""


@dataclass(frozen=True)
class Scoring:
    """What figures are made with."""

    metrics: Mapping[str, Metric]
    """Those that a confusion matrix is enough for."""
    labels: tuple[str, ...]
    seed: int = 0
    resamples: int = 1000


@dataclass(frozen=True)
class GroupDraws:
    """One metric of some groups."""

    groups: tuple[str, ...]
    values: np.ndarray
    """[groups]."""
    draws: np.ndarray
    """Bootstrap draws [groups, r]."""
    chance: np.ndarray
    """The values of random groupings [groups, r], in which every group keeps its size and classes, or its number of people."""

    def gap(self) -> Gap:
        """The largest value less the smallest."""
        high, low = int(self.values.argmax()), int(self.values.argmin())
        gap = float(self.values[high] - self.values[low])
        resamples = self.chance.shape[1]
        as_large = int((np.ptp(self.chance, axis=0) >= gap - 1e-12).sum())
        ends = bootstrap.interval(self.draws[high] - self.draws[low])
        by_accident = (1 + as_large) / (1 + resamples)
        return Gap(bootstrap.number(gap), *ends, self.groups[high], self.groups[low], by_accident)


def person_clusters(parts: Parts, persons: Persons) -> Persons:
    """`persons` where these answers are all of known people and somebody has several of them; else nothing."""
    ids = [p.id for part in parts.values() for p in part]
    known = [persons[i] for i in ids if i in persons]
    return persons if len(known) == len(ids) and len(set(known)) < len(ids) else {}


def people_in(part: Sequence[Prediction], persons: Persons) -> int:
    """How many people a group has."""
    return len({persons[p.id] for p in part})


def is_small(part: Sequence[Prediction], persons: Persons) -> bool:
    """Whether a group is too small to say much of it."""
    return len(part) < SMALL or (bool(persons) and people_in(part, persons) < FEW)


def draws_of(metric: Metric, part: Sequence[Prediction], how: Scoring, persons: Persons, seed: int) -> np.ndarray:
    """Bootstrap draws [r] of a metric of a group, of its people where `persons` tells of them."""
    whose = _who(part, persons) if persons else None
    return bootstrap.draws(metric, part, how.labels, seed, whose, how.resamples)


def _who(part: Sequence[Prediction], persons: Persons) -> np.ndarray:
    """The person of each answer, numbered from 0."""
    return np.unique([persons[p.id] for p in part], return_inverse=True)[1]


def resampled(parts: Parts, how: Scoring, persons: Persons) -> dict[str, GroupDraws]:
    """Each metric of the groups, with its draws."""
    tables = np.array([count(part, how.labels) for part in parts.values()])
    permuted = _permuted_people(parts, how, persons) if persons else _permuted_samples(parts, how)
    found = {}
    for name, metric in how.metrics.items():
        value: Callable[[np.ndarray], np.ndarray] = metric.from_confusions  # type: ignore[attr-defined]
        again = [draws_of(metric, part, how, persons, how.seed + i) for i, part in enumerate(parts.values())]
        chance = value(permuted.reshape(-1, *permuted.shape[2:])).reshape(permuted.shape[:2]).T
        found[name] = GroupDraws(tuple(parts), value(tables), np.array(again), chance)
    return found


def _by_person(part: Sequence[Prediction], labels: tuple[str, ...], persons: Persons) -> np.ndarray:
    """Confusion counts [people, k, k + 1]."""
    truth, answer = bootstrap.indices(part, labels)
    who = _who(part, persons)
    return _tables(who, truth * (len(labels) + 1) + answer, int(who.max()) + 1, len(labels))


def _permuted_people(parts: Parts, how: Scoring, persons: Persons) -> np.ndarray:
    """Confusion counts [r, groups, k, k + 1] of random groupings of people; somebody in two groups counts as two."""
    each = [_by_person(part, how.labels, persons) for part in parts.values()]
    group, tables = np.repeat(np.arange(len(each)), [len(one) for one in each]), np.concatenate(each)
    rng = np.random.default_rng(how.seed)
    permuted = np.zeros((how.resamples, len(each), *tables.shape[1:]), np.int64)
    for draw in permuted:
        np.add.at(draw, rng.permutation(group), tables)
    return permuted


def _permuted_samples(parts: Parts, how: Scoring) -> np.ndarray:
    """Confusion counts [r, groups, k, k + 1] of random groupings of samples, among those of one label."""
    k = len(how.labels)
    group = np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()])
    truth, answer = bootstrap.indices([p for part in parts.values() for p in part], how.labels)
    places = [np.flatnonzero(truth == label) for label in range(k)]
    rng = np.random.default_rng(how.seed)
    permuted = np.empty((how.resamples, len(parts), k, k + 1), np.int64)
    for draw in permuted:
        mixed = group.copy()
        for place in places:
            mixed[place] = rng.permutation(group[place])
        draw[:] = _tables(mixed, truth * (k + 1) + answer, len(parts), k)
    return permuted


def _tables(group: np.ndarray, cells: np.ndarray, groups: int, classes: int) -> np.ndarray:
    """Confusion counts [groups, k, k + 1]."""
    size = classes * (classes + 1)
    return np.bincount(group * size + cells, minlength=groups * size).reshape(groups, classes, classes + 1)
