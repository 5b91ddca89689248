"""The bias of a model over several data sets: a gap in each, and one over all. Imports no torch.

People of different data sets are never thrown together: a group that is common in a hard set would look badly treated. A
group's figure over all is the plain mean of its figures in the data sets, so that a hard set weighs on all groups alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from affectkit import bootstrap
from affectkit.bias import FIELDS, Known, answered_of, grouped
from affectkit.bias_draws import SMALL, Drawn, Scoring, clustered, drawn, is_small
from affectkit.score import GROUP_VALUES, Prediction

APART = 1000
"""Between the seeds of two data sets, which are drawn independently."""
Parts = dict[str, list[Prediction]]


@dataclass(frozen=True)
class OfSet:
    """The answers to one data set, and its people."""

    answers: list[Prediction]
    people: Known
    how: Scoring


def over_sets(sets: Mapping[str, OfSet]) -> dict[str, Any]:
    """By field of which a data set tells: `sets`, `origin`, `groups` and `gaps` over them, or a `note` why there are none.

    Over the data sets that have at least two groups that are not small, and the groups that are not small in any of these;
    of sets with labels and sets with estimates only those with labels, where there are two. A group has `count` and each
    metric with its interval, gaps are as in `bias.group_figures`: random groupings stay within each data set.
    """
    found: dict[str, Any] = {}
    for field in FIELDS:
        here = {name: one for name, one in sets.items() if field in one.people.words}
        if here:
            found[field] = _over(field, here)
    return found


def _over(field: str, sets: Mapping[str, OfSet]) -> dict[str, Any]:
    parts = {name: _large(field, one) for name, one in sets.items()}
    parts = {name: groups for name, groups in parts.items() if len(groups) > 1}
    origins = {name: sets[name].people.origins[field] for name in parts}
    origin = "label" if list(origins.values()).count("label") > 1 else "estimate"
    there = [name for name in parts if origins[name] == origin]
    if len(there) < 2:
        return {"note": _lonely(parts, origins)}
    groups = [g for g in parts[there[0]] if all(g in parts[name] for name in there)]
    if len(groups) < 2:
        told = "; ".join(f"{name}: {', '.join(parts[name])}" for name in there)
        return {"note": f"no two groups are the same in all data sets ({told})"}
    metrics = [n for n in sets[there[0]].how.metrics if all(n in sets[name].how.metrics for name in there)]
    if not metrics:
        return {"note": f"no metric is the same in all data sets ({', '.join(there)})"}
    every = []
    for place, name in enumerate(there):
        how = sets[name].how
        own = replace(how, metrics={n: how.metrics[n] for n in metrics}, seed=how.seed + APART * place)
        here = {g: parts[name][g] for g in groups}
        every.append(drawn(here, own, clustered(here, sets[name].people.persons)))
    means = {n: _mean([one[n] for one in every]) for n in metrics}
    return {
        "sets": there,
        "left_out": [name for name in sets if name not in there],
        "origin": origin,
        "groups": {
            g: {
                "count": sum(len(parts[name][g]) for name in there),
                **{n: bootstrap.with_interval(m.values[i], m.draws[i]) for n, m in means.items()},
            }
            for i, g in enumerate(groups)
        },
        "gaps": {n: m.gap() for n, m in means.items()},
    }


def _lonely(parts: Mapping[str, Parts], origins: Mapping[str, str]) -> str:
    """Why there are no two data sets to be over."""
    if len(parts) > 1:
        return f"{' and '.join(f'{name} has {origins[name]}s' for name in parts)}, which are not thrown together"
    return f"{f'only {next(iter(parts))}' if parts else 'no data set'} has two groups of {SMALL} samples or more"


def _large(field: str, one: OfSet) -> Parts:
    """The groups of a data set that gaps are between; none where there are too many values for groups."""
    parts = grouped(answered_of(one.answers), field, one.people.words[field])
    persons = clustered(parts, one.people.persons)
    large = {value: part for value, part in parts.items() if not is_small(part, persons)}
    return large if len(parts) <= GROUP_VALUES else {}


def _mean(every: list[Drawn]) -> Drawn:
    """Groups over data sets; where these were drawn a different number of times, as often as all were."""
    resamples = min(one.draws.shape[1] for one in every)
    cut = [(one.values, one.draws[:, :resamples], one.chance[:, :resamples]) for one in every]
    return Drawn(every[0].groups, *(np.mean(side, axis=0) for side in zip(*cut, strict=True)))
