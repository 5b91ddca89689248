"""What a sweep came to, in numbers: each run's figures, mean over seeds, and its difference from the base.

Intervals are 95 % percentile bootstraps over test samples. A draw is the same for every seed and, in a difference, for both
sides; the figure of a draw is the mean over seeds. They do not cover how much another seed would change: the standard
deviation between seeds stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import Difference, Draws, Figure, Guess, Record
from affectkit.evaluation.prediction import ANSWERED, Metric, Prediction
from affectkit.evaluation.score import count, group_by
from affectkit.files import Json
from affectkit.plan.metrics import LABEL
from affectkit.report.compare import metrics_of
from affectkit.report.results import Results
from affectkit.studies.matrix import Mean, mean_over
from affectkit.studies.sweep import Sweep

RESAMPLES, SEED = 1000, 0


@dataclass(frozen=True)
class Counted(Figure):
    """A figure of some samples."""

    count: int


@dataclass(frozen=True)
class FromBase(Record):
    """A variant less the base, on samples that both answered with every common seed."""

    count: int
    left_out: int
    seeds: int
    """How many seeds both have."""
    metrics: Mapping[str, Difference]


@dataclass(frozen=True)
class VariantOfSweep(Record):
    """One variant on one split."""

    count: int
    """Samples that every seed answered."""
    metrics: Mapping[str, Mean]
    groups: Mapping[str, Mapping[str, Counted]]
    """The first metric by fact and its value."""
    seeds: Mapping[str, Mapping[str, float | None]]
    """Each metric by seed."""
    difference: FromBase | None = None

    @property
    def differences(self) -> Mapping[str, Difference]:
        """Each metric's difference from the base; nothing for the base itself."""
        return self.difference.metrics if self.difference else {}


@dataclass(frozen=True)
class SweepSplit(Record):
    """All variants on one split."""

    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    runs: Mapping[str, VariantOfSweep]
    chance: Guess
    majority: Guess


@dataclass(frozen=True)
class Changes(Record):
    """A variant: what it is, and its overrides of the recipe."""

    about: str
    changes: Mapping[str, Json]


@dataclass(frozen=True)
class Costs(Changes):
    """A variant that is done, with parameters and seconds, mean over seeds. A stage taken over counts as if it had been
    trained here."""

    total: int | None
    trainable: int | None
    training_seconds: float
    evaluation_seconds: float | None
    stages: Mapping[str, float]
    taken_from: Mapping[str, Mapping[str, str]]
    """By run and stage, the run that the stage was taken from."""


@dataclass(frozen=True)
class SweepFigures(Record):
    """What comparison.json holds."""

    sweep: str
    about: str
    base: str
    seeds: tuple[int, ...]
    runs: Mapping[str, Changes]
    missing: Mapping[str, str]
    """Jobs that are not done, and why."""
    splits: Mapping[str, SweepSplit]
    bootstrap: Draws

    @property
    def costs(self) -> Mapping[str, Costs]:
        """The variants that are done."""
        return {name: one for name, one in self.runs.items() if isinstance(one, Costs)}


RunsBySeed = Mapping[int, Results]
"""The runs of a variant that are done."""


def sweep_figures(sweep: Sweep, done: Mapping[str, RunsBySeed], missing: Mapping[str, str]) -> SweepFigures:
    """The figures of the variants that are done, by name; `missing` says of each other run why it is not."""
    runs = {name: Changes(variant.about, dict(variant.changes)) for name, variant in sweep.variants.items()}
    splits = dict.fromkeys(split for seeds in done.values() for results in seeds.values() for split in results.metrics)
    return SweepFigures(
        sweep=sweep.name,
        about=sweep.about,
        base=sweep.base,
        seeds=sweep.settings.seeds,
        runs={n: costs(list(done[n].values()), one) if n in done else one for n, one in runs.items()},
        missing=missing,
        splits={split: split_figures(done, sweep.base, split) for split in splits},
        bootstrap=Draws(RESAMPLES, SEED, bootstrap.LEVEL),
    )


def split_figures(done: Mapping[str, RunsBySeed], base: str, split: str) -> SweepSplit:
    """The figures of one split, of the variants that were evaluated on it."""
    there = {name: {s: r for s, r in seeds.items() if split in r.metrics} for name, seeds in done.items()}
    runs = {name: seeds for name, seeds in there.items() if seeds}
    results = [r for seeds in runs.values() for r in seeds.values()]
    labels = tuple(dict.fromkeys(label for r in results for label in r.metrics[split].labels))
    names = tuple(dict.fromkeys(name for r in results for name in r.metrics[split].metrics))
    metrics = {n: m for n, m in metrics_of(results[0]).items() if hasattr(m, "from_confusions")}
    answers = {name: {s: _answered(r, split) for s, r in seeds.items()} for name, seeds in runs.items()}
    found = {}
    for name, seeds in runs.items():
        figures = {str(s): r.metrics[split].metrics for s, r in seeds.items()}
        one = _variant(figures, list(answers[name].values()), names, metrics, labels)
        if name != base and base in runs:
            one = replace(one, difference=_difference(answers[base], answers[name], metrics, labels))
        found[name] = one
    first = results[0].metrics[split]
    return SweepSplit(labels, names, found, first.chance or Guess(), first.majority or Guess())


def _variant(
    figures: Mapping[str, Mapping[str, Figure]],
    answers: Sequence[Mapping[str, Prediction]],
    names: Sequence[str],
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
) -> VariantOfSweep:
    """The mean over seeds of each metric with its interval, in all and by group, from the figures and answers of each seed."""
    ids = _common(answers)
    drawn = _means(answers, ids, metrics, labels) if ids else {}
    seeds = {seed: {n: own[n].value if n in own else None for n in names} for seed, own in figures.items()}
    means = {}
    for name in names:
        values = np.array([own[name] for own in seeds.values()], float)  # None becomes NaN
        alone = next(iter(figures.values())).get(name) if len(figures) == 1 else None
        one = drawn.get(name) or alone or Figure(None, None, None)
        deviation = bootstrap.number(values.std(ddof=1)) if len(values) > 1 else None
        means[name] = Mean(bootstrap.number(values.mean()), one.low, one.high, deviation)
    groups: dict[str, dict[str, Counted]] = {}
    head = {n: metrics[n] for n in [n for n in names if n in metrics][:1]}
    for fact, parts in group_by([answers[0][i] for i in ids]).items() if head else ():
        for value, part in parts.items():
            (mean,) = _means(answers, [p.id for p in part], head, labels).values()
            groups.setdefault(fact, {})[value] = Counted(mean.value, mean.low, mean.high, len(part))
    return VariantOfSweep(len(ids), means, groups, seeds)


def _difference(
    base: Mapping[int, Mapping[str, Prediction]],
    variant: Mapping[int, Mapping[str, Prediction]],
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
) -> FromBase | None:
    """Variant minus base over the seeds that both have, each metric with its interval; None where they share no seed."""
    seeds = [seed for seed in variant if seed in base]
    if not seeds:
        return None
    sides = [[side[seed] for seed in seeds] for side in (base, variant)]
    ids = _common([*sides[0], *sides[1]])
    left_out = len({i for side in sides for one in side for i in one}) - len(ids)
    found: dict[str, Difference] = {}
    if ids:
        first, second = ([[one[i] for i in ids] for one in side] for side in sides)
        pairs = bootstrap.paired(metrics, first, second, labels, SEED, np.arange(len(ids)), RESAMPLES)
        found = {name: Difference(one.value, one.low, one.high, one.ahead) for name, one in pairs.items()}
    return FromBase(len(ids), left_out, len(seeds), found)


def _answered(results: Results, split: str) -> dict[str, Prediction]:
    """Sample to its prediction, for those that metrics of labels look at."""
    own = (p for p in results.predictions if p.split == split and p.task == LABEL)
    return {p.id: p for p in own if p.truth is not None and p.state in ANSWERED}


def _common(answers: Sequence[Mapping[str, Prediction]]) -> list[str]:
    """Samples that all of them answered, and with the same truth."""
    first = answers[0]
    return [i for i in first if all(i in one and one[i].truth == first[i].truth for one in answers)]


def _means(
    answers: Sequence[Mapping[str, Prediction]],
    ids: Sequence[str],
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
) -> dict[str, Figure]:
    """Each metric's mean over seeds on these samples, which are the same for all seeds in every draw."""
    rows = [[one[i] for i in ids] for one in answers]
    counts = [count(one, labels)[None] for one in rows]
    draws = bootstrap.tables(rows, labels, SEED, np.arange(len(ids)), RESAMPLES)
    of = {name: metric.from_confusions for name, metric in metrics.items()}  # type: ignore[attr-defined]
    return {name: mean_over([f(one) for one in counts], [f(one) for one in draws]) for name, f in of.items()}


def costs(results: Sequence[Results], of: Changes) -> Costs:
    """What a variant costs, from the notes of its runs."""
    parameters: Mapping[str, int] = next((r.info["parameters"] for r in results if r.info.get("parameters")), {})
    stages = {r.folder.name: r.info.get("stages") or {} for r in results}
    evaluation = [r.info["evaluation_seconds"] for r in results if r.info.get("evaluation_seconds") is not None]
    each = [{name: one.get("seconds") or 0 for name, one in own.items()} for own in stages.values()]
    return Costs(
        of.about,
        of.changes,
        total=parameters.get("total"),
        trainable=parameters.get("trainable"),
        training_seconds=float(np.mean([sum(own.values()) for own in each])),
        evaluation_seconds=float(np.mean(evaluation)) if evaluation else None,
        stages={
            name: float(np.mean([own[name] for own in each if name in own]))
            for name in dict.fromkeys(name for own in each for name in own)
        },
        taken_from={
            run: {name: one["taken_from"] for name, one in own.items() if one.get("taken_from")}
            for run, own in stages.items()
        },
    )
