"""How a set of a suite is asked of a run, and what scores its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from affectkit.api import LoadedRun
from affectkit.encode.cache import digest
from affectkit.errors import InputError, Problem
from affectkit.evaluation import protocol as protocols
from affectkit.evaluation.predict import AnswerOptions
from affectkit.evaluation.prediction import CountMetric, Prediction
from affectkit.evaluation.protocol import BuiltMetric, build_metric
from affectkit.model.model import Model, with_plan
from affectkit.plan.check import plan_recipe
from affectkit.plan.metrics import LABEL, references
from affectkit.plan.plan import Plan
from affectkit.recipe.load import load_recipe
from affectkit.sample import Sample, labels_in
from affectkit.studies.cells import LazyRun
from affectkit.studies.suite import SuiteSet
from affectkit.train.run_folder import Run


def question_digest(entry: SuiteSet, labels: Sequence[str], options: AnswerOptions) -> str:
    """What answers hang on of the question."""
    return digest(list(labels), asdict(options), entry.question)


def model_for(loaded: LoadedRun, entry: SuiteSet) -> Model:
    """The model, with the set's own question."""
    plan = plan_for(loaded.plan, loaded.run, entry)
    return loaded.model if plan is loaded.plan else with_plan(loaded.model, plan)


def labels_of(samples: Sequence[Sample], run: LazyRun) -> tuple[str, ...]:
    """The labels that are offered: those of the data set, for one that has none those that the run was taught."""
    return labels_in(samples) or run.labels


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
    facts = {**prediction.facts, "reference": sample.answers.get(task, "")}
    text = prediction.label or prediction.text
    return replace(prediction, task=task, state="scored", truth=None, label=None, text=text, facts=facts)


def built_metrics(entry: SuiteSet, plan: Plan) -> dict[str, BuiltMetric]:
    """The set's metrics, built; all of them score the same answers.

    A label that is held against another truth than the sample's label (a sentiment, a list) counts as an answer in words.
    """
    truths = references(entry.metrics[entry.primary].settings)
    task = LABEL if entry.settings.choices else entry.settings.task
    if entry.settings.task == LABEL and truths and LABEL not in truths:
        task = truths[0]
    asked = (task, entry.method(plan.score.method))
    return {
        name: BuiltMetric(asked, build_metric(use, entry.clients.get(name)), references(use.settings))
        for name, use in entry.metrics.items()
    }


def question_for(entry: SuiteSet, plan: Plan) -> AnswerOptions:
    """How a set is asked by a run with that plan."""
    s, own = plan.score, entry.settings
    method = "candidates" if own.choices else entry.method(s.method)
    most = own.max_new_tokens or s.max_new_tokens
    return AnswerOptions(own.task, method, s.batch, s.strict, most, True, own.choices, own.likelihood == "token")


def plan_for(plan: Plan, run: Run, entry: SuiteSet) -> Plan:
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


def without_groups(entry: SuiteSet, samples: Sequence[Sample], plan: Plan) -> str:
    """Why a set has no figures by people; nothing where it has."""
    if entry.settings.task != LABEL or entry.settings.choices:
        return "is not asked for labels"
    if not labels_in(samples):
        return "has no labels"
    asked = next(iter(built_metrics(entry, plan).values())).query
    if asked[0] != LABEL or not count_metrics(entry, plan):
        return "is scored by no metric of labels"
    return ""


def count_metrics(entry: SuiteSet, plan: Plan) -> dict[str, CountMetric]:
    """A set's metrics that a confusion matrix is enough for, the primary one first."""
    built = built_metrics(entry, plan)
    found = {n: w.metric for n, w in built.items() if isinstance(w.metric, CountMetric)}
    return dict(sorted(found.items(), key=lambda item: item[0] != entry.primary))
