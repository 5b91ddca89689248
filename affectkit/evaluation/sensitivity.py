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
from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import VariantFigures, Variation
from affectkit.evaluation.prediction import ANSWERED, Metric, Prediction
from affectkit.evaluation.score import compare, count
from affectkit.plan.check import plan_recipe
from affectkit.plan.metrics import LABEL, Query
from affectkit.plan.plan import Plan
from affectkit.prompt import Ask
from affectkit.recipe.load import load_recipe
from affectkit.sample import Sample, labels_in

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
    say: Callable[[str], None] = print


class Wordless(Sequence[Sample]):
    """A split without its subtitles."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples, self.labels = samples, labels_in(samples)

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
    found = {"labels": _orders, "frames": _frames, "transcript": _words}[kind](plan, labels)
    if not found:
        raise InputError(Problem(f"--vary {kind}", f"the recipe has nothing to vary here: {KINDS[kind]}"))
    return found


def _orders(plan: Plan, labels: Sequence[str]) -> list[SensitivityVariant]:
    """The labels reversed, then shuffled by the run's seed, in every part that offers them."""
    parts = {n: tuple(u.settings.labels or labels) for n, u in plan.parts.items() if hasattr(u.settings, "labels")}
    parts = {name: offered for name, offered in parts.items() if _offers(plan, name, offered)}
    made: dict[tuple[str, ...], SensitivityVariant] = {}
    for number in range(1 + 20 * ORDERS):
        orders = {name: list(offered) for name, offered in parts.items()}
        for order in orders.values():
            if number:
                random.Random(f"{plan.run.seed}/labels/{number}").shuffle(order)
            else:
                order.reverse()
        text = tuple(f"prompt.parts.{n}.labels={json.dumps(o, ensure_ascii=False)}" for n, o in orders.items())
        if all(tuple(orders[name]) != parts[name] for name in parts) and parts:
            name = "reversed" if not number else ", ".join(next(iter(orders.values())))
            made.setdefault(text, SensitivityVariant(name, text))
        if len(made) == ORDERS:
            break
    return list(made.values())


def _offers(plan: Plan, part: str, labels: tuple[str, ...]) -> bool:
    """Whether the order of the labels shows in what a part says."""
    use = plan.parts[part]
    ask = Ask(getattr(use.settings, "task", LABEL) or LABEL, "infer", labels=labels)
    orders = (use.piece.build(replace(use.settings, labels=order)) for order in (labels, labels[::-1]))
    one, other = (piece(Sample("a"), ask) for piece in orders)
    return one != other


def _frames(plan: Plan, labels: Sequence[str]) -> list[SensitivityVariant]:
    """Each single frame in the views that pick one; where none does, in those that pick several."""
    picks = {n: v.settings.pick for n, v in plan.graph.views.items() if hasattr(v.settings, "pick")}
    picks = {n: p for n, p in picks.items() if p in ONE_FRAME} or picks
    tried = [p for p in ONE_FRAME if set(picks.values()) != {p}] if picks else []
    return [SensitivityVariant(f"{p} frame", tuple(f"views.{name}.pick={p}" for name in picks)) for p in tried]


def _words(plan: Plan, labels: Sequence[str]) -> list[SensitivityVariant]:
    """Without subtitles, where a part of the prompt speaks them or a view shows them."""
    from affectkit.recipe.views import Subtitle

    told, bare = Sample("a", subtitle="some words"), Sample("a")
    ask = Ask(LABEL, "infer", labels=tuple(labels))
    speaks = [u.piece.build(u.settings) for n, u in plan.parts.items() if not hasattr(u.settings, "labels")]
    shown = any(isinstance(v.settings, Subtitle) for v in plan.graph.views.values())
    return (
        [SensitivityVariant("no transcript", words=False)]
        if shown or any(p(told, ask) != p(bare, ask) for p in speaks)
        else []
    )


def planned(plan: Plan, kinds: Sequence[str], labels: Sequence[str]) -> dict[str, list[SensitivityVariant]]:
    """The variants of several kinds. Raises InputError where one has none, or no metric could show a difference."""
    label_metrics(plan)
    return {kind: variants(plan, kind, labels) for kind in dict.fromkeys(kinds)}


def vary(
    probe: SensitivityProbe, kinds: Sequence[str], answers: Mapping[Query, list[Prediction]]
) -> dict[str, Variation]:
    """By kind: each variant's figures, their difference from the recipe's own way, and the spread of all of them.

    Figures are the recipe's metrics of labels. Raises InputError where it has none, or nothing to vary.
    """
    plan = probe.model.plan
    labels = tuple(getattr(probe.samples, "labels", ()))
    metrics = label_metrics(plan)
    base = answers.get((LABEL, plan.score.method), [])
    found = {}
    for kind, ways in planned(plan, kinds, labels).items():
        rows = [_figures("as in the recipe", base, None, metrics, labels, plan)]
        for way in ways:
            probe.say(f"{kind}: {way.name}")
            rows.append(_figures(way.name, _answers(probe, way), base, metrics, labels, plan))
        found[kind] = Variation(KINDS[kind], tuple(rows), _spread(rows, metrics))
    return found


def label_metrics(plan: Plan, place: str = "--vary") -> dict[str, Metric]:
    """The recipe's metrics that a confusion matrix is enough for. Raises InputError where there is none, at `place`."""
    from affectkit.plan.metrics import wants_client

    built = {n: u.piece.build(u.settings) for n, u in plan.metrics.items() if not wants_client(u)}
    found = {n: m for n, m in built.items() if hasattr(m, "from_confusions")}
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


def _figures(
    name: str,
    predictions: Sequence[Prediction],
    base: Sequence[Prediction] | None,
    metrics: Mapping[str, Metric],
    labels: tuple[str, ...],
    plan: Plan,
) -> VariantFigures:
    """One row: each metric with its interval, and the paired difference from the recipe's own way."""
    counts = count([p for p in predictions if p.truth is not None and p.state in ANSWERED], labels)
    draws, seed = plan.score.resamples, plan.run.seed
    apart = None if base is None else compare(base, predictions, metrics, labels, seed, draws).metrics
    return VariantFigures(name, apart, bootstrap.of_counts(metrics, counts, draws, seed))


def _spread(rows: Sequence[VariantFigures], metrics: Mapping[str, Metric]) -> dict[str, float | None]:
    """The largest figure less the smallest."""
    values = {n: [v for row in rows if (v := row.metrics[n].value) is not None] for n in metrics}
    return {n: max(v) - min(v) if v else None for n, v in values.items()}
