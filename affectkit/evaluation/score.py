"""Predictions to numbers with intervals, and the ledger. Imports no torch."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from affectkit.errors import InputError, Problem, unknown
from affectkit.evaluation import bootstrap
from affectkit.evaluation.calibration import reliability
from affectkit.evaluation.figures import (
    Comparison,
    Draws,
    Figure,
    GroupFigures,
    Guess,
    Ledger,
    Matrix,
    MetricFigure,
    Pair,
    SplitFigures,
)
from affectkit.evaluation.prediction import (
    ANSWERED,
    NOTES,
    STATES,
    Metric,
    Prediction,
    answered_only,
    count_metrics,
    labelled,
    truth_of,
)
from affectkit.files import Json, read_object, write_json_atomic
from affectkit.sample import LABEL, NUMBERS

GROUP_VALUES, GROUP_LETTERS = 12, 30
"""A fact with more values than this, or a longer one, makes no groups: it is an id or a sentence."""


M = TypeVar("M", bound=Metric, covariant=True)


@dataclass(frozen=True)
class Scoring(Generic[M]):
    """What figures of one task's answers are made with."""

    metrics: Mapping[str, M]
    labels: tuple[str, ...]
    seed: int = 0
    resamples: int = 1000
    task: str = LABEL

    def figures(self, predictions: Sequence[Prediction]) -> dict[str, Figure]:
        """Value and interval of each metric, over those that metrics of the task look at."""
        own = [p for p in answered_only(predictions) if p.task == self.task]
        return figures_of(self.metrics, own, self.labels, self.seed, self.resamples)

    def compare(self, first: Sequence[Prediction], second: Sequence[Prediction]) -> Mapping[str, Pair]:
        """The paired differences second - first (see `compare`)."""
        return compare(first, second, self.metrics, self.labels, self.seed, self.resamples, self.task).metrics


def score(
    predictions: Sequence[Prediction],
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
    seed: int = 0,
    resamples: int = 1000,
) -> SplitFigures:
    """Figures of one split: each metric with its 95 % bootstrap interval over samples, and what a reader
    needs beside. The same arguments give the same figures.

    The confusion matrix is under `matrix` unless one of the metrics gave it. Raises InputError for an id that occurs
    twice, and for a truth or a scored answer outside `labels`.
    """
    labels = tuple(labels)
    how = Scoring(count_metrics(metrics), labels, seed, resamples)
    answered = labelled(predictions)
    states = ledger(predictions)
    figures = score_counts(count(answered, labels), metrics, labels, seed, resamples)
    results = {name: measure(metric, answered, labels, seed, resamples) for name, metric in metrics.items()}
    given = any(isinstance(one, Mapping) and "rows" in one for one in results.values())
    return replace(
        figures,
        by_metric=results if given else {**results, "matrix": figures.by_metric["matrix"]},
        groups={
            fact: {value: GroupFigures(len(part), metrics=how.figures(part)) for value, part in parts.items()}
            for fact, parts in group_by(answered).items()
        },
        ledger=states,
        notes=note_counts(predictions),
        reliability=reliability(answered, labels, seed, resamples),
    )


def figures_of(
    metrics: Mapping[str, Metric], answered: Sequence[Prediction], labels: Sequence[str], seed: int, resamples: int
) -> dict[str, Figure]:
    """Value and interval of each metric that is a number, over answers to the task that they score."""
    quick, labels = count_metrics(metrics), tuple(labels)
    found = bootstrap.of_counts(quick, count(answered, labels), resamples, seed) if quick else {}
    for name, metric in metrics.items():
        if name not in quick and not hasattr(metric, "from_counts"):
            draws = bootstrap.draws(metric, answered, labels, seed, resamples=resamples)
            found[name] = bootstrap.figure(metric(answered, labels).get("value"), draws)
    return found


def without_metrics(
    task: str,
    predictions: Sequence[Prediction],
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
    seed: int = 0,
    resamples: int = 1000,
) -> SplitFigures:
    """What stands beside the metrics of answers to the task `labels` or `numbers`: count, ledger, groups and baseline.

    `majority` is what one and the same answer gives, whatever the sample (see `constant`). Raises InputError for an id that
    occurs twice, and for what a metric refuses.
    """
    own = [p for p in predictions if p.task == task]
    answered, states = answered_only(own), ledger(own)
    about, same = constant(task, answered)
    guessed = {name: bootstrap.number(metric(same, labels).get("value")) for name, metric in metrics.items()}
    groups = group_by(answered).items()
    return SplitFigures(
        labels=tuple(labels),
        count=len(answered),
        majority=Guess(about, guessed) if answered else None,
        bootstrap=Draws(resamples, seed, bootstrap.LEVEL),
        groups={
            fact: {
                value: GroupFigures(len(part), metrics=figures_of(metrics, part, labels, seed, resamples))
                for value, part in parts.items()
            }
            for fact, parts in groups
        },
        ledger=states,
        notes=note_counts(own),
    )


def constant(task: str, answered: Sequence[Prediction]) -> tuple[str, list[Prediction]]:
    """What always to answer, in words, and that answer to each sample: of numbers the means of the truths, where the system
    gave a number too, so that both errors are of the same samples; of several labels those that are true of half the samples
    or more, or else the commonest, with the mean weights as probabilities. No system could know them."""
    if task == NUMBERS:
        each: dict[str, list[float]] = {}
        for p in answered:
            for name in p.numbered:
                each.setdefault(name, []).append(p.true_numbers[name])
        numbers = {name: math.fsum(values) / len(values) for name, values in each.items()}
        return "the mean of the truths", [replace(p, numbers={n: numbers[n] for n in p.numbered}) for p in answered]
    weights = Counter[str]()
    often = Counter(name for p in answered for name, weight in p.true_labels.items() if weight > 0)
    for p in answered:
        weights.update(dict(p.true_labels))
    odds = {name: weight / len(answered) for name, weight in weights.items()}
    common = tuple(n for n in sorted(often) if 2 * often[n] >= len(answered)) or tuple(
        n for n, _ in often.most_common(1)
    )
    same = [replace(p, state="scored", labels=common, probabilities=odds) for p in answered]
    return ", ".join(common), same


def measure(
    metric: Metric, answered: Sequence[Prediction], labels: Sequence[str], seed: int = 0, resamples: int = 1000
) -> MetricFigure | Mapping[str, Json]:
    """What one metric says of predictions, with the interval of its value; a table of a metric that is no number as it is."""
    labels = tuple(labels)
    found = metric(answered, labels)
    if "value" not in found:
        return found
    each, parts = getattr(metric, "parts_from_means", None), found.get("parts")
    if not (answered and each and isinstance(parts, Mapping)):
        drawn = bootstrap.draws(metric, answered, labels, seed, resamples=resamples)
    else:  # one set of draws for the value and all its parts
        quick: Any = metric
        means = bootstrap.drawn_means(quick.per_sample(answered, labels), seed, None, resamples)
        drawn, parts = quick.from_means(means), _with_intervals(parts, each(means))
    low, high = bootstrap.interval(drawn)
    told = {**found, **({"parts": parts} if parts else {}), "value": bootstrap.number(found["value"])}
    return MetricFigure.from_dict({**told, "low": low, "high": high})


def _with_intervals(parts: Mapping[str, Any], draws: np.ndarray) -> dict[str, Json]:
    """The parts of a metric, each with the interval of its draws [r, parts]."""
    out: dict[str, Json] = {}
    for (name, part), own in zip(parts.items(), draws.T, strict=True):
        low, high = bootstrap.interval(own)
        rest = {key: value for key, value in part.items() if key != "value"}
        out[name] = {"value": part["value"], "low": low, "high": high, **rest}
    return out


def score_counts(
    counts: np.ndarray, metrics: Mapping[str, Metric], labels: Sequence[str], seed: int = 0, resamples: int = 1000
) -> SplitFigures:
    """What `score` says that confusion counts [k, k + 1] are enough for; other metrics are left out."""
    quick = bootstrap.of_counts(metrics, counts, resamples, seed)
    matrix = Matrix(tuple(labels), (*labels, "(invalid)"), counts.tolist())
    chance, majority = bootstrap.baselines(metrics, counts, labels)
    return SplitFigures(
        labels=tuple(labels),
        by_metric={**{n: MetricFigure(f.value, f.low, f.high) for n, f in quick.items()}, "matrix": matrix.to_dict()},
        count=int(counts.sum()),
        chance=chance,
        majority=majority,
        per_class=bootstrap.per_class(counts, labels, resamples, seed),
        bootstrap=Draws(resamples, seed, bootstrap.LEVEL),
    )


def count(predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
    """The confusion counts, int64 [k, k + 1]: rows truth, columns answer, the last one invalid answers."""
    truth, answer = bootstrap.indices(predictions, labels)
    return bootstrap.confusion(truth, answer, len(labels))


def ledger(predictions: Iterable[Prediction]) -> Ledger:
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
    return Ledger(**{str(state): n for state, n in states.items()}, total=len(predictions))


def ledgers(results: Mapping[str, SplitFigures]) -> dict[str, Ledger]:
    """Every ledger in the figures of a run: by split, and by `split: task, method` where a metric wanted other answers."""
    found: dict[str, Ledger] = {}
    for split, one in results.items():
        own = {split: one.ledger} if one.ledger else {}
        found |= own | {f"{split}: {a.task}, {a.method}": a.ledger for a in one.asked or ()}
    return found


def note_counts(predictions: Iterable[Prediction]) -> dict[str, int]:
    """How many answered samples have each note, whichever of their answers has it."""
    noted = {(p.id, name) for p in predictions if p.state in ANSWERED for name in p.notes}
    found = Counter(name for _, name in noted)
    return {name: found[name] for name in NOTES}


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
    task: str = LABEL,
) -> Comparison:
    """Paired bootstrap of two systems on the samples that both answered; `task` is the one that the metrics score."""
    sides = [{p.id: p for p in answered_only(side) if p.task == task} for side in (first, second)]
    common = [i for i in sides[0] if i in sides[1] and truth_of(sides[0][i]) == truth_of(sides[1][i])]
    if task == NUMBERS:
        common = [i for i in common if {*sides[0][i].numbered} & {*sides[1][i].numbered}]
    one, two = ([side[i] for i in common] for side in sides)
    left_out = len(sides[0].keys() | sides[1].keys()) - len(common)
    apart = bootstrap.paired(metrics, [one], [two], labels, seed, resamples=resamples)
    return Comparison(apart, len(common), left_out)


def write_metrics(run: str | Path, results: Mapping[str, SplitFigures]) -> None:
    """Write RUN/metrics.json: the figures by split or suite (`{"test": …, "conflict": …}`)."""
    write_json_atomic(Path(run) / "metrics.json", {split: one.to_dict() for split, one in results.items()})


def read_metrics(run: str | Path) -> dict[str, SplitFigures]:
    """What `write_metrics` wrote; raises InputError with the file where it is missing or broken."""
    path = Path(run) / "metrics.json"
    try:
        return {split: SplitFigures.from_dict(one) for split, one in read_object(path).items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"holds no figures as affectkit writes them ({type(error).__name__}: {error})"
        raise InputError(Problem(str(path), what, "evaluate the run again")) from None
