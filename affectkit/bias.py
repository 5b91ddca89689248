"""How a model's figures differ between people: by age, gender and race, and by what it is told of them. Imports no torch.

Groups come from labels. A field of which the data has no label at all is grouped by what a network of the recipe estimated,
and every table says so: errors of that network are then part of the figures. Skin tone is a field of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from affectkit import bootstrap
from affectkit.plan import Plan
from affectkit.prompt import draw_for
from affectkit.sample import Fact, Origin, Sample
from affectkit.score import ANSWERED, GROUP_VALUES, Metric, Prediction, compare, count, in_order

STATED = ("age", "gender", "race")
"""What a prompt may state."""
FIELDS = (*STATED, "skin_tone")
"""What people are grouped by."""
SMALL = 30
"""A group of fewer answered samples is marked, and is in no gap."""
Estimates = Mapping[str, Mapping[str, Fact]]
"""By sample and field, what the recipe's networks estimated."""


@dataclass(frozen=True)
class Known:
    """What is known of the people of a split."""

    words: Mapping[str, Mapping[str, str]]
    """By field and sample."""
    origins: Mapping[str, Origin]
    """By field, whether these are labels or estimates."""


@dataclass(frozen=True)
class Scoring:
    """What figures are made with."""

    metrics: Mapping[str, Metric]
    """Those that a confusion matrix is enough for."""
    labels: tuple[str, ...]
    seed: int = 0
    resamples: int = 1000


def stating(plan: Plan) -> tuple[str, ...]:
    """The fields that parts of the prompt may state; nothing where none does."""
    parts = [u.settings for u in plan.parts.values() if getattr(u.settings, "states_demographics", False)]
    named = {name for settings in parts for name in getattr(settings, "fields", STATED)}
    return tuple(name for name in STATED if name in named)


def band(value: Any) -> str:
    """A word as it is; a number of years as its decade (`20-29`, `70+`)."""
    word = str(value).strip()
    try:
        years = float(word)
    except ValueError:
        return word
    if not 0 <= years < float("inf"):
        return ""
    decade = int(years) // 10 * 10
    return "70+" if decade >= 70 else f"{decade}-{decade + 9}"


def group_of(field: str, word: str) -> str:
    """The group that a word belongs to: itself, for an age its decade."""
    return band(word) if field == "age" and word else word


def known(samples: Sequence[Sample], estimates: Estimates) -> Known:
    """Labels of every field that has any, of the others estimates."""
    words: dict[str, dict[str, str]] = {}
    origins: dict[str, Origin] = {}
    people = [samples[i] for i in range(len(samples))]
    for field in FIELDS:
        for origin in ("label", "estimate"):
            facts = {s.id: (s.facts if origin == "label" else estimates.get(s.id, {})).get(field) for s in people}
            found = {key: _word(fact) for key, fact in facts.items() if fact is not None and fact.origin == origin}
            found = {key: word for key, word in found.items() if word}
            if found:
                words[field], origins[field] = found, origin
                break
    return Known(words, origins)


def _word(fact: Fact) -> str:
    plain = not fact.per_frame and isinstance(fact.value, str | int | float)
    return str(fact.value).strip() if plain else ""


def group_figures(predictions: Sequence[Prediction], people: Known, how: Scoring) -> dict[str, Any]:
    """By field: `origin`, `without` (answered samples of unknown group), `groups` and `gaps`.

    A group has `count`, `classes` (how many of the label set occur in it), `small` and each metric with its interval. A gap
    is the largest figure of a group that is not small less the smallest (`highest`, `lowest`), with the interval of the
    difference between these two. They were picked as the extremes, so an interval that leaves out 0 proves little;
    `by_accident` is the share of random groupings with as large a gap, in which every group keeps its size and classes.
    """
    answered = answered_of(predictions)
    found: dict[str, Any] = {}
    for field, words in people.words.items():
        parts = grouped(answered, field, words)
        about: dict[str, Any] = {"origin": people.origins[field]}
        about["without"] = len(answered) - sum(map(len, parts.values()))
        if len(parts) > GROUP_VALUES:
            found[field] = about | {"groups": {}, "gaps": {}, "note": f"{len(parts)} values are too many for groups"}
            continue
        counts = {value: count(part, how.labels) for value, part in parts.items()}
        about["groups"] = {value: _group(table, how) for value, table in counts.items()}
        large = enough(parts)
        about["gaps"] = {n: d.gap() for n, d in drawn(large, how).items()} if len(large) > 1 else {}
        found[field] = about
    return found


def _group(table: np.ndarray, how: Scoring) -> dict[str, Any]:
    size = int(table.sum())
    return {
        "count": size,
        "classes": int((table.sum(1) > 0).sum()),
        "small": size < SMALL,
        **bootstrap.of_counts(how.metrics, table, how.resamples, how.seed),
    }


@dataclass(frozen=True)
class Drawn:
    """One metric of some groups."""

    groups: tuple[str, ...]
    values: np.ndarray
    """[groups]."""
    draws: np.ndarray
    """Bootstrap draws [groups, r]."""
    chance: np.ndarray
    """The values of random groupings [groups, r], in which every group keeps its size and classes."""

    def gap(self) -> dict[str, Any]:
        """The largest value less the smallest, with its interval, its groups, and how often chance gives as much."""
        high, low = int(self.values.argmax()), int(self.values.argmin())
        gap = float(self.values[high] - self.values[low])
        resamples = self.chance.shape[1]
        as_large = int((np.ptp(self.chance, axis=0) >= gap - 1e-12).sum())
        return {
            **bootstrap.with_interval(gap, self.draws[high] - self.draws[low]),
            "highest": self.groups[high],
            "lowest": self.groups[low],
            "by_accident": (1 + as_large) / (1 + resamples),
        }


def answered_of(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Those that metrics look at."""
    return [p for p in predictions if p.truth is not None and p.state in ANSWERED]


def grouped(answered: Sequence[Prediction], field: str, words: Mapping[str, str]) -> dict[str, list[Prediction]]:
    """Answers by group of a field; those of unknown group are in none."""
    parts: dict[str, list[Prediction]] = {}
    for p in answered:
        value = group_of(field, words.get(p.id, ""))
        if value:
            parts.setdefault(value, []).append(p)
    return {value: parts[value] for value in in_order(parts)}


def enough(parts: Mapping[str, list[Prediction]]) -> dict[str, list[Prediction]]:
    """The groups that are not small."""
    return {value: part for value, part in parts.items() if len(part) >= SMALL}


def drawn(parts: Mapping[str, Sequence[Prediction]], how: Scoring) -> dict[str, Drawn]:
    """Each metric of the groups, with its draws."""
    names = tuple(parts)
    k = len(how.labels)
    group = np.repeat(np.arange(len(names)), [len(parts[n]) for n in names])
    truth, answer = bootstrap.indices([p for n in names for p in parts[n]], how.labels)
    cells = truth * (k + 1) + answer
    tables = _tables(group, cells, len(names), k)
    again = [bootstrap.resample(t, how.resamples, how.seed + i) for i, t in enumerate(tables)]
    of = {n: m.from_confusions for n, m in how.metrics.items()}  # type: ignore[attr-defined]
    chance = {n: np.empty((len(names), how.resamples)) for n in of}
    places = [np.flatnonzero(truth == label) for label in range(k)]
    rng = np.random.default_rng(how.seed)
    for draw in range(how.resamples):
        mixed = group.copy()
        for place in places:
            mixed[place] = rng.permutation(group[place])
        table = _tables(mixed, cells, len(names), k)
        for n, value in of.items():
            chance[n][:, draw] = value(table)
    return {
        n: Drawn(names, value(tables), np.array([value(one) for one in again]), chance[n]) for n, value in of.items()
    }


def _tables(group: np.ndarray, cells: np.ndarray, groups: int, classes: int) -> np.ndarray:
    """Confusion counts [groups, k, k + 1]."""
    size = classes * (classes + 1)
    return np.bincount(group * size + cells, minlength=groups * size).reshape(groups, classes, classes + 1)


def statements(people: Known, fields: Sequence[str], seed: int) -> dict[str, dict[str, dict[str, str]]]:
    """What to tell of each person, by condition and sample: `right` words, `wrong` ones, and `wrong age` and so on, where
    one field alone is wrong. Empty where nobody's field is known.

    A wrong word is one of another group of this split, drawn with even odds from the seed and the sample.
    """
    told = [f for f in fields if f in people.words]
    right: dict[str, dict[str, str]] = {}
    for field in told:
        for key, word in people.words[field].items():
            right.setdefault(key, {})[field] = word
    others = {f: sorted(set(people.words[f].values())) for f in told}
    told = [f for f in told if len({group_of(f, w) for w in others[f]}) > 1]
    if not right or not told:
        return {"right": right} if right else {}
    swapped: dict[str, dict[str, str]] = {}
    for key, words in right.items():
        draw = draw_for(seed, 0, key)
        swapped[key] = {
            f: draw(f"wrong {f}").choice([w for w in others[f] if group_of(f, w) != group_of(f, words[f])])
            for f in told
            if f in words
        }
    found = {"right": right, "wrong": {k: {**w, **swapped[k]} for k, w in right.items()}}
    for field in told if len(told) > 1 else ():
        found[f"wrong {field}"] = {
            k: {**w, field: swapped[k][field]} if field in swapped[k] else w for k, w in right.items()
        }
    return found


def flip_figures(
    right: Sequence[Prediction], other: Sequence[Prediction], people: Known, how: Scoring, told: set[str]
) -> dict[str, Any]:
    """What changes when people are told of otherwise: `flips` (the share of answers that are others, with its interval and
    `count`), how many were right before and wrong now (`lost`) or the reverse (`gained`), `by` group, and `apart`, each
    metric's paired difference. Over the samples in `told`, of which something was known to be said."""
    sides = [{p.id: p for p in side if p.id in told and p.state in ANSWERED} for side in (right, other)]
    common = [key for key in sides[0] if key in sides[1]]
    first, second = ([side[key] for key in common] for side in sides)
    flipped = {a.id: _answer(a) != _answer(b) for a, b in zip(first, second, strict=True)}
    by: dict[str, Any] = {}
    for field, words in people.words.items():
        groups: dict[str, list[bool]] = {}
        for key, flip in flipped.items():
            value = group_of(field, words.get(key, ""))
            if value:
                groups.setdefault(value, []).append(flip)
        if 1 < len(groups) <= GROUP_VALUES:
            by[field] = {value: _share(groups[value], how) for value in in_order(groups)}
    was = [(_hit(a), _hit(b)) for a, b in zip(first, second, strict=True)]
    return {
        "flips": _share(list(flipped.values()), how),
        "lost": sum(a and not b for a, b in was),
        "gained": sum(b and not a for a, b in was),
        "by": by,
        "apart": compare(first, second, how.metrics, how.labels, how.seed, how.resamples)["metrics"],
    }


def _answer(p: Prediction) -> str | None:
    return p.label if p.state == "scored" else None


def _hit(p: Prediction) -> bool:
    return p.truth is not None and _answer(p) == p.truth


def _share(flips: Sequence[bool], how: Scoring) -> dict[str, Any]:
    """A share with its interval."""
    yes = sum(flips)
    drawn = bootstrap.resample(np.array([yes, len(flips) - yes]), how.resamples, how.seed)[:, 0]
    value = yes / len(flips) if flips else None
    share = bootstrap.with_interval(value, drawn / len(flips) if flips else np.array([]))
    return {"count": len(flips), **share, "small": len(flips) < SMALL}
