"""What metrics want to be asked of a model, and their figures over its answers. Imports no torch.

Most metrics score labels, found as the recipe says. Others want something else: a published protocol reads a generated
text in its own way, a judge reads reasons. Each says so (`asks`); every question is put to each sample once, whoever
wants the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from affectkit.errors import AffectkitError
from affectkit.evaluation.clients import CachedClient
from affectkit.evaluation.figures import MetricFigure, OtherAnswers, SplitFigures
from affectkit.evaluation.prediction import (
    Metric,
    Prediction,
    answered_only,
    has_truth,
    unparsed_if_empty,
    write_predictions,
)
from affectkit.evaluation.score import ledger, measure, note_counts, score, without_metrics
from affectkit.plan.metrics import Query, query_of, references, wants_client
from affectkit.plan.plan import GENERATE, Plan
from affectkit.plan.use import Use
from affectkit.sample import LABEL, LABELS, NUMBERS

SplitPredictor = Callable[[str, str, "int | None"], list[Prediction]]
"""From task, method and the most samples (None = all) to what became of each."""
Answers = Mapping[Query, list[Prediction]]

WANTED = {LABEL: "label to score against", LABELS: "labels to score against", NUMBERS: "numbers to score against"}
"""What a sample needs for an answer that is no free text, by task."""


@dataclass(frozen=True)
class BuiltMetric:
    """A metric, built, and the answers that it scores."""

    query: Query
    metric: Metric
    references: tuple[str, ...] = ()
    """The tasks whose true text answers are compared with, the first that a sample has; none: the one that is asked."""


def build_metrics(plan: Plan) -> dict[str, BuiltMetric]:
    """Every metric of a recipe, before anything is asked.

    Raises InputError for a client that may not be asked: better now than after hours of answering.
    """
    made = {}
    for name, use in plan.metrics.items():
        asked = query_of(use.settings, plan)
        made[name] = BuiltMetric(asked, build_metric(use, use.client), references(use.settings))
    return made


def build_metric(use: Use, client: Use | None) -> Metric:
    """A metric, with the client that it asks where it wants one."""
    wants = wants_client(use)
    asker = CachedClient(client.piece.build(client.settings)) if client and wants else None
    metric: Metric = use.piece.build(use.settings, *([asker] if wants else []))
    return metric


def collect(
    plan: Plan, metrics: Mapping[str, BuiltMetric], answer: SplitPredictor, show: int
) -> dict[Query, list[Prediction]]:
    """The answers of one split to all that is wanted: labels first, reasons of `show` samples for people to read."""
    found = {}
    for asked, most in queries(plan, metrics, show).items():
        references = {t for w in metrics.values() if w.query == asked for t in w.references}
        found[asked] = [finalise(p, references) if most is None else p for p in answer(*asked, most)]
    return found


def queries(plan: Plan, metrics: Mapping[str, BuiltMetric], show: int) -> dict[Query, int | None]:
    """What is asked of a split, and of how many of its samples (None: all)."""
    main = plan.method(LABEL)
    there = LABEL in plan.tasks or main in plan.heads
    wanted: dict[Query, int | None] = {(LABEL, main): None} if there else {}
    wanted |= dict.fromkeys((w.query for w in metrics.values()), None)
    if show and "reason" in plan.tasks:
        wanted.setdefault(("reason", GENERATE), show)
    return wanted


def finalise(prediction: Prediction, references: Iterable[str] = ()) -> Prediction:
    """A sample that has nothing to be scored against is skipped, an empty text is no answer: the ledger says so.

    `references` names tasks whose true text will do, beside the one that was asked.
    """
    if prediction.state == "undecodable":
        return prediction
    typed = WANTED.get(prediction.task)
    if not (has_truth(prediction) if typed else reference(prediction, (prediction.task, *references))):
        return replace(prediction, state="skipped", error=f"the sample has no {typed or 'text to compare with'}")
    return unparsed_if_empty(prediction)


def figures(
    plan: Plan,
    metrics: Mapping[str, BuiltMetric],
    answers: Answers,
    labels: Sequence[str],
    say: Callable[[str], None] = print,
) -> SplitFigures:
    """Figures of one split: `affectkit.evaluation.score.score` of the labels, and each metric that wanted other answers.

    `asked` lists the other answers with a ledger of their own. A judge that does not reply, or a truth that a protocol does
    not know, costs that figure only.
    """
    s, main = plan.score, (LABEL, plan.method(LABEL))
    out = SplitFigures()
    if main in answers:
        own = {name: w.metric for name, w in metrics.items() if w.query == main}
        out = score(answers[main], own, labels, plan.run.seed, s.resamples)
    results = dict(out.by_metric)
    others = {name: w for name, w in metrics.items() if w.query != main}
    first = next((w.query for w in others.values() if w.query[0] in (LABELS, NUMBERS)), None)
    for name, wanted in others.items():
        try:
            answered = answered_only([with_reference(p, wanted.references) for p in answers[wanted.query]])
            results[name] = measure(wanted.metric, answered, labels, plan.run.seed, s.resamples)
        except AffectkitError as error:
            results[name] = MetricFigure(None, None, None, {"error": str(error)})
            say(f"{name} has no value: {error}")
    if (
        first and main not in answers
    ):  # nothing but answers of another kind: their count, groups and ledger are the split's
        right = {n: w.metric for n, w in others.items() if w.query == first and not getattr(results[n], "error", "")}
        out = without_metrics(first[0], answers[first], right, labels, plan.run.seed, s.resamples)
        others = {name: w for name, w in others.items() if w.query != first}
    asked = dict.fromkeys(w.query for w in others.values())
    ledgers = tuple(OtherAnswers(t, m, ledger(answers[t, m])) for t, m in asked)
    if out.notes:  # of ratings and several labels that were asked beside labels, too
        typed = (p for query, own in answers.items() if query == main or query[0] in (LABELS, NUMBERS) for p in own)
        out = replace(out, notes=note_counts(typed))
    return replace(out, protocol=s.protocol, labels=tuple(labels), by_metric=results, asked=ledgers or None)


def reference(prediction: Prediction, tasks: Iterable[str]) -> str:
    """The true text of the first of these tasks that the sample has one of."""
    texts = (prediction.truth if t == prediction.task else prediction.truths.get(t) for t in tasks)
    return next((t for t in texts if t), "")


def with_reference(prediction: Prediction, references: Sequence[str]) -> Prediction:
    """The prediction with the true text of one of these tasks to compare with, its own where none is named."""
    if not references or prediction.task in WANTED:
        return prediction
    text = reference(prediction, references)
    return replace(prediction, truth=text or None, facts={**prediction.facts, "reference": text})


def write_answers(folder: Path, plan: Plan, answers: Mapping[str, Answers]) -> None:
    """Write the answers of all splits: what the recipe answers and free texts to predictions.jsonl; labels and ratings that a
    protocol wanted otherwise, or that other heads gave, to predictions-TASK-METHOD.jsonl: no sample stands twice in one file."""
    files: dict[str, list[Prediction]] = {"predictions.jsonl": []}
    for split, found in answers.items():
        for (task, method), predictions in found.items():
            apart = task in WANTED and method != plan.method(task)
            name = f"predictions-{task}-{method}.jsonl" if apart else "predictions.jsonl"
            files.setdefault(name, []).extend(replace(p, split=split) for p in predictions)
    for name, predictions in files.items():
        write_predictions(folder / name, predictions)
