"""How a model's figures differ between people: by age, gender and race, and by what it is told of them.

Groups come from labels. A field of which the data has no label at all is grouped by what a network of the recipe estimated,
and every table says so: errors of that network are then part of the figures. Skin tone is a field of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as setting
from typing import TypeVar

import numpy as np

from affectkit.encode.cache import Cache
from affectkit.encode.perceive import facts_of
from affectkit.errors import InputError, Problem
from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import Bias, Condition, FieldFigures, Flips, GroupFigures, Share
from affectkit.evaluation.groups import SMALL, GroupDraws, Groups
from affectkit.evaluation.over_sets import FieldOverSets
from affectkit.evaluation.predict import AnswerOptions, perceive, predict
from affectkit.evaluation.prediction import ANSWERED, CountMetric, Prediction, labelled
from affectkit.evaluation.score import GROUP_VALUES, Scoring, in_order
from affectkit.evaluation.sensitivity import label_metrics
from affectkit.model.model import Model
from affectkit.plan.metrics import Query
from affectkit.plan.plan import Plan
from affectkit.prompt import draw_for
from affectkit.sample import LABEL, Fact, Origin, Sample, labels_in

T = TypeVar("T")

STATED = ("age", "gender", "race")
"""What a prompt may state."""

FIELDS = (*STATED, "skin_tone")
"""What people are grouped by."""

Estimates = Mapping[str, Mapping[str, Fact]]
"""By sample and field, what the recipe's networks estimated."""
Statements = Mapping[str, Mapping[str, str]]
"""By sample and field, the word that the prompt states."""


@dataclass(frozen=True)
class People:
    """What is known of the people of a split."""

    words: Mapping[str, Mapping[str, str]]
    """By field and sample."""
    origins: Mapping[str, Origin]
    """By field, whether these are labels or estimates."""
    persons: Mapping[str, str] = setting(default_factory=dict)
    """By sample, who it is of, as far as the data says."""

    def grouped(self, field: str, items: Mapping[str, T]) -> dict[str, list[T]]:
        """What there is of each sample, by the sample's group of a field; samples of unknown group are left out."""
        parts: dict[str, list[T]] = {}
        for sample, item in items.items():
            group = group_of(field, self.words[field].get(sample, ""))
            if group:
                parts.setdefault(group, []).append(item)
        return {group: parts[group] for group in in_order(parts)}


@dataclass(frozen=True)
class SetAnswers:
    """The answers to one data set, its people, and how it is scored."""

    answers: list[Prediction]
    people: People
    how: Scoring[CountMetric]

    def groups(self, field: str) -> Groups:
        """The answers by group of a field: those with a truth, of samples of known group."""
        answered = {p.id: p for p in labelled(self.answers)}
        return Groups.of(self.people.grouped(field, answered), self.how, self.people.persons)


def stating(plan: Plan) -> tuple[str, ...]:
    """The fields that parts of the prompt may state; nothing where none does."""
    parts = [u.settings for u in plan.parts.values() if getattr(u.settings, "states_demographics", False)]
    named = {name for settings in parts for name in getattr(settings, "fields", STATED)}
    return tuple(name for name in STATED if name in named)


def band(value: object) -> str:
    """A word as it is; a number of years as its decade (`20-29`, `70+`), empty where it is no age."""
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
    people = [samples[i] for i in range(len(samples))]
    words: dict[str, dict[str, str]] = {}
    origins: dict[str, Origin] = {}
    sources: tuple[tuple[Origin, Estimates], ...] = ("label", {s.id: s.facts for s in people}), ("estimate", estimates)
    for field in FIELDS:
        for origin, facts in sources:
            found = _words([(s.id, facts.get(s.id, {}).get(field)) for s in people], origin)
            if found:
                words[field], origins[field] = found, origin
                break
    return People(words, origins, _words([(s.id, s.fact("person")) for s in people], "label"))


def _words(facts: Sequence[tuple[str, Fact | None]], origin: Origin) -> dict[str, str]:
    """By sample, the facts of that origin that are a word or a number, as words."""
    plain = {sample: fact.value for sample, fact in facts if fact and fact.origin == origin and not fact.per_frame}
    words = {sample: str(v).strip() for sample, v in plain.items() if isinstance(v, str | int | float)}
    return {sample: word for sample, word in words.items() if word}


def group_figures(
    predictions: Sequence[Prediction], people: People, how: Scoring[CountMetric]
) -> dict[str, FieldFigures]:
    """By field: groups and gaps between those of them that are not small.

    The ends of a gap were picked as the extremes, so an interval that leaves out 0 proves little; `by_accident` is the share
    of random groupings with as large a gap, in which every group keeps its size and classes, or its number of people.
    """
    split, found = SetAnswers(list(predictions), people, how), {}
    for name, origin in people.origins.items():
        groups = split.groups(name)
        without = len(labelled(predictions)) - sum(map(len, groups.parts.values()))
        if len(groups.parts) > GROUP_VALUES:
            note = f"{len(groups.parts)} values are too many for groups"
            found[name] = FieldFigures(origin, without, {}, {}, note=note)
            continue
        large = groups.large()
        gaps = {n: d.gap() for n, d in large.draws().items()} if len(large.parts) > 1 else {}
        found[name] = FieldFigures(origin, without, groups.figures(), gaps, bool(groups.persons))
    return found


def statements(people: People, fields: Sequence[str], seed: int) -> dict[str, Statements]:
    """What to state of each person, by condition: `right` words, `wrong` ones, and `wrong age` and so on, where one field
    alone is wrong. Empty where nobody's field is known.

    A wrong word is one of another group of this split, drawn with even odds from the seed and the sample.
    """
    words = {f: people.words[f] for f in fields if f in people.words}
    right: dict[str, dict[str, str]] = {}
    for field, known in words.items():
        for sample, word in known.items():
            right.setdefault(sample, {})[field] = word
    others = {f: sorted(set(known.values())) for f, known in words.items()}
    swapping = [f for f in words if len({group_of(f, w) for w in others[f]}) > 1]
    if not right or not swapping:
        return {"right": right} if right else {}
    swapped: dict[str, dict[str, str]] = {}
    for sample, own in right.items():
        draw = draw_for(seed, 0, sample)
        swapped[sample] = {
            f: draw(f"wrong {f}").choice([w for w in others[f] if group_of(f, w) != group_of(f, own[f])])
            for f in swapping
            if f in own
        }
    found: dict[str, Statements] = {"right": right}
    for name, changed in {"wrong": swapping, **{f"wrong {f}": [f] for f in swapping if len(swapping) > 1}}.items():
        found[name] = {s: {**own, **{f: swapped[s][f] for f in changed if f in own}} for s, own in right.items()}
    return found


def with_flips(row: Condition, right: SetAnswers, other: Sequence[Prediction], known: set[str]) -> Condition:
    """The condition with what changes when other words than the `right` ones are stated.

    Over the samples in `known`, of which there was something to state.
    """
    people, how = right.people, right.how
    sides = [{p.id: p for p in side if p.id in known and p.state in ANSWERED} for side in (right.answers, other)]
    common = [sample for sample in sides[0] if sample in sides[1]]
    first, second = ([side[sample] for sample in common] for side in sides)
    flipped = {a.id: _answer(a) != _answer(b) for a, b in zip(first, second, strict=True)}
    groups = {field: people.grouped(field, flipped) for field in people.words}
    was = [(_is_right(a), _is_right(b)) for a, b in zip(first, second, strict=True)]
    return replace(
        row,
        flips=_share(list(flipped.values()), how),
        lost=sum(a and not b for a, b in was),
        gained=sum(b and not a for a, b in was),
        by={
            field: {value: _share(flips, how) for value, flips in parts.items()}
            for field, parts in groups.items()
            if 1 < len(parts) <= GROUP_VALUES
        },
        apart=how.compare(first, second),
    )


def _answer(p: Prediction) -> str | None:
    """The label that was answered; None for one outside the set and for none."""
    return p.label if p.state == "scored" else None


def _is_right(p: Prediction) -> bool:
    return p.truth is not None and _answer(p) == p.truth


def _share(flips: Sequence[bool], how: Scoring[CountMetric]) -> Share:
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
"""What is stated, by condition."""


AskAgain = Callable[[], list[Prediction]]
"""Asks the model, and returns its answers."""


@dataclass(frozen=True)
class BiasProbe:
    """A model and the people that it is asked about."""

    model: Model
    samples: Sequence[Sample]
    cache: Cache
    say: Callable[[str], None] = print
    label_options: AnswerOptions | None = None
    """How labels are asked for; None: as the recipe says."""
    metrics: Mapping[str, CountMetric] | None = None
    """Metrics that a confusion matrix is enough for; None: the recipe's."""
    seed: int = 0
    """Added to the recipe's for draws: data sets are drawn independently."""
    changing: Sequence[str] = ()
    """Steps that other checkpoints have otherwise, see `predict.predict`."""
    keep: Callable[[str, AnswerOptions, AskAgain], list[Prediction]] = lambda _name, _question, ask: ask()
    """The answers to a question under a condition of that name: asked now, or those that were kept of an earlier call."""

    @property
    def options(self) -> AnswerOptions:
        """How labels are asked for."""
        plan = self.model.plan
        return self.label_options or AnswerOptions.of(plan.score, LABEL, plan.method(LABEL))

    @property
    def how(self) -> Scoring[CountMetric]:
        """What figures are made with."""
        plan = self.model.plan
        metrics = label_metrics(plan, "--bias") if self.metrics is None else self.metrics
        return Scoring(metrics, labels_in(self.samples), plan.run.seed + self.seed, plan.score.resamples)


def needs_labels(plan: Plan, place: str = "--bias") -> None:
    """Raises InputError, at `place`, for a recipe that answers no label, or has no metric of labels."""
    if LABEL not in plan.answered:
        what = f"tells of runs that answer one label, and this one answers {' and '.join(plan.answered)}"
        raise InputError(Problem(place, what, known=plan.answered))
    label_metrics(plan, place)


def measure(probe: BiasProbe, answers: Mapping[Query, list[Prediction]], people: People | None = None) -> Bias:
    """Figures by group (see `group_figures`), and flips: what becomes of the answers under other statements.

    `people` are those that labels, or else the recipe's steps, tell of, unless given. Raises InputError where the recipe
    has no labels, or no metric of labels.
    """
    how, base = probe.how, answers[LABEL, probe.options.method]
    people = people or known_people(probe.samples, estimates(probe))
    return Bias(SMALL, group_figures(base, people, how), _flips(probe, base, people, how))


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


def _flips(probe: BiasProbe, base: Sequence[Prediction], people: People, how: Scoring[CountMetric]) -> Flips:
    """By condition: figures, flips and differences against the right words; or a note why there are none."""
    plan = probe.model.plan
    fields = stating(plan)
    if probe.options.method in plan.heads and not plan.reads_hidden(probe.options.method):
        return Flips(f"the head {probe.options.method!r} answers, which reads no prompt: there is nothing to swap")
    if not fields:
        return Flips("no part of the prompt states age, gender or race: there is nothing to swap")
    stated = statements(people, fields, plan.run.seed)
    if not stated:
        return Flips(f"nothing is known of {', '.join(fields)}: there is nothing to state")
    known = set(stated["right"])
    asked = {name: _ask(probe, name, words) for name, words in stated.items()} | {"absent": _ask(probe, "absent", None)}
    right, rows = SetAnswers(asked["right"], people, how), []
    for name, predictions in {"as in the recipe": base, **asked}.items():
        about = ABOUT.get(name, f"{name.removeprefix('wrong ')} alone is wrong")
        row = Condition(name, about, how.figures([p for p in labelled(predictions) if p.id in known]))
        rows.append(row if name == "right" else with_flips(row, right, predictions, known))
    origins = {f: people.origins[f] for f in fields if f in people.words}
    one_word = tuple(f for f in origins if len({group_of(f, w) for w in people.words[f].values()}) < 2)
    return Flips(None, origins, len(known), one_word, tuple(rows))


def _ask(probe: BiasProbe, name: str, words: Statements | None) -> list[Prediction]:
    """The answers with these words stated, or with none."""
    probe.say(f"bias: age, gender and race {name}")
    options = replace(probe.options, demographics=words is not None, stated=words)
    labels = labels_in(probe.samples)
    ask = lambda: predict(probe.model, probe.samples, labels, probe.cache, options, probe.changing)  # noqa: E731
    return probe.keep(name, options, ask)


APART = 1000
"""Between the seeds of two data sets, which are drawn independently."""


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
    """`over_sets` for one field, of the data sets that tell of it."""
    every = {name: one.groups(field) for name, one in sets.items()}
    parts = {name: groups.large().parts for name, groups in every.items() if len(groups.parts) <= GROUP_VALUES}
    parts = {name: large for name, large in parts.items() if len(large) > 1}
    origins = {name: sets[name].people.origins[field] for name in parts}
    origin: Origin = "label" if list(origins.values()).count("label") > 1 else "estimate"
    there = [name for name in parts if origins[name] == origin]
    if len(there) < 2:
        return FieldOverSets(note=_lonely(origins))
    values = [g for g in parts[there[0]] if all(g in parts[name] for name in there)]
    if len(values) < 2:
        told = "; ".join(f"{name}: {', '.join(parts[name])}" for name in there)
        return FieldOverSets(note=f"no two groups are the same in all data sets ({told})")
    metrics = [n for n in sets[there[0]].how.metrics if all(n in sets[name].how.metrics for name in there)]
    if not metrics:
        return FieldOverSets(note=f"no metric is the same in all data sets ({', '.join(there)})")
    drawn = []
    for place, name in enumerate(there):
        how = sets[name].how
        own = replace(how, metrics={n: how.metrics[n] for n in metrics}, seed=how.seed + APART * place)
        drawn.append(Groups.of({g: parts[name][g] for g in values}, own, sets[name].people.persons).draws())
    means = {n: _mean([one[n] for one in drawn]) for n in metrics}
    figures = {
        g: GroupFigures(
            sum(len(parts[name][g]) for name in there),
            metrics={n: bootstrap.figure(m.values[i], m.draws[i]) for n, m in means.items()},
        )
        for i, g in enumerate(values)
    }
    left_out = tuple(name for name in sets if name not in there)
    return FieldOverSets(origin, tuple(there), left_out, figures, {n: m.gap() for n, m in means.items()})


def _lonely(origins: Mapping[str, Origin]) -> str:
    """Why there are no two data sets to be over, by the origins of those that have groups."""
    if len(origins) > 1:
        return f"{' and '.join(f'{name} has {one}s' for name, one in origins.items())}, which are not thrown together"
    return f"{f'only {next(iter(origins))}' if origins else 'no data set'} has two groups of {SMALL} samples or more"


def _mean(every: Sequence[GroupDraws]) -> GroupDraws:
    """Groups over data sets; where these were drawn a different number of times, as often as all were."""
    resamples = min(one.draws.shape[1] for one in every)
    cut = [(one.values, one.draws[:, :resamples], one.chance[:, :resamples]) for one in every]
    return GroupDraws(every[0].groups, *(np.mean(side, axis=0) for side in zip(*cut, strict=True)))
