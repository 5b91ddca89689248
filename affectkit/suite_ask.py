"""One checkpoint on the data sets of a suite: encode, ask, score."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from affectkit import protocols
from affectkit.answer import Question, blank, perceive, predict
from affectkit.cache import Cache
from affectkit.cache_keys import Keys
from affectkit.errors import InputError, MediaError, Problem
from affectkit.evaluation import tell_untaught
from affectkit.loading import Loaded, evaluated
from affectkit.model import Model, under
from affectkit.plan import Plan, plan_recipe
from affectkit.protocols import Wanted, build_metric
from affectkit.recipe import load_recipe
from affectkit.runs import Run
from affectkit.sample import Sample, labels_in
from affectkit.score import Prediction
from affectkit.suite_figures import draws_of, further
from affectkit.suites import Entry, Suite
from affectkit.wanted import LABEL, Asked, held_against

Say = Callable[[str], None]


@dataclass
class Job:
    """What is evaluated on what."""

    suite: Suite
    samples: dict[str, Sequence[Sample]]
    missing: dict[str, str]
    cache: Cache
    say: Say
    candidates: tuple[str, Sequence[Sample]] | None = None
    """The set whose answers are handed in, and those samples."""
    clips: set[str] = field(default_factory=set)
    """Every clip by its content."""
    told: bool = False
    """Whether it was said what is asked."""
    by_people: bool = False
    """Whether the figure gets figures by age, gender and race."""

    @property
    def entries(self) -> dict[str, Entry]:
        """The sets that are there."""
        return {name: self.suite.sets[name] for name in self.samples}


@dataclass
class Answered:
    """What one checkpoint gave."""

    name: str
    run: str
    source: int = 0
    """Which of the runs that were named, from 0."""
    answers: dict[str, dict[Asked, list[Prediction]]] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    draws: dict[str, Any] = field(default_factory=dict)
    """Bootstrap draws of each set's primary metric."""
    also: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Further figures of each set's primary metric, with intervals."""
    handed_in: list[Prediction] = field(default_factory=list)
    bias: dict[str, Any] = field(default_factory=dict)
    """By people over the sets (`affectkit.suite_bias`), where it was asked for."""


def answered(job: Job, loaded: Loaded, name: str, source: int, moving: Sequence[str]) -> Answered:
    """One checkpoint on every set; `moving` are steps that others have otherwise behind what they share."""
    run = evaluated(loaded.run)
    out = Answered(name, run.folder.name, source)
    _encode(job, loaded.model, moving)
    for set_name, entry in job.entries.items():
        samples, own = job.samples[set_name], entry.settings
        if not job.told:
            job.say(f"{set_name}: {len(samples)} samples of {own.split!r}, task {own.task}")
        if own.task == LABEL and not job.told:
            tell_untaught(run, set_name, labels_in(samples), job.say)
        wanted = wanted_of(entry, loaded.plan)
        asked = wanted[entry.primary].asked
        found = _ask(job, loaded, entry, samples, moving)
        if asked[0] != LABEL and own.task == LABEL:
            found = [_worded(p, samples[i], asked[0]) for i, p in enumerate(found)]
        against = {task for w in wanted.values() for task in w.against}
        out.answers[set_name] = {asked: [_settled(entry, p, against) for p in found]}
        _score(job, loaded.plan, entry, wanted, out)
    job.told = True
    if job.candidates is not None:
        set_name, samples = job.candidates
        out.handed_in = _ask(job, loaded, job.suite.sets[set_name], samples, moving)
    return out


def _encode(job: Job, model: Model, moving: Sequence[str]) -> None:
    """Run the heads on every distinct clip of all sets, so that one that is in two sets is encoded once."""
    names = Keys(model.plan, model.steps, job.cache.memo)
    distinct: dict[str, Sample] = {}
    sets = [*job.samples.values(), *([job.candidates[1]] if job.candidates else [])]
    for samples in sets:
        for sample in (samples[i] for i in range(len(samples))):
            try:
                distinct.setdefault(names.sample(sample, False), sample)
            except MediaError:
                distinct.setdefault(f"broken {sample.id}", sample)
    names.keep()
    job.clips |= set(distinct)
    perceive(model, list(distinct.values()), job.cache, None, moving)


def _ask(job: Job, loaded: Loaded, entry: Entry, samples: Sequence[Sample], moving: Sequence[str]) -> list[Prediction]:
    """The answer to every sample; one that lacks a text to choose from is skipped."""
    plan = plan_for(loaded.plan, loaded.run, entry)
    model = loaded.model if plan is loaded.plan else under(loaded.model, plan)
    own, question = entry.settings, question_for(entry, loaded.plan)
    every = [samples[i] for i in range(len(samples))]
    lacking = {x.id: [n for n in own.choices.values() if not x.answers.get(n, "").strip()] for x in every}
    whole = [x for x in every if not lacking[x.id]]
    found = iter(predict(model, whole, labels_of(samples, loaded), job.cache, question, moving))
    out = []
    for sample in every:
        if lacking[sample.id]:
            why = f"the sample has no text {', '.join(lacking[sample.id])}"
            out.append(replace(blank(sample, question), state="skipped", error=why))
        else:
            out.append(next(found))
    return out


def labels_of(samples: Sequence[Sample], loaded: Loaded) -> tuple[str, ...]:
    """The labels that are offered: those of the data set, for one that has none those that the run was taught."""
    return labels_in(samples) or loaded.labels


def _settled(entry: Entry, prediction: Prediction, against: set[str]) -> Prediction:
    """As the ledger wants it: without a truth it is skipped, and so is a truth that is none of the choices."""
    choices = entry.settings.choices
    if choices and prediction.truth is not None and prediction.truth not in choices:
        why = f"the truth {prediction.truth!r} is none of the choices"
        return replace(prediction, state="skipped", truth=None, error=why)
    return prediction if prediction.state == "skipped" else protocols.settled(prediction, against)


def _worded(prediction: Prediction, sample: Sample, task: str) -> Prediction:
    """A label as an answer in words to another task, for metrics that hold it against that task's truth."""
    if prediction.state == "undecodable":
        return replace(prediction, task=task, truth=None)
    facts = {**prediction.facts, "reference": sample.answers.get(task, "")}
    text = prediction.label or prediction.text
    return replace(prediction, task=task, state="scored", truth=None, label=None, text=text, facts=facts)


def wanted_of(entry: Entry, plan: Plan) -> dict[str, Wanted]:
    """The set's metrics, built; all of them score the same answers.

    A label that is held against another truth than the sample's label (a sentiment, a list) counts as an answer in words.
    """
    truths = held_against(entry.metrics[entry.primary].settings)
    task = LABEL if entry.settings.choices else entry.settings.task
    if entry.settings.task == LABEL and truths and LABEL not in truths:
        task = truths[0]
    asked = (task, entry.method(plan.score.method))
    return {
        name: Wanted(asked, build_metric(use, entry.clients.get(name)), held_against(use.settings))
        for name, use in entry.metrics.items()
    }


def question_for(entry: Entry, plan: Plan) -> Question:
    """How a set is asked by a run with that plan."""
    s, own = plan.score, entry.settings
    method = "candidates" if own.choices else entry.method(s.method)
    most = own.most_tokens or s.most_tokens
    return Question(own.task, method, s.batch, s.strict, most, True, own.choices, own.likelihood == "token")


def _score(job: Job, plan: Plan, entry: Entry, wanted: Mapping[str, Wanted], out: Answered) -> None:
    """Figures of one set, and the draws of its primary metric."""
    answers = out.answers[entry.name]
    asked = next(iter(answers))
    labels = tuple(entry.settings.choices) or labels_in(job.samples[entry.name])
    scored = plan if asked[0] != LABEL else _with_method(plan, asked[1])
    figures = protocols.figures(scored, wanted, answers, labels, job.say)
    metric = wanted[entry.primary]
    seen = protocols.comparable([protocols.compared(p, metric.against) for p in answers[asked]])
    out.figures[entry.name] = {"count": len(seen), **figures}
    if figures[entry.primary].get("value") is not None:
        place = list(job.suite.sets).index(entry.name)  # the sets are drawn independently of each other
        draws = (seen, labels, plan.score.resamples, plan.run.seed + place)
        out.draws[entry.name] = draws_of(metric.metric, *draws)
        out.also[entry.name] = further(metric.metric, entry.settings.also, *draws)


def _with_method(plan: Plan, method: str) -> Plan:
    """The plan as if its recipe found labels in this way: `figures` takes such answers for the main ones."""
    return replace(plan, score=replace(plan.score, method=method))  # type: ignore[arg-type]


def plan_for(plan: Plan, run: Run, entry: Entry) -> Plan:
    """The plan with the set's own question. Raises InputError where no part of the prompt asks the task."""
    task, block = entry.settings.task, entry.question
    asking = [name for name, part in plan.parts.items() if getattr(part.settings, "task", "") == task]
    if block is None and not asking:
        what = f"{entry.name} is asked the task {task!r}, which no part of the recipe's prompt asks"
        fix = f"add sets.{entry.name}.task=… or defaults.task=…, or give the set a `question`"
        raise InputError(Problem("--suite", what, fix, plan.tasks))
    if block is None:
        return plan
    name = asking[0] if asking else "suite_question"
    text = json.dumps({**block, "task": task} if "task" in block else dict(block), ensure_ascii=False)
    overrides = [*(f"prompt.parts.{part}=null" for part in asking), f"prompt.parts.{name}={text}"]
    made, problems = plan_recipe(load_recipe(run.recipe, [*plan.recipe.overrides, *overrides]), plan.registry)
    if problems:
        raise InputError(problems)
    return replace(made, score=plan.score, run=plan.run)
