"""How much a model's figures hang on what should not matter: label order, choice of frame, transcript.

The variants are found in the recipe, whatever its pieces are called: parts of the prompt that offer labels, views that
pick one frame, samples with and without their words. Weights stay as they are. Imports no torch before it measures.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectkit.errors import InputError, Problem, unknown
from affectkit.evaluation.figures import VariantFigures, Variation
from affectkit.evaluation.prediction import CountMetric, Metric, Prediction, count_metrics
from affectkit.evaluation.score import Scoring
from affectkit.plan.check import plan_recipe
from affectkit.plan.metrics import Query, query_of, wants_client
from affectkit.plan.plan import Plan
from affectkit.plan.use import Use, task_of
from affectkit.prompt import Ask
from affectkit.recipe.load import load_recipe
from affectkit.recipe.views import Subtitle
from affectkit.sample import LABEL, LABELS, NUMBERS, Sample, labels_in, targets_in

if TYPE_CHECKING:
    from affectkit.model.model import Model

KINDS: dict[str, str] = {
    "labels": "the order in which the question offers the labels",
    "frames": "which frame is looked at",
    "transcript": "with the words that are spoken, and without",
}

ORDERS = 4
"""How many other orders of the labels are tried; the reverse is the first."""

ONE_FRAME = ("first", "middle", "peak")
"""Picks of one frame."""


@dataclass(frozen=True)
class SensitivityVariant:
    """One way to ask: overrides of the recipe, or samples without words."""

    name: str
    overrides: tuple[str, ...] = ()
    words: bool = True


@dataclass(frozen=True)
class SensitivityProbe:
    """What variants are tried on."""

    model: Model
    recipe: Path
    """The run's full recipe, which variants override."""
    samples: Sequence[Sample]
    ask: Callable[[Model, Sequence[Sample]], list[Prediction]]
    """The answers of a model to the task that `compared` names."""
    say: Callable[[str], None] = print


class Wordless(Sequence[Sample]):
    """A split without its subtitles."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples, self.labels, self.numbers = samples, labels_in(samples), targets_in(samples).numbers

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        return replace(self.samples[index], subtitle="")


def variants(plan: Plan, kind: str, labels: Sequence[str]) -> list[SensitivityVariant]:
    """The variants of one kind, the recipe's own way left out.

    Raises InputError for an unknown kind, and where the recipe has nothing of that kind to vary.
    """
    if kind not in KINDS:
        raise InputError(unknown("--vary", "kind of variant", kind, KINDS))
    found = {"labels": _orders, "frames": _frames, "transcript": _words}[kind](plan, tuple(labels))
    if not found:
        task = compared(plan).task
        why = "" if plan.asked(task) else f"; the head {plan.method(task)!r} answers, which reads no prompt"
        raise InputError(Problem(f"--vary {kind}", f"the recipe has nothing to vary here: {KINDS[kind]}{why}"))
    return found


def _orders(plan: Plan, labels: tuple[str, ...]) -> list[SensitivityVariant]:
    """The labels reversed, then shuffled by the run's seed, in every part that offers them."""
    parts = {n: tuple(u.settings.labels or labels) for n, u in _read(plan).items() if hasattr(u.settings, "labels")}
    parts = {name: offered for name, offered in parts.items() if _offers(plan, name, offered)}
    made: dict[tuple[str, ...], SensitivityVariant] = {}
    for number in range(1 + 20 * ORDERS) if parts else ():
        orders = {name: list(reversed(offered) if number == 0 else offered) for name, offered in parts.items()}
        for order in orders.values() if number else ():
            random.Random(f"{plan.run.seed}/labels/{number}").shuffle(order)
        text = tuple(f"prompt.parts.{n}.labels={json.dumps(o, ensure_ascii=False)}" for n, o in orders.items())
        if all(tuple(orders[name]) != parts[name] for name in parts):
            name = "reversed" if not number else ", ".join(next(iter(orders.values())))
            made.setdefault(text, SensitivityVariant(name, text))
        if len(made) == ORDERS:
            break
    return list(made.values())


def _read(plan: Plan) -> Mapping[str, Use]:
    """The parts of the prompt that are read for the answers that are compared; none where a head answers that reads no prompt."""
    task = plan.asked(compared(plan).task)
    return {name: use for name, use in plan.parts.items() if task is not None and task_of(use) in ("", task)}


def _offers(plan: Plan, part: str, labels: tuple[str, ...]) -> bool:
    """Whether the order of the labels shows in what a part says."""
    use = plan.parts[part]
    ask = Ask(getattr(use.settings, "task", LABEL) or LABEL, "infer", labels=labels)
    orders = (use.piece.build(replace(use.settings, labels=order)) for order in (labels, labels[::-1]))
    one, other = (piece(Sample("a"), ask) for piece in orders)
    return one != other


def _frames(plan: Plan, labels: tuple[str, ...]) -> list[SensitivityVariant]:
    """Each single frame in the views that pick one; where none does, in those that pick several."""
    picks = {n: v.settings.pick for n, v in plan.graph.views.items() if hasattr(v.settings, "pick")}
    picks = {n: p for n, p in picks.items() if p in ONE_FRAME} or picks
    tried = [p for p in ONE_FRAME if set(picks.values()) != {p}] if picks else []
    return [SensitivityVariant(f"{p} frame", tuple(f"views.{name}.pick={p}" for name in picks)) for p in tried]


def _words(plan: Plan, labels: tuple[str, ...]) -> list[SensitivityVariant]:
    """Without subtitles, where a part of the prompt speaks them or a view shows them."""
    spoken, bare = Sample("a", subtitle="some words"), Sample("a")
    ask = Ask(plan.asked(compared(plan).task) or LABEL, "infer", labels=labels)
    parts = [u.piece.build(u.settings) for u in _read(plan).values() if not hasattr(u.settings, "labels")]
    shown = any(isinstance(v.settings, Subtitle) for v in plan.graph.views.values())
    heard = shown or any(part(spoken, ask) != part(bare, ask) for part in parts)
    return [SensitivityVariant("no transcript", words=False)] if heard else []


def planned(plan: Plan, kinds: Sequence[str], labels: Sequence[str]) -> dict[str, list[SensitivityVariant]]:
    """The variants of several kinds. Raises InputError where one has none, or no metric could show a difference."""
    compared(plan)
    return {kind: variants(plan, kind, labels) for kind in dict.fromkeys(kinds)}


def vary(
    probe: SensitivityProbe, kinds: Sequence[str], answers: Mapping[Query, list[Prediction]]
) -> dict[str, Variation]:
    """By kind: each variant's figures, their difference from the recipe's own way, and the spread of all of them.

    Figures are those of `compared`. Raises InputError where it has none, or nothing to vary.
    """
    plan, labels = probe.model.plan, labels_in(probe.samples)
    how = replace(compared(plan), labels=labels)
    base = answers.get((how.task, plan.method(how.task)), [])
    found = {}
    for kind, ways in planned(plan, kinds, labels).items():
        rows = [VariantFigures("as in the recipe", None, how.figures(base))]
        for way in ways:
            probe.say(f"{kind}: {way.name}")
            other = _answers(probe, way)
            rows.append(VariantFigures(way.name, how.compare(base, other), how.figures(other)))
        values = {n: [v for row in rows if (v := row.metrics[n].value) is not None] for n in how.metrics}
        spread = {name: max(v) - min(v) if v else None for name, v in values.items()}
        found[kind] = Variation(KINDS[kind], tuple(rows), spread)
    return found


def compared(plan: Plan, place: str = "--vary") -> Scoring[Metric]:
    """What variants are compared by: the recipe's metrics of labels that a confusion matrix is enough for, or else its metrics
    of several labels, or of ratings. Raises InputError where there is none of these, at `place`."""
    built = {
        n: (query_of(u.settings)[0], u.piece.build(u.settings)) for n, u in plan.metrics.items() if not wants_client(u)
    }
    each = {task: {n: metric for n, (own, metric) in built.items() if own == task} for task in (LABEL, LABELS, NUMBERS)}
    each[LABEL] = dict(count_metrics(each[LABEL]))
    task = next((task for task, found in each.items() if found), None)
    if task is None:
        what = "the recipe has no metric of labels or ratings to compare by"
        raise InputError(Problem(place, what, "add uar, multilabel_f1 or ccc to score.metrics"))
    return Scoring(each[task], (), plan.run.seed, plan.score.resamples, task)


def label_metrics(plan: Plan, place: str = "--vary") -> dict[str, CountMetric]:
    """The recipe's metrics that a confusion matrix is enough for. Raises InputError where there is none, at `place`."""
    built = {n: u.piece.build(u.settings) for n, u in plan.metrics.items() if not wants_client(u)}
    found = count_metrics(built)
    if not found:
        raise InputError(Problem(place, "the recipe has no metric of labels to compare by", "add uar to score.metrics"))
    return found


def _answers(probe: SensitivityProbe, way: SensitivityVariant) -> list[Prediction]:
    samples: Sequence[Sample] = probe.samples if way.words else Wordless(probe.samples)
    if not way.overrides:
        return probe.ask(probe.model, samples)
    from affectkit.model.model import with_plan

    plan, problems = plan_recipe(load_recipe(probe.recipe, way.overrides), probe.model.plan.registry)
    if problems:
        raise InputError(problems)
    return probe.ask(with_plan(probe.model, plan), samples)
