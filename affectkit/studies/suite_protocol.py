"""How a set of a suite is asked of a run, and what scores its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

from affectkit.encode.cache import digest
from affectkit.errors import InputError, Problem
from affectkit.evaluation import protocol as protocols
from affectkit.evaluation.predict import AnswerOptions
from affectkit.evaluation.prediction import CountMetric, Prediction
from affectkit.evaluation.protocol import BuiltMetric, build_metric
from affectkit.model.model import Model, with_plan
from affectkit.plan.check import plan_recipe
from affectkit.plan.metrics import references
from affectkit.plan.plan import Plan
from affectkit.recipe.load import load_recipe
from affectkit.sample import LABEL, Sample, labels_in, targets_in
from affectkit.studies.cells import LazyRun
from affectkit.studies.suite import SuiteSet
from affectkit.train.run_folder import Run


@dataclass(frozen=True)
class AskedSet:
    """The samples of a set as a run is asked about them."""

    entry: SuiteSet
    samples: Sequence[Sample]
    run: LazyRun

    @cached_property
    def plan(self) -> Plan:
        """The run's plan with the set's own question. Raises InputError where no part of the prompt asks the task."""
        return plan_for(self.run.plan, self.run.run, self.entry)

    @property
    def model(self) -> Model:
        """The run's model under that plan."""
        loaded = self.run.loaded
        return loaded.model if self.plan is self.run.plan else with_plan(loaded.model, self.plan)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that are offered: those of the data set, for one that has none those that the run was taught."""
        return labels_in(self.samples) or self.run.labels

    @property
    def options(self) -> AnswerOptions:
        """How the samples are asked about."""
        s, own = self.run.plan.score, self.entry.settings
        method, most = self.entry.method(self.plan), own.max_new_tokens or s.max_new_tokens
        scales = targets_in(self.samples).numbers if method in self.plan.heads else {}
        options = AnswerOptions.of(s, own.task, method)
        options = replace(options, max_new_tokens=most, choices=own.choices, numbers=scales)
        return replace(options, normalise="mean" if own.likelihood == "token" else "sum") if own.choices else options

    def digest(self, options: AnswerOptions | None = None) -> str:
        """What answers hang on of the question."""
        return digest(list(self.labels), asdict(options or self.options), self.entry.question)

    @cached_property
    def metrics(self) -> dict[str, BuiltMetric]:
        """The set's metrics, built; all of them score the same answers.

        A label that is held against another truth than the sample's label (a sentiment, a list) counts as an answer in words.
        """
        entry = self.entry
        truths = references(entry.metrics[entry.primary].settings)
        task = LABEL if entry.settings.choices else entry.settings.task
        if entry.settings.task == LABEL and truths and LABEL not in truths:
            task = truths[0]
        asked = (task, entry.method(self.plan))
        return {
            name: BuiltMetric(asked, build_metric(use, entry.clients.get(name)), references(use.settings))
            for name, use in entry.metrics.items()
        }

    @property
    def count_metrics(self) -> dict[str, CountMetric]:
        """The metrics that a confusion matrix is enough for, the primary one first."""
        found = {n: one.metric for n, one in self.metrics.items() if isinstance(one.metric, CountMetric)}
        return dict(sorted(found.items(), key=lambda item: item[0] != self.entry.primary))

    @property
    def without_groups(self) -> str:
        """Why the set has no figures by people; nothing where it has."""
        if self.entry.settings.task != LABEL or self.entry.settings.choices:
            return "is not asked for labels"
        if not labels_in(self.samples):
            return "has no labels"
        if next(iter(self.metrics.values())).query[0] != LABEL or not self.count_metrics:
            return "is scored by no metric of labels"
        return ""


def finalise_choice(entry: SuiteSet, prediction: Prediction, references: set[str]) -> Prediction:
    """As the ledger wants it: without a truth it is skipped, and so is a truth that is none of the choices."""
    choices = entry.settings.choices
    if choices and prediction.truth is not None and prediction.truth not in choices:
        why = f"the truth {prediction.truth!r} is none of the choices"
        return replace(prediction, state="skipped", truth=None, error=why)
    return prediction if prediction.state == "skipped" else protocols.finalise(prediction, references)


def worded(prediction: Prediction, sample: Sample, task: str) -> Prediction:
    """A label as an answer in words to another task, for metrics that hold it against that task's truth."""
    if prediction.state == "undecodable":
        return replace(prediction, task=task, truth=None)
    truth = sample.answers.get(task, "")
    text, facts = prediction.label or prediction.text, {**prediction.facts, "reference": truth}
    state = prediction.state if prediction.state in ("refused", "invalid") else "scored"
    return replace(prediction, task=task, state=state, truth=truth or None, label=None, text=text, facts=facts)


def plan_for(plan: Plan, run: Run, entry: SuiteSet) -> Plan:
    """The plan with the set's own question. Raises InputError where no part of the prompt asks the task."""
    task, block = entry.settings.task, entry.question
    headed = task in plan.heads.values() and not entry.settings.choices
    if plan.alone and not headed:
        what = f"{entry.name} is asked the task {task!r}, which no head of {run.folder.name} answers"
        if entry.settings.choices:
            what = f"{entry.name} weighs texts against each other, and {run.folder.name} has no language model"
        raise InputError(Problem("--suite", what, f"add sets.{entry.name}=null", plan.answered))
    if plan.alone:
        return plan
    asking = [name for name, part in plan.parts.items() if getattr(part.settings, "task", "") == task]
    if block is None and not asking and not headed:
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
