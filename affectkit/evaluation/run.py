"""The evaluation of a model on the recipe's splits: ask, write the answers, score them, try variants."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from affectkit.data.splits import check_faces, open_split
from affectkit.encode.cache import Cache
from affectkit.errors import InputError, Problem
from affectkit.evaluation import bias, sensitivity
from affectkit.evaluation import protocol as protocols
from affectkit.evaluation.calibration import TemperatureFit
from affectkit.evaluation.figures import SplitFigures
from affectkit.evaluation.predict import AnswerOptions, check_prompts, predict
from affectkit.evaluation.prediction import Prediction
from affectkit.evaluation.score import write_metrics
from affectkit.evaluation.yardstick import heads_beside, make_yardstick
from affectkit.files import Say
from affectkit.heads import answerable
from affectkit.model.model import Model
from affectkit.plan.graph import per_batch
from affectkit.plan.metrics import Query
from affectkit.plan.plan import Plan
from affectkit.sample import LABEL, LABELS, NUMBERS, Sample, Targets, labels_in, targets_in
from affectkit.train.run_folder import Run, evaluated_run, saved_targets


def score_run(
    plan: Plan, model: Model, run: Run, say: Say = print, vary: Sequence[str] = (), by_people: bool = False
) -> dict[str, SplitFigures]:
    """Evaluate on the recipe's splits; write predictions.jsonl and metrics.json.

    `vary` names what else to try (`affectkit.evaluation.sensitivity.KINDS`): figures under other questions, frames, words.
    `by_people` adds figures by age, gender and race, and what becomes of answers when these are stated otherwise.
    """
    assert plan.data is not None
    cache, main = Cache(plan.cache_folder), (LABEL, plan.method(LABEL))
    metrics = protocols.build_metrics(plan)
    begun = time.monotonic()
    splits = {split: open_split(plan.data, split, plan.recipe.place(("data",))) for split in plan.score.splits}
    for samples in splits.values():
        check_faces(plan, samples)
    check_variants(plan, splits.values(), vary, by_people)  # shows before anything is asked
    asked, targets = protocols.queries(plan, metrics, plan.score.reasons), saved_targets(evaluated_run(run))
    for split, samples in splits.items():
        check_known(plan, asked, targets, samples)
        print_untaught(run, split, labels_in(samples), say)
    answers: dict[str, dict[Query, list[Prediction]]] = {}
    for split, samples in splits.items():
        answers[split] = protocols.collect(plan, metrics, predictor_for(model, samples, cache), plan.score.reasons)
    batched = [a for a in plan.needed() if per_batch(plan.graph.steps[a])]
    took = round(time.monotonic() - begun, 2)
    run.note({"evaluation_seconds": took, "per_batch": batched, "demographics": bool(bias.stating(plan))})
    protocols.write_answers(run.folder, plan, answers)  # before any judge is asked: answers cost more than verdicts
    figures = {s: protocols.figures(plan, metrics, found, labels_in(splits[s]), say) for s, found in answers.items()}
    yardstick = make_yardstick(model, cache, run, say)
    for split, samples in splits.items():
        others = heads_beside(model, cache, yardstick, metrics, samples, answers[split], say)
        figures[split] = replace(figures[split], others=others or None)
    protocols.write_answers(run.folder, plan, answers)  # with those of the heads beside, each in a file of its own
    fit = TemperatureFit(plan, run, lambda samples: predictor_for(model, samples, cache)(*main, None), say)
    figures = fit.added(figures, answers)
    for split in splits if vary else ():
        task = sensitivity.compared(plan).task
        ask = lambda under, samples: predictor_for(under, samples, cache)(task, plan.method(task), None)  # noqa: E731, B023
        trial = sensitivity.SensitivityProbe(model, run.recipe, splits[split], ask, say)
        figures[split] = replace(figures[split], sensitivity=sensitivity.vary(trial, vary, answers[split]))
    for split in splits if by_people else ():
        probe = bias.BiasProbe(model, splits[split], cache, say)
        figures[split] = replace(figures[split], bias=bias.measure(probe, answers[split]))
    for split, one in figures.items():
        if not one.count and len(splits[split]):
            say(
                f"{split}: none of the {len(splits[split])} samples has what is scored; answers are in predictions.jsonl"
            )
    write_metrics(run.folder, figures)
    return figures


def check_variants(
    plan: Plan, splits: Iterable[Sequence[Sample]] = (), vary: Sequence[str] = (), by_people: bool = False
) -> None:
    """Raises InputError where there is nothing to vary in these splits, or nothing to tell of people."""
    for samples in splits if vary else ():
        sensitivity.planned(plan, vary, labels_in(samples))
    if by_people:
        bias.needs_labels(plan)


def check_scored(plan: Plan, model: Model, splits: Iterable[Sequence[Sample]], targets: Mapping[str, Targets]) -> None:
    """Raises InputError, before anything is trained, with samples of splits to be scored that the LLM's context is too short for,
    and with heads of whose answers these have none; `targets` says what each head answers."""
    asked = protocols.queries(plan, protocols.build_metrics(plan), plan.score.reasons)
    for samples in splits:
        check_known(plan, asked, targets, samples)
        for (task, method), most in asked.items():
            if method in plan.heads and not plan.reads_hidden(method):  # which reads no prompt
                continue
            options = AnswerOptions.of(plan.score, task, method)
            check_prompts(model, _first(samples, most), labels_in(samples), Cache(plan.cache_folder), options)


def check_known(plan: Plan, asked: Iterable[Query], targets: Mapping[str, Targets], samples: Sequence[Sample]) -> None:
    """Raises InputError for heads that are to answer samples which have none of the labels, or ratings, that the head knows
    (`targets`, by head): a figure would say nothing."""
    there, problems, asked = targets_in(samples), [], tuple(asked)
    typed = [task for task, _ in asked if task in (LABEL, LABELS, NUMBERS)]
    if typed and not any(answerable(task, there) for task in typed):
        what = (
            f"the run answers {' and '.join(dict.fromkeys(typed))}, and the data has none: nothing of it can be scored"
        )
        problems.append(
            Problem(plan.recipe.place(("data",)), what, "say which columns hold them, or ask with affectkit predict")
        )
    for task, head in asked:
        own = targets.get(head, Targets()) if head in plan.heads else Targets()
        known, true = ([*one.numbers] if task == NUMBERS else [*one.labels] for one in (own, there))
        if true and known and not {*known} & {*true}:
            what = f"the head {head!r} answers {', '.join(known)}, and the data has {', '.join(true)}"
            fix = "rename what means the same in the data, or train the head on such data"
            problems.append(Problem(plan.recipe.place(("data",)), f"{what}: nothing of it can be scored", fix))
    if problems:
        raise InputError(problems)


def untaught(notes: Mapping[str, Any], labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Of the labels of data those that a run was never taught, by the notes of its run.json; and those that it was taught."""
    never = notes.get("untaught") or ()
    taught = [label for label in notes.get("labels") or labels if label not in never]
    return [label for label in labels if label not in taught], taught


def print_untaught(run: Run, split: str, labels: Sequence[str], say: Say) -> None:
    """Say which labels of a split the run was never taught: its figures are those of a guess about them."""
    unseen, taught = untaught(run.notes(), labels)
    if unseen:
        say(f"{split}: labels that this run was never taught: {', '.join(unseen)} (taught: {', '.join(taught)})")


def predictor_for(model: Model, samples: Sequence[Sample], cache: Cache) -> protocols.SplitPredictor:
    """What asks a model about the samples of a split."""

    def ask(task: str, method: str, most: int | None) -> list[Prediction]:
        options = AnswerOptions.of(model.plan.score, task, method)
        return predict(model, _first(samples, most), labels_in(samples), cache, options)

    return ask


def _first(samples: Sequence[Sample], most: int | None) -> Sequence[Sample]:
    return samples if most is None else [samples[i] for i in range(min(most, len(samples)))]
