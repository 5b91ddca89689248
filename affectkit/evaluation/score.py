"""Predictions to numbers with intervals, and the ledger. Imports no torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from affectkit.errors import InputError, Problem, unknown
from affectkit.evaluation import bootstrap
from affectkit.evaluation.prediction import (
    ANSWERED,
    NOTES,
    STATES,
    Metric,
    Prediction,
)
from affectkit.files import write_json_atomic

GROUP_VALUES, GROUP_LETTERS = 12, 30
"""A fact with more values than this, or a longer one, makes no groups: it is an id or a sentence."""


def score(
    predictions: Sequence[Prediction],
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Figures of one split: each metric with its 95 % bootstrap interval over samples, and what a reader
    needs beside.

    Keys: the metrics' names (`{"value", "low", "high"}`), `count` (samples that the metrics saw), `labels`,
    `chance` and `majority` (each metric's value for guessing), `per_class`, `groups` (by fact, then value),
    `ledger` (count by state, and `total`), `notes` (count of answered samples by note), `bootstrap`, and
    `matrix` unless one of the metrics gave the confusion matrix. The same arguments give the same figures.

    Raises InputError for an id that occurs twice, and for a truth or a scored answer outside `labels`.
    """
    labels = tuple(labels)
    answered = [p for p in predictions if p.truth is not None and p.state in ANSWERED]
    states = ledger(predictions)
    quick = score_counts(count(answered, labels), metrics, labels, seed, resamples)
    out = {name: measure(metric, answered, labels, seed, resamples) for name, metric in metrics.items()}
    out |= {name: found for name, found in quick.items() if name not in metrics}
    if any("rows" in out[name] for name in metrics):
        del out["matrix"]
    return out | {
        "groups": groups(answered, metrics, labels, seed, resamples),
        "ledger": states,
        "notes": noted(predictions),
    }


def measure(
    metric: Metric, answered: Sequence[Prediction], labels: Sequence[str], seed: int = 0, resamples: int = 1000
) -> dict[str, Any]:
    """What one metric says of predictions, with the interval of its value."""
    labels = tuple(labels)
    found = dict(metric(answered, labels))
    if "value" not in found:
        return found
    low, high = bootstrap.interval(bootstrap.draws(metric, answered, labels, seed, resamples=resamples))
    return {**found, "value": bootstrap.number(found["value"]), "low": low, "high": high}


def score_counts(
    counts: Any, metrics: Mapping[str, Metric], labels: Sequence[str], seed: int = 0, resamples: int = 1000
) -> dict[str, Any]:
    """What `score` says that confusion counts [k, k + 1] are enough for; other metrics are left out."""
    return {
        **bootstrap.of_counts(metrics, counts, resamples, seed),
        "count": int(counts.sum()),
        "labels": list(labels),
        **bootstrap.baselines(metrics, counts, labels),
        "per_class": bootstrap.per_class(counts, labels, resamples, seed),
        "matrix": {"labels": list(labels), "columns": [*labels, "(invalid)"], "rows": counts.tolist()},
        "bootstrap": {"resamples": resamples, "seed": seed, "level": bootstrap.LEVEL},
    }


def count(predictions: Sequence[Prediction], labels: Sequence[str]) -> Any:
    """The confusion counts, int64 [k, k + 1]: rows truth, columns answer, the last one invalid answers."""
    truth, answer = bootstrap.indices(predictions, labels)
    return bootstrap.confusion(truth, answer, len(labels))


def ledger(predictions: Iterable[Prediction]) -> dict[str, int]:
    """How many samples ended in each state, and the total; raises InputError if a sample is there twice."""
    predictions = list(predictions)
    ids = Counter((p.split, p.task, p.id) for p in predictions)
    twice = [f"{key[2]}" for key, times in ids.items() if times > 1]
    if twice:
        shown = ", ".join(twice[:5]) + (" …" if len(twice) > 5 else "")
        raise InputError(
            Problem(f"sample {shown}", "occurs more than once among the predictions", "one answer a sample")
        )
    states = Counter(p.state for p in predictions)
    wrong = set(states) - set(STATES)
    if wrong:
        raise InputError(unknown("predictions", "state", min(wrong), STATES))
    return {**{state: states[state] for state in STATES}, "total": len(predictions)}


def ledgers(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, int]]:
    """Every ledger in the figures of a run: by split, and by `split: task, method` where a metric wanted other answers."""
    found: dict[str, Mapping[str, int]] = {}
    for split, one in results.items():
        own = {split: one["ledger"]} if one.get("ledger") else {}
        found |= own | {f"{split}: {a['task']}, {a['method']}": a["ledger"] for a in one.get("asked") or ()}
    return found


def noted(predictions: Iterable[Prediction]) -> dict[str, int]:
    """How many answered samples have each note."""
    found = Counter(name for p in predictions if p.state in ANSWERED for name in p.notes)
    return {name: found[name] for name in NOTES}


def groups(
    answered: Sequence[Prediction],
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, dict[str, dict[str, Any]]]:
    """By fact and its value: `count` and each metric of counts with its interval."""
    return {
        fact: {
            value: {
                "count": len(part),
                **bootstrap.of_counts(metrics, count(part, labels), resamples, seed),
            }
            for value, part in parts.items()
        }
        for fact, parts in group_by(answered).items()
    }


def group_by(predictions: Sequence[Prediction]) -> dict[str, dict[str, list[Prediction]]]:
    """Predictions by fact, then value.

    Facts with one value, with nearly as many values as samples, or with sentences are left out.
    """
    out: dict[str, dict[str, list[Prediction]]] = {}
    for fact in dict.fromkeys(name for p in predictions for name in p.facts):
        parts: dict[str, list[Prediction]] = {}
        for p in predictions:
            if fact in p.facts:
                parts.setdefault(str(p.facts[fact]), []).append(p)
        few = 1 < len(parts) <= min(GROUP_VALUES, len(predictions) // 2)
        if few and all(len(value) <= GROUP_LETTERS for value in parts):
            out[fact] = {value: parts[value] for value in in_order(parts)}
    return out


def in_order(words: Iterable[str]) -> list[str]:
    """Alphabetical, but for numbers in them: `tone 2` comes before `tone 10`."""
    return sorted(
        words, key=lambda word: [(p.isdecimal(), int(p) if p.isdecimal() else p) for p in re.split(r"([0-9]+)", word)]
    )


def compare(
    first: Sequence[Prediction],
    second: Sequence[Prediction],
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Paired bootstrap of two systems on the samples that both answered.

    `metrics` in the result: by name `first`, `second` (on the common samples), `value` (second - first) with
    `low` and `high`, and `ahead` (share of draws in which the second is better). `count` says how many
    samples are common, `left_out` how many only one of them answered or have another truth in the other.
    """
    sides = [{p.id: p for p in side if p.truth is not None and p.state in ANSWERED} for side in (first, second)]
    common = [i for i in sides[0] if i in sides[1] and sides[0][i].truth == sides[1][i].truth]
    one, two = ([side[i] for i in common] for side in sides)
    return {
        "metrics": bootstrap.paired(metrics, [one], [two], labels, seed, resamples=resamples),
        "count": len(common),
        "left_out": len(sides[0].keys() | sides[1].keys()) - len(common),
    }


def write_metrics(run: str | Path, results: Mapping[str, Any]) -> None:
    """Write RUN/metrics.json: the figures of `score` by split or suite (`{"test": …, "conflict": …}`)."""
    write_json_atomic(Path(run) / "metrics.json", results)
