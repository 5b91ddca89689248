"""The bias of a checkpoint on the data sets of a suite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affectkit import bias_ask
from affectkit.bias_sets import OfSet, over_sets
from affectkit.errors import InputError, Problem
from affectkit.loading import Loaded
from affectkit.model import under
from affectkit.plan import Plan
from affectkit.sample import labels_in
from affectkit.score import Metric
from affectkit.suite_ask import Answered, Job, plan_for, question_for, wanted_of
from affectkit.suites import Entry
from affectkit.wanted import LABEL


def needs_labels(job: Job, plan: Plan) -> None:
    """Raises InputError where no data set that is there is asked for labels and scored by them."""
    without = {name: _why_not(job, entry, plan) for name, entry in job.entries.items()}
    if all(without.values()):
        told = "; ".join(f"{name} {why}" for name, why in without.items())
        raise InputError(Problem("--bias", f"no data set of the suite has figures by people: {told}"))


def measure(job: Job, loaded: Loaded, one: Answered, changing: Sequence[str]) -> dict[str, Any]:
    """Put `bias` into the figures of every set that has labels; returns `sets` (their groups), `over` all of them (see
    `bias_sets.over_sets`) and `without`, the other sets with the reason."""
    without: dict[str, str] = {}
    there: dict[str, OfSet] = {}
    for place, (name, entry) in enumerate(job.entries.items()):
        why = _why_not(job, entry, loaded.plan)
        if why:
            without[name] = why
            continue
        plan, question = plan_for(loaded.plan, loaded.run, entry), question_for(entry, loaded.plan)
        model = loaded.model if plan is loaded.plan else under(loaded.model, plan)
        say = lambda line, name=name: job.say(f"{name}: {line}")  # noqa: E731
        metrics = _metrics(entry, loaded.plan)
        trial = bias_ask.Trial(model, job.samples[name], job.cache, say, question, metrics, place, changing)
        people = bias_ask.people_of(trial)
        answers = one.answers[name]
        one.figures[name]["bias"] = bias_ask.measure(trial, answers, people)
        there[name] = OfSet(answers[LABEL, question.method], people, trial.how)
    groups = {name: one.figures[name]["bias"]["groups"] for name in there}
    return {"sets": groups, "over": over_sets(there), "without": without}


def _why_not(job: Job, entry: Entry, plan: Plan) -> str:
    """Why a set has no figures by people; nothing where it has."""
    if entry.settings.task != LABEL or entry.settings.choices:
        return "is not asked for labels"
    if not labels_in(job.samples[entry.name]):
        return "has no labels"
    asked = next(iter(wanted_of(entry, plan).values())).asked
    if asked[0] != LABEL or not _metrics(entry, plan):
        return "is scored by no metric of labels"
    return ""


def _metrics(entry: Entry, plan: Plan) -> dict[str, Metric]:
    """Those that a confusion matrix is enough for, the primary one first."""
    found = {n: w.metric for n, w in wanted_of(entry, plan).items() if hasattr(w.metric, "from_confusions")}
    return dict(sorted(found.items(), key=lambda item: item[0] != entry.primary))
