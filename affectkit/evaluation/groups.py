"""Groups of people: their figures, which of them are too small, and what chance makes of the gaps between them.

Clips of one person are alike: a face that is hard to read is hard in each of them. Where it is known whose they are and
somebody has several, people are drawn, not clips, and people are dealt to groups at random. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import Gap, GroupFigures
from affectkit.evaluation.prediction import CountMetric, Prediction
from affectkit.evaluation.score import Scoring, count

SMALL = 30
"""A group of fewer answered samples is marked, and is in no gap."""
FEW = 5
"""So is one of fewer people, where these are known: what chance does to so few cannot be told."""


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
        """The largest value less the smallest, with the interval of the difference between these two groups; None where
        fewer than two groups have a value."""
        known = np.isfinite(self.values)
        if known.sum() < 2:
            return Gap(None, None, None, self.groups[0], self.groups[-1], None)
        high, low = int(np.nanargmax(self.values)), int(np.nanargmin(self.values))
        gap = float(self.values[high] - self.values[low])
        spread = np.ptp(self.chance[known], axis=0)
        spread = spread[np.isfinite(spread)]
        ends = bootstrap.interval(self.draws[high] - self.draws[low])
        by_accident = (1 + int((spread >= gap - 1e-12).sum())) / (1 + len(spread))
        return Gap(bootstrap.number(gap), *ends, self.groups[high], self.groups[low], by_accident)


@dataclass(frozen=True)
class Groups:
    """Answers by group of one field, and what they are scored with."""

    parts: Mapping[str, Sequence[Prediction]]
    """By group; every answer has a truth."""
    how: Scoring[CountMetric]
    persons: Mapping[str, str]
    """By sample, who it is of; empty where samples are drawn, not people."""

    @classmethod
    def of(
        cls, parts: Mapping[str, Sequence[Prediction]], how: Scoring[CountMetric], persons: Mapping[str, str]
    ) -> Groups:
        """People are drawn where all of these answers are of known people, and somebody has several of them."""
        ids = [p.id for part in parts.values() for p in part]
        known = [persons[i] for i in ids if i in persons]
        return cls(parts, how, persons if len(known) == len(ids) and len(set(known)) < len(ids) else {})

    def large(self) -> Groups:
        """Those that are large enough to say something of, and to be in a gap."""
        return replace(self, parts={value: part for value, part in self.parts.items() if not self._is_small(value)})

    def figures(self) -> dict[str, GroupFigures]:
        """Each metric of each group, with its interval."""
        found = {}
        for value, part in self.parts.items():
            table = count(part, self.how.labels)
            figures = {
                name: bootstrap.figure(
                    metric.from_confusions(table[None])[0], self._draws(metric, value, self.how.seed)
                )
                for name, metric in self.how.metrics.items()
            }
            classes, people = int((table.sum(1) > 0).sum()), self._people(value)
            found[value] = GroupFigures(len(part), people, classes, self._is_small(value), figures)
        return found

    def draws(self) -> dict[str, GroupDraws]:
        """Each metric of all groups, with its draws; the groups are drawn independently of each other."""
        tables = np.array([count(part, self.how.labels) for part in self.parts.values()])
        permuted, found = self.permuted(), {}
        for name, metric in self.how.metrics.items():
            again = [self._draws(metric, value, self.how.seed + i) for i, value in enumerate(self.parts)]
            chance = metric.from_confusions(permuted.reshape(-1, *tables.shape[1:])).reshape(permuted.shape[:2]).T
            found[name] = GroupDraws(tuple(self.parts), metric.from_confusions(tables), np.array(again), chance)
        return found

    def permuted(self) -> np.ndarray:
        """Confusion counts [r, groups, k, k + 1] of random groupings: of people (somebody in two groups counts as two), or
        of samples among those of one label."""
        k = len(self.how.labels)
        truth, answer = bootstrap.indices([p for part in self.parts.values() for p in part], self.how.labels)
        if self.persons:
            who = [self._who(value) for value in self.parts]
            sizes = [int(one.max()) + 1 for one in who]
            unit = np.concatenate([sum(sizes[:i]) + one for i, one in enumerate(who)])
            alike = [np.arange(sum(sizes))]
        else:
            sizes = [len(part) for part in self.parts.values()]
            unit, alike = np.arange(len(truth)), [np.flatnonzero(truth == label) for label in range(k)]
        group = np.repeat(np.arange(len(sizes)), sizes)
        cells = truth * (k + 1) + answer
        rng = np.random.default_rng(self.how.seed)
        permuted = np.empty((self.how.resamples, len(sizes), k, k + 1), np.int64)
        for draw in permuted:
            mixed = group.copy()
            for places in alike:
                mixed[places] = rng.permutation(group[places])
            draw[:] = np.bincount(mixed[unit] * k * (k + 1) + cells, minlength=draw.size).reshape(draw.shape)
        return permuted

    def _draws(self, metric: CountMetric, value: str, seed: int) -> np.ndarray:
        """Bootstrap draws [r] of a metric of a group."""
        clusters = self._who(value) if self.persons else None
        return bootstrap.draws(metric, self.parts[value], self.how.labels, seed, clusters, self.how.resamples)

    def _who(self, value: str) -> np.ndarray:
        """The person of each answer of a group, numbered from 0."""
        return np.unique([self.persons[p.id] for p in self.parts[value]], return_inverse=True)[1]

    def _people(self, value: str) -> int | None:
        """How many people a group has, where people are drawn."""
        return len({self.persons[p.id] for p in self.parts[value]}) if self.persons else None

    def _is_small(self, value: str) -> bool:
        people = self._people(value)
        return len(self.parts[value]) < SMALL or (people is not None and people < FEW)
