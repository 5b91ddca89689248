"""How a model's figures differ between people: by age, gender and race, and by what it is told of them. Imports no torch.

Groups come from labels. A field of which the data has no label at all is grouped by what a network of the recipe estimated,
and every table says so: errors of that network are then part of the figures. Skin tone is a field of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as setting
from typing import Any

import numpy as np

from affectkit import bootstrap
from affectkit.bias_draws import SMALL, Persons, Scoring, clustered, drawn, is_small, people_in, resampled
from affectkit.plan import Plan
from affectkit.prompt import draw_for
from affectkit.sample import Fact, Origin, Sample
from affectkit.score import ANSWERED, GROUP_VALUES, Prediction, compare, count, in_order

STATED = ("age", "gender", "race")
"""What a prompt may state."""
FIELDS = (*STATED, "skin_tone")
"""What people are grouped by."""
Estimates = Mapping[str, Mapping[str, Fact]]
"""By sample and field, what the recipe's networks estimated."""


@dataclass(frozen=True)
class Known:
    """What is known of the people of a split."""

    words: Mapping[str, Mapping[str, str]]
    """By field and sample."""
    origins: Mapping[str, Origin]
    """By field, whether these are labels or estimates."""
    persons: Persons = setting(default_factory=dict)
    """By sample, who it is of, as far as the data says."""


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
    persons = {s.id: _word(fact) for s in people if (fact := s.fact("person")).origin == "label"}
    return Known(words, origins, {key: person for key, person in persons.items() if person})


def _word(fact: Fact) -> str:
    plain = not fact.per_frame and isinstance(fact.value, str | int | float)
    return str(fact.value).strip() if plain else ""


def group_figures(predictions: Sequence[Prediction], people: Known, how: Scoring) -> dict[str, Any]:
    """By field: `origin`, `without` (answered samples of unknown group), `groups`, `gaps`, and `by_person`, whether people were
    drawn (see `affectkit.bias_draws`).

    A group has `count`, `people` where they were drawn, `classes` (how many of the label set occur in it), `small` and each
    metric with its interval. A gap is the largest figure of a group that is not small less the smallest (`highest`,
    `lowest`), with the interval of the difference between these two. They were picked as the extremes, so an interval that
    leaves out 0 proves little; `by_accident` is the share of random groupings with as large a gap, in which every group keeps
    its size and classes, or its number of people.
    """
    answered = answered_of(predictions)
    found: dict[str, Any] = {}
    for name, words in people.words.items():
        parts = grouped(answered, name, words)
        about: dict[str, Any] = {"origin": people.origins[name]}
        about["without"] = len(answered) - sum(map(len, parts.values()))
        if len(parts) > GROUP_VALUES:
            found[name] = about | {"groups": {}, "gaps": {}, "note": f"{len(parts)} values are too many for groups"}
            continue
        persons = clustered(parts, people.persons)
        about["by_person"] = bool(persons)
        about["groups"] = {value: _group(part, how, persons) for value, part in parts.items()}
        large = {value: part for value, part in parts.items() if not is_small(part, persons)}
        about["gaps"] = {n: d.gap() for n, d in drawn(large, how, persons).items()} if len(large) > 1 else {}
        found[name] = about
    return found


def _group(part: Sequence[Prediction], how: Scoring, persons: Persons) -> dict[str, Any]:
    table, draws = count(part, how.labels), resampled(part, how, persons, how.seed)
    fast = {n: metric.from_confusions for n, metric in how.metrics.items()}  # type: ignore[attr-defined]
    return {
        "count": len(part),
        **({"people": people_in(part, persons)} if persons else {}),
        "classes": int((table.sum(1) > 0).sum()),
        "small": is_small(part, persons),
        **{n: bootstrap.with_interval(value(table[None])[0], value(draws)) for n, value in fast.items()},
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
