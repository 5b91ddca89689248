"""How a model's figures differ between people: by age, gender and race, and by what it is told of them.

Groups come from labels. A field of which the data has no label at all is grouped by what a network of the recipe estimated,
and every table says so: errors of that network are then part of the figures. Skin tone is a field of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as setting
from typing import Any

import numpy as np

from affectkit.encode.cache import Cache
from affectkit.encode.perceive import facts_of
from affectkit.errors import InputError, Problem
from affectkit.evaluation import bootstrap
from affectkit.evaluation.answer import AnswerOptions, perceive, predict
from affectkit.evaluation.figures import Bias, Condition, FieldFigures, FieldOverSets, Flips, GroupFigures, Share
from affectkit.evaluation.groups import (
    SMALL,
    GroupDraws,
    Persons,
    Scoring,
    draws_of,
    is_small,
    people_in,
    person_clusters,
    resampled,
)
from affectkit.evaluation.prediction import ANSWERED, Metric, Prediction
from affectkit.evaluation.score import GROUP_VALUES, compare, count, in_order
from affectkit.evaluation.sensitivity import label_metrics
from affectkit.model.model import Model
from affectkit.plan.metrics import LABEL, Query
from affectkit.plan.plan import Plan
from affectkit.prompt import draw_for
from affectkit.sample import Fact, Origin, Sample, labels_in

STATED = ("age", "gender", "race")
"""What a prompt may state."""

FIELDS = (*STATED, "skin_tone")
"""What people are grouped by."""

Estimates = Mapping[str, Mapping[str, Fact]]
"""By sample and field, what the recipe's networks estimated."""


@dataclass(frozen=True)
class People:
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


def known_people(samples: Sequence[Sample], estimates: Estimates) -> People:
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
    return People(words, origins, {key: person for key, person in persons.items() if person})


def _word(fact: Fact) -> str:
    plain = not fact.per_frame and isinstance(fact.value, str | int | float)
    return str(fact.value).strip() if plain else ""


def group_figures(predictions: Sequence[Prediction], people: People, how: Scoring) -> dict[str, FieldFigures]:
    """By field: groups and gaps between those of them that are not small.

    The ends of a gap were picked as the extremes, so an interval that leaves out 0 proves little; `by_accident` is the share
    of random groupings with as large a gap, in which every group keeps its size and classes, or its number of people.
    """
    answered = answered_only(predictions)
    found = {}
    for name, words in people.words.items():
        origin, parts = people.origins[name], group_answers(answered, name, words)
        without = len(answered) - sum(map(len, parts.values()))
        if len(parts) > GROUP_VALUES:
            note = f"{len(parts)} values are too many for groups"
            found[name] = FieldFigures(origin, without, {}, {}, note=note)
            continue
        persons = person_clusters(parts, people.persons)
        groups = {value: _group(part, how, persons) for value, part in parts.items()}
        large = {value: part for value, part in parts.items() if not is_small(part, persons)}
        gaps = {n: d.gap() for n, d in resampled(large, how, persons).items()} if len(large) > 1 else {}
        found[name] = FieldFigures(origin, without, groups, gaps, bool(persons))
    return found


def _group(part: Sequence[Prediction], how: Scoring, persons: Persons) -> GroupFigures:
    table, figures = count(part, how.labels), {}
    for name, metric in how.metrics.items():
        value = metric.from_confusions(table[None])[0]  # type: ignore[attr-defined]
        figures[name] = bootstrap.figure(value, draws_of(metric, part, how, persons, how.seed))
    people = people_in(part, persons) if persons else None
    return GroupFigures(len(part), people, int((table.sum(1) > 0).sum()), is_small(part, persons), figures)


def answered_only(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Those that metrics look at."""
    return [p for p in predictions if p.truth is not None and p.state in ANSWERED]


def group_answers(answered: Sequence[Prediction], field: str, words: Mapping[str, str]) -> dict[str, list[Prediction]]:
    """Answers by group of a field; those of unknown group are in none."""
    parts: dict[str, list[Prediction]] = {}
    for p in answered:
        value = group_of(field, words.get(p.id, ""))
        if value:
            parts.setdefault(value, []).append(p)
    return {value: parts[value] for value in in_order(parts)}


def statements(people: People, fields: Sequence[str], seed: int) -> dict[str, dict[str, dict[str, str]]]:
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
    right: Sequence[Prediction], other: Sequence[Prediction], people: People, how: Scoring, told: set[str]
) -> Condition:
    """What changes when people are told of otherwise than `right`: a condition without name and figures of its own.

    Over the samples in `told`, of which something was known to be said.
    """
    sides = [{p.id: p for p in side if p.id in told and p.state in ANSWERED} for side in (right, other)]
    common = [key for key in sides[0] if key in sides[1]]
    first, second = ([side[key] for key in common] for side in sides)
    flipped = {a.id: _answer(a) != _answer(b) for a, b in zip(first, second, strict=True)}
    by = {}
    for field, words in people.words.items():
        groups: dict[str, list[bool]] = {}
        for key, flip in flipped.items():
            value = group_of(field, words.get(key, ""))
            if value:
                groups.setdefault(value, []).append(flip)
        if 1 < len(groups) <= GROUP_VALUES:
            by[field] = {value: _share(groups[value], how) for value in in_order(groups)}
    was = [(_hit(a), _hit(b)) for a, b in zip(first, second, strict=True)]
    return Condition(
        name="",
        about="",
        flips=_share(list(flipped.values()), how),
        lost=sum(a and not b for a, b in was),
        gained=sum(b and not a for a, b in was),
        by=by,
        apart=compare(first, second, how.metrics, how.labels, how.seed, how.resamples).metrics,
    )


def _answer(p: Prediction) -> str | None:
    return p.label if p.state == "scored" else None


def _hit(p: Prediction) -> bool:
    return p.truth is not None and _answer(p) == p.truth


def _share(flips: Sequence[bool], how: Scoring) -> Share:
    """A share with its interval."""
    yes = sum(flips)
    drawn = bootstrap.resample(np.array([yes, len(flips) - yes]), how.resamples, how.seed)[:, 0]
    value = yes / len(flips) if flips else None
    ends = bootstrap.interval(drawn / len(flips) if flips else np.array([]))
    return Share(value, *ends, len(flips), len(flips) < SMALL)


ABOUT = {
    "as in the recipe": "what the recipe says by itself",
    "right": "every known word, as it is",
    "wrong": "every word of another group, drawn by the seed",
    "absent": "nothing",
}
"""What is told, by condition."""


AskAgain = Callable[[], list[Prediction]]


@dataclass(frozen=True)
class BiasProbe:
    """A model and the people that it is asked about."""

    model: Model
    samples: Sequence[Sample]
    cache: Cache
    say: Callable[[str], None] = print
    label_options: AnswerOptions | None = None
    """How labels are asked for; None: as the recipe says."""
    metrics: Mapping[str, Metric] | None = None
    """Metrics that a confusion matrix is enough for; None: the recipe's."""
    seed: int = 0
    """Added to the recipe's for draws: data sets are drawn independently."""
    changing: Sequence[str] = ()
    """Steps that other checkpoints have otherwise, see `answer.predict`."""
    keep: Callable[[str, AnswerOptions, AskAgain], list[Prediction]] = lambda _name, _question, ask: ask()
    """The answers to a question under a condition of that name: asked now, or those that were kept of an earlier call."""

    @property
    def options(self) -> AnswerOptions:
        """How labels are asked for."""
        s = self.model.plan.score
        return self.label_options or AnswerOptions(LABEL, s.method, s.batch, s.strict, s.max_new_tokens)

    @property
    def how(self) -> Scoring:
        """What figures are made with."""
        plan = self.model.plan
        metrics = label_metrics(plan, "--bias") if self.metrics is None else self.metrics
        return Scoring(metrics, labels_in(self.samples), plan.run.seed + self.seed, plan.score.resamples)


def needs_labels(plan: Plan) -> None:
    """Raises InputError for a recipe that asks no labels, or has no metric of them."""
    if LABEL not in plan.tasks:
        raise InputError(Problem("--bias", "no part of the recipe's prompt asks for labels", known=plan.tasks))
    label_metrics(plan, "--bias")


def measure(probe: BiasProbe, answers: Mapping[Query, list[Prediction]], people: People | None = None) -> Bias:
    """Figures by group (see `group_figures`), and flips: what becomes of the answers under other statements.

    Raises InputError where the recipe has no labels, or no metric of labels.
    """
    how = probe.how
    base = answers[LABEL, probe.options.method]
    people = people or people_of(probe)
    return Bias(SMALL, group_figures(base, people, how), _flips(probe, base, people, how))


def people_of(probe: BiasProbe) -> People:
    """What is known of the people of a split, by labels and by what the recipe's steps estimate."""
    return known_people(probe.samples, estimates(probe))


def estimates(probe: BiasProbe) -> dict[str, dict[str, Fact]]:
    """By sample and field, what the steps that the prompt reads estimated; the first of them that tells a field counts."""
    reads = probe.model.plan.reads
    if not reads:
        return {}
    perceiver = perceive(probe.model, probe.samples, probe.cache, None, probe.changing)
    found: dict[str, dict[str, Fact]] = {}
    for sample in (probe.samples[i] for i in range(len(probe.samples))):
        if sample.id in perceiver.broken:
            continue
        entries, _ = perceiver.item(sample, False)
        facts = [facts_of(entries[address]) for address in reads if address in entries]
        found[sample.id] = {n: f for one in reversed(facts) for n, f in one.items() if n in FIELDS}
    return found


def _flips(probe: BiasProbe, base: Sequence[Prediction], people: People, how: Scoring) -> Flips:
    """By condition: figures, flips and differences against the right words; or a note why there are none."""
    plan = probe.model.plan
    fields = stating(plan)
    if not fields:
        return Flips("no part of the prompt states age, gender or race: there is nothing to swap")
    stated = statements(people, fields, plan.run.seed)
    if not stated:
        return Flips(f"nothing is known of {', '.join(fields)}: there is nothing to state")
    told = set(stated["right"])
    asked = {name: _ask(probe, name, words) for name, words in stated.items()} | {"absent": _ask(probe, "absent", None)}
    right = asked["right"]
    rows = []
    for name, predictions in {"as in the recipe": base, **asked}.items():
        seen = [p for p in predictions if p.id in told and p.truth is not None and p.state in ANSWERED]
        about = ABOUT.get(name, f"{name.removeprefix('wrong ')} alone is wrong")
        figures = bootstrap.of_counts(how.metrics, count(seen, how.labels), how.resamples, how.seed)
        row = Condition(name, about) if predictions is right else flip_figures(right, predictions, people, how, told)
        rows.append(replace(row, name=name, about=about, metrics=figures))
    known_fields = {f: people.origins[f] for f in fields if f in people.words}
    one_word = [f for f in known_fields if len({group_of(f, w) for w in people.words[f].values()}) < 2]
    return Flips(None, known_fields, len(told), tuple(one_word), tuple(rows))


def _ask(probe: BiasProbe, name: str, words: Mapping[str, Mapping[str, str]] | None) -> list[Prediction]:
    """The answers with these words, or with none."""
    probe.say(f"bias: age, gender and race {name}")
    options = replace(probe.options, demographics=words is not None, stated=words)
    labels = labels_in(probe.samples)
    ask = lambda: predict(probe.model, probe.samples, labels, probe.cache, options, probe.changing)  # noqa: E731
    return probe.keep(name, options, ask)


APART = 1000
"""Between the seeds of two data sets, which are drawn independently."""

SetGroups = dict[str, list[Prediction]]


@dataclass(frozen=True)
class SetAnswers:
    """The answers to one data set, and its people."""

    answers: list[Prediction]
    people: People
    how: Scoring


def over_sets(sets: Mapping[str, SetAnswers]) -> dict[str, FieldOverSets]:
    """By field of which a data set tells: groups and gaps over the data sets, or a note why there are none.

    Over the data sets that have at least two groups that are not small, and the groups that are not small in any of these;
    of sets with labels and sets with estimates only those with labels, where there are two. Random groupings
    stay within each data set.
    """
    found = {}
    for field in FIELDS:
        here = {name: one for name, one in sets.items() if field in one.people.words}
        if here:
            found[field] = _over(field, here)
    return found


def _over(field: str, sets: Mapping[str, SetAnswers]) -> FieldOverSets:
    parts = {name: _large(field, one) for name, one in sets.items()}
    parts = {name: groups for name, groups in parts.items() if len(groups) > 1}
    origins = {name: sets[name].people.origins[field] for name in parts}
    origin: Origin = "label" if list(origins.values()).count("label") > 1 else "estimate"
    there = [name for name in parts if origins[name] == origin]
    if len(there) < 2:
        return FieldOverSets(note=_lonely(parts, origins))
    groups = [g for g in parts[there[0]] if all(g in parts[name] for name in there)]
    if len(groups) < 2:
        told = "; ".join(f"{name}: {', '.join(parts[name])}" for name in there)
        return FieldOverSets(note=f"no two groups are the same in all data sets ({told})")
    metrics = [n for n in sets[there[0]].how.metrics if all(n in sets[name].how.metrics for name in there)]
    if not metrics:
        return FieldOverSets(note=f"no metric is the same in all data sets ({', '.join(there)})")
    every = []
    for place, name in enumerate(there):
        how = sets[name].how
        own = replace(how, metrics={n: how.metrics[n] for n in metrics}, seed=how.seed + APART * place)
        here = {g: parts[name][g] for g in groups}
        every.append(resampled(here, own, person_clusters(here, sets[name].people.persons)))
    means = {n: _mean([one[n] for one in every]) for n in metrics}
    over = {
        g: GroupFigures(
            sum(len(parts[name][g]) for name in there),
            metrics={n: bootstrap.figure(m.values[i], m.draws[i]) for n, m in means.items()},
        )
        for i, g in enumerate(groups)
    }
    left_out = tuple(name for name in sets if name not in there)
    return FieldOverSets(origin, tuple(there), left_out, over, {n: m.gap() for n, m in means.items()})


def _lonely(parts: Mapping[str, SetGroups], origins: Mapping[str, str]) -> str:
    """Why there are no two data sets to be over."""
    if len(parts) > 1:
        return f"{' and '.join(f'{name} has {origins[name]}s' for name in parts)}, which are not thrown together"
    return f"{f'only {next(iter(parts))}' if parts else 'no data set'} has two groups of {SMALL} samples or more"


def _large(field: str, one: SetAnswers) -> SetGroups:
    """The groups of a data set that gaps are between; none where there are too many values for groups."""
    parts = group_answers(answered_only(one.answers), field, one.people.words[field])
    persons = person_clusters(parts, one.people.persons)
    large = {value: part for value, part in parts.items() if not is_small(part, persons)}
    return large if len(parts) <= GROUP_VALUES else {}


def _mean(every: list[GroupDraws]) -> GroupDraws:
    """Groups over data sets; where these were drawn a different number of times, as often as all were."""
    resamples = min(one.draws.shape[1] for one in every)
    cut = [(one.values, one.draws[:, :resamples], one.chance[:, :resamples]) for one in every]
    return GroupDraws(every[0].groups, *(np.mean(side, axis=0) for side in zip(*cut, strict=True)))
