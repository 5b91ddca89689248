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
from affectkit.evaluation.figures import Difference, Draws, Figure, Guess, Record, SplitFigures
from affectkit.evaluation.prediction import ANSWERED, Metric, Prediction
from affectkit.evaluation.score import count, group_by
from affectkit.files import Json
from affectkit.plan.metrics import LABEL
from affectkit.report.compare import metrics_of
from affectkit.report.results import RunFiles
from affectkit.studies.matrix import Mean

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


def split_figures(runs: Mapping[str, Mapping[int, RunFiles]], base: str, split: str) -> SweepSplit:
    """Figures of one split."""
    first = next(r for seeds in runs.values() for r in seeds.values())
    every = {r.folder: r for seeds in runs.values() for r in seeds.values() if split in r.metrics}
    labels = list(dict.fromkeys(n for r in every.values() for n in r.metrics[split].labels))
    metrics = {n: m for n, m in metrics_of(first).items() if hasattr(m, "from_confusions")}
    names = list(dict.fromkeys(n for r in every.values() for n in r.metrics[split].metrics))
    found = {}
    for name, seeds in runs.items():
        there = {seed: r for seed, r in seeds.items() if split in r.metrics}
        if not there:
            continue
        one = _figures(there, split, names, metrics, labels)
        if name != base and base in runs:
            both = [(runs[base][s], r) for s, r in there.items() if s in runs[base] and split in runs[base][s].metrics]
            one = replace(one, difference=_difference(both, split, metrics, labels) if both else None)
        found[name] = one
    guesses = first.metrics.get(split, SplitFigures())
    return SweepSplit(tuple(labels), tuple(names), found, guesses.chance or Guess(), guesses.majority or Guess())


def _figures(
    runs: Mapping[int, RunFiles],
    split: str,
    names: Sequence[str],
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
) -> VariantOfSweep:
    """Means over seeds with their intervals, in all and by group."""
    results = list(runs.values())
    asked = [_answered(r, split) for r in results]
    ids = _common(asked)
    drawn = _means(asked, ids, metrics, labels) if len(ids) else {}
    means = {}
    for name in names:
        values = np.array([np.nan if (v := _value(r, split, name)) is None else v for r in results])
        mean = bootstrap.number(values.mean())
        deviation = float(values.std(ddof=1)) if len(values) > 1 and np.isfinite(values).all() else None
        ends: tuple[float | None, float | None] = (None, None)
        if name in drawn:
            ends = bootstrap.interval(drawn[name][1])
        elif len(results) == 1:
            whole = results[0].metrics[split].metrics[name]
            ends = (whole.low, whole.high)
        means[name] = Mean(mean, *ends, deviation)
    head = next((n for n in names if n in metrics), None)
    groups = _groups(asked, ids, head, metrics, labels) if head and len(ids) else {}
    seeds = {str(seed): {name: _value(r, split, name) for name in names} for seed, r in runs.items()}
    return VariantOfSweep(len(ids), means, groups, seeds)


def _groups(
    asked: Sequence[Mapping[str, Prediction]],
    ids: Sequence[str],
    head: str,
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
) -> dict[str, dict[str, Counted]]:
    """The first metric by fact and its value."""
    out: dict[str, dict[str, Counted]] = {}
    for fact, parts in group_by([asked[0][i] for i in ids]).items():
        for value, part in parts.items():
            mean, drawn = _means(asked, [p.id for p in part], {head: metrics[head]}, labels)[head]
            one = Counted(bootstrap.number(mean), *bootstrap.interval(drawn), len(part))
            out.setdefault(fact, {})[value] = one
    return out


def _difference(
    pairs: Sequence[tuple[RunFiles, RunFiles]], split: str, metrics: Mapping[str, Metric], labels: Sequence[str]
) -> FromBase:
    """Variant minus base on samples that both answered with every common seed, each metric with its interval."""
    firsts, seconds = ([_answered(p[i], split) for p in pairs] for i in (0, 1))
    ids = _common([*firsts, *seconds])
    every = {i for one in (*firsts, *seconds) for i in one}
    found: dict[str, Difference] = {}
    if ids:
        base, variant = ([[one[i] for i in ids] for one in side] for side in (firsts, seconds))
        told = bootstrap.paired(metrics, base, variant, labels, SEED, np.arange(len(ids)), RESAMPLES)
        found = {n: Difference(one.value, one.low, one.high, one.ahead) for n, one in told.items()}
    return FromBase(len(ids), len(every) - len(ids), len(pairs), found)


def _answered(results: RunFiles, split: str) -> dict[str, Prediction]:
    """Sample to its prediction, where it counts."""
    wanted = (p for p in results.predictions if p.split == split and p.task == LABEL)
    return {p.id: p for p in wanted if p.truth is not None and p.state in ANSWERED}


def _common(asked: Sequence[Mapping[str, Prediction]]) -> list[str]:
    """Samples that all of them answered, and with the same truth."""
    first = asked[0]
    return [i for i in first if all(i in one and one[i].truth == first[i].truth for one in asked)]


def _means(
    asked: Sequence[Mapping[str, Prediction]], ids: Sequence[str], metrics: Mapping[str, Metric], labels: Sequence[str]
) -> dict[str, tuple[float, np.ndarray]]:
    """Each metric's mean over seeds on these samples, and the draws [r] of it."""
    answers = [[one[i] for i in ids] for one in asked]
    drawn = bootstrap.tables(answers, labels, SEED, np.arange(len(ids)), RESAMPLES)
    whole = [count(one, labels)[None] for one in answers]
    of = {n: m.from_confusions for n, m in metrics.items()}  # type: ignore[attr-defined]
    return {n: (float(np.mean([f(c) for c in whole])), np.mean([f(d) for d in drawn], axis=0)) for n, f in of.items()}


def _value(results: RunFiles, split: str, name: str) -> float | None:
    one = results.metrics[split].metrics.get(name)
    return one.value if one else None


def costs(results: Sequence[RunFiles], of: Changes) -> Costs:
    """What a variant costs, from the notes of its runs."""
    parameters = next((r.info["parameters"] for r in results if isinstance(r.info.get("parameters"), Mapping)), None)
    stages = [r.info.get("stages") or {} for r in results]
    asked = [r.info["evaluation_seconds"] for r in results if r.info.get("evaluation_seconds") is not None]
    return Costs(
        of.about,
        of.changes,
        total=parameters["total"] if parameters else None,
        trainable=parameters["trainable"] if parameters else None,
        training_seconds=float(np.mean([sum(s.get("seconds") or 0 for s in one.values()) for one in stages])),
        evaluation_seconds=float(np.mean(asked)) if asked else None,
        stages={
            name: float(np.mean([one[name].get("seconds") or 0 for one in stages if name in one]))
            for name in dict.fromkeys(n for one in stages for n in one)
        },
        taken_from={
            r.folder.name: {n: s["taken_from"] for n, s in one.items() if s.get("taken_from")}
            for r, one in zip(results, stages, strict=True)
        },
    )
