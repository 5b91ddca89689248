"""What a sweep came to, in numbers: each run's figures, mean over seeds, and its difference from the base. No torch.

Intervals are 95 % percentile bootstraps over test samples. A draw is the same for every seed and, in a difference, for both
sides; the figure of a draw is the mean over seeds. They do not cover how much another seed would change: the standard
deviation between seeds stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import Difference, Figure, SplitFigures
from affectkit.evaluation.prediction import ANSWERED, Metric, Prediction
from affectkit.evaluation.score import count, group_by
from affectkit.plan.metrics import LABEL
from affectkit.report.compare import metrics_of
from affectkit.report.results import Results

RESAMPLES, SEED = 1000, 0


def split_figures(runs: Mapping[str, Mapping[int, Results]], base: str, split: str) -> dict[str, Any]:
    """Figures of one split: `runs` by name, with `metrics`, `difference` (from the base), `groups`, `seeds`."""
    first = next(r for seeds in runs.values() for r in seeds.values())
    every = {r.folder: r for seeds in runs.values() for r in seeds.values() if split in r.metrics}
    labels = list(dict.fromkeys(n for r in every.values() for n in r.metrics[split].labels))
    metrics = {n: m for n, m in metrics_of(first).items() if hasattr(m, "from_confusions")}
    names = list(dict.fromkeys(n for r in every.values() for n in r.metrics[split].metrics))
    out: dict[str, Any] = {"labels": labels, "metrics": names, "runs": {}}
    for name, seeds in runs.items():
        there = {seed: r for seed, r in seeds.items() if split in r.metrics}
        if not there:
            continue
        one = out["runs"][name] = _figures(list(there.values()), split, names, metrics, labels)
        one["seeds"] = {str(s): {n: _value(r, split, n) for n in names} for s, r in there.items()}
        if name != base and base in runs:
            both = [(runs[base][s], r) for s, r in there.items() if s in runs[base] and split in runs[base][s].metrics]
            one["difference"] = _difference(both, split, metrics, labels) if both else {}
    guesses = first.metrics.get(split, SplitFigures())
    out["chance"], out["majority"] = (one.to_dict() if one else {} for one in (guesses.chance, guesses.majority))
    return out


def _figures(
    results: Sequence[Results], split: str, names: Sequence[str], metrics: Mapping[str, Metric], labels: Sequence[str]
) -> dict[str, Any]:
    """Means over seeds with their intervals, in all and by group."""
    asked = [_answered(r, split) for r in results]
    ids = _common(asked)
    drawn = _means(asked, ids, metrics, labels) if len(ids) else {}
    found: dict[str, Any] = {"count": len(ids), "metrics": {}}
    for name in names:
        values = np.array([np.nan if (v := _value(r, split, name)) is None else v for r in results])
        mean = bootstrap.number(values.mean())
        deviation = float(values.std(ddof=1)) if len(values) > 1 and np.isfinite(values).all() else None
        if name in drawn:
            one = bootstrap.figure(mean, drawn[name][1])
        elif len(results) == 1:
            whole = results[0].metrics[split].metrics[name]
            one = Figure(mean, whole.low, whole.high)
        else:
            one = Figure(mean, None, None)
        found["metrics"][name] = {**one.to_dict(), "deviation": deviation}
    head = next((n for n in names if n in metrics), None)
    found["groups"] = _groups(asked, ids, head, metrics, labels) if head and len(ids) else {}
    return found


def _groups(
    asked: Sequence[Mapping[str, Prediction]],
    ids: Sequence[str],
    head: str,
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
) -> dict[str, Any]:
    """The first metric by fact and its value."""
    out: dict[str, Any] = {}
    for fact, parts in group_by([asked[0][i] for i in ids]).items():
        for value, part in parts.items():
            one = _means(asked, [p.id for p in part], {head: metrics[head]}, labels)[head]
            out.setdefault(fact, {})[value] = {"count": len(part), **bootstrap.figure(*one).to_dict()}
    return out


def _difference(
    pairs: Sequence[tuple[Results, Results]], split: str, metrics: Mapping[str, Metric], labels: Sequence[str]
) -> dict[str, Any]:
    """Variant minus base on samples that both answered with every common seed, each metric with its interval."""
    firsts, seconds = ([_answered(p[i], split) for p in pairs] for i in (0, 1))
    ids = _common([*firsts, *seconds])
    every = {i for one in (*firsts, *seconds) for i in one}
    found: dict[str, Any] = {"count": len(ids), "left_out": len(every) - len(ids), "seeds": len(pairs), "metrics": {}}
    if ids:
        base, variant = ([[one[i] for i in ids] for one in side] for side in (firsts, seconds))
        told = bootstrap.paired(metrics, base, variant, labels, SEED, np.arange(len(ids)), RESAMPLES)
        found["metrics"] = {n: Difference(one.value, one.low, one.high, one.ahead).to_dict() for n, one in told.items()}
    return found


def _answered(results: Results, split: str) -> dict[str, Prediction]:
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


def _value(results: Results, split: str, name: str) -> float | None:
    one = results.metrics[split].metrics.get(name)
    return one.value if one else None


def costs(results: Sequence[Results]) -> dict[str, Any]:
    """Parameters and seconds of a variant, mean over seeds. A stage taken over counts as if it had been trained here."""
    out: dict[str, Any] = {}
    for key in ("total", "trainable"):
        found = [r.info["parameters"][key] for r in results if isinstance(r.info.get("parameters"), Mapping)]
        out[key] = found[0] if found else None
    stages = [r.info.get("stages") or {} for r in results]
    out["training_seconds"] = float(np.mean([sum(s.get("seconds") or 0 for s in one.values()) for one in stages]))
    asked = [r.info["evaluation_seconds"] for r in results if r.info.get("evaluation_seconds") is not None]
    out["evaluation_seconds"] = float(np.mean(asked)) if asked else None
    out["stages"] = {
        name: float(np.mean([one[name].get("seconds") or 0 for one in stages if name in one]))
        for name in dict.fromkeys(n for one in stages for n in one)
    }
    out["taken_from"] = {
        r.folder.name: {n: s["taken_from"] for n, s in one.items() if s.get("taken_from")}
        for r, one in zip(results, stages, strict=True)
    }
    return out
