"""Asking a model about the same people again, told the truth of them, something else, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from affectkit import bias, bootstrap
from affectkit.answer import Question, perceive, predict
from affectkit.bias_draws import SMALL, Scoring
from affectkit.cache import Cache
from affectkit.errors import InputError, Problem
from affectkit.estimates import facts_of
from affectkit.model import Model
from affectkit.plan import Plan
from affectkit.sample import Fact, Sample, labels_in
from affectkit.score import ANSWERED, Metric, Prediction, count
from affectkit.sensitivity import label_metrics
from affectkit.wanted import LABEL, Asked

ABOUT = {
    "as in the recipe": "what the recipe says by itself",
    "right": "every known word, as it is",
    "wrong": "every word of another group, drawn by the seed",
    "absent": "nothing",
}
"""What is told, by condition."""


@dataclass(frozen=True)
class Trial:
    """A model and the people that it is asked about."""

    model: Model
    samples: Sequence[Sample]
    cache: Cache
    say: Callable[[str], None] = print
    asked: Question | None = None
    """How labels are asked for; None: as the recipe says."""
    metrics: Mapping[str, Metric] | None = None
    """Metrics that a confusion matrix is enough for; None: the recipe's."""
    seed: int = 0
    """Added to the recipe's for draws: data sets are drawn independently."""
    changing: Sequence[str] = ()
    """Steps that other checkpoints have otherwise, see `answer.predict`."""

    @property
    def question(self) -> Question:
        """How labels are asked for."""
        s = self.model.plan.score
        return self.asked or Question(LABEL, s.method, s.batch, s.strict, s.most_tokens)

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


def measure(
    trial: Trial, answers: Mapping[Asked, list[Prediction]], people: bias.Known | None = None
) -> dict[str, Any]:
    """`groups` by field (see `bias.group_figures`) and `flips`: what becomes of the answers under other statements.

    Raises InputError where the recipe has no labels, or no metric of labels.
    """
    how = trial.how
    base = answers[LABEL, trial.question.method]
    people = people or people_of(trial)
    return {
        "small": SMALL,
        "groups": bias.group_figures(base, people, how),
        "flips": _flips(trial, base, people, how),
    }


def people_of(trial: Trial) -> bias.Known:
    """What is known of the people of a split, by labels and by what the recipe's steps estimate."""
    return bias.known(trial.samples, estimates(trial))


def estimates(trial: Trial) -> dict[str, dict[str, Fact]]:
    """By sample and field, what the steps that the prompt reads estimated; the first of them that tells a field counts."""
    reads = trial.model.plan.reads
    if not reads:
        return {}
    perceiver = perceive(trial.model, trial.samples, trial.cache, None, trial.changing)
    found: dict[str, dict[str, Fact]] = {}
    for sample in (trial.samples[i] for i in range(len(trial.samples))):
        if sample.id in perceiver.broken:
            continue
        entries, _ = perceiver.item(sample, False)
        facts = [facts_of(entries[address]) for address in reads if address in entries]
        found[sample.id] = {n: f for one in reversed(facts) for n, f in one.items() if n in bias.FIELDS}
    return found


def _flips(trial: Trial, base: Sequence[Prediction], people: bias.Known, how: Scoring) -> dict[str, Any]:
    """By condition: figures, flips and differences against the right words; or a note why there are none."""
    plan = trial.model.plan
    fields = bias.stating(plan)
    if not fields:
        return {"note": "no part of the prompt states age, gender or race: there is nothing to swap"}
    stated = bias.statements(people, fields, plan.run.seed)
    if not stated:
        return {"note": f"nothing is known of {', '.join(fields)}: there is nothing to state"}
    told = set(stated["right"])
    asked = {name: _ask(trial, name, words) for name, words in stated.items()} | {"absent": _ask(trial, "absent", None)}
    right = asked["right"]
    rows = []
    for name, predictions in {"as in the recipe": base, **asked}.items():
        seen = [p for p in predictions if p.id in told and p.truth is not None and p.state in ANSWERED]
        row: dict[str, Any] = {"name": name, "about": ABOUT.get(name, f"{name.removeprefix('wrong ')} alone is wrong")}
        row |= bootstrap.of_counts(how.metrics, count(seen, how.labels), how.resamples, how.seed)
        if predictions is not right:
            row |= bias.flip_figures(right, predictions, people, how, told)
        rows.append(row)
    return {
        "fields": {f: people.origins[f] for f in fields if f in people.words},
        "samples": len(told),
        "one_word": [
            f for f in fields if f in people.words and len({bias.group_of(f, w) for w in people.words[f].values()}) < 2
        ],
        "conditions": rows,
    }


def _ask(trial: Trial, name: str, words: Mapping[str, Mapping[str, str]] | None) -> list[Prediction]:
    """The answers with these words, or with none."""
    trial.say(f"bias: age, gender and race {name}")
    question = replace(trial.question, demographics=words is not None, stated=words)
    labels = labels_in(trial.samples)
    return predict(trial.model, trial.samples, labels, trial.cache, question, trial.changing)
