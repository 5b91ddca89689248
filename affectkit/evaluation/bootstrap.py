"""Confusion counts, and bootstrap draws and intervals of metrics. Imports no torch.

Drawing n samples with replacement and counting them into a confusion matrix is the same as one multinomial
draw over the cells of the matrix. So metrics that depend on counts only get the ordinary bootstrap over
samples at the price of one small random matrix a draw, whatever the number of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from affectkit.errors import InputError, Problem
from affectkit.evaluation.figures import ClassFigures, Figure, Guess, Pair
from affectkit.evaluation.prediction import CountMetric, Metric, Prediction, count_metrics
from affectkit.files import Json

LEVEL = 0.95
"""Confidence level of every interval: the 2.5th and 97.5th percentile of the draws."""

RESAMPLES = 1000
"""Draws of an interval, where nothing else is said."""

ROUNDING = 1e-13
"""A difference of two figures that is smaller is none."""

CHUNK = 100
"""Draws of whole clusters that lie in memory at a time."""


def indices(predictions: Sequence[Prediction], labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(truth [n], answer [n]) as int64 positions in `labels`; an answer that is no label is `len(labels)`.

    Raises InputError where a truth, or an answer that counts as scored, is not in `labels`.
    """
    place = {label: i for i, label in enumerate(labels)}
    truth, answer = [], []
    for p in predictions:
        for what, word in (("truth", p.truth), ("answer", p.label if p.state == "scored" else p.truth)):
            if word not in place:
                raise InputError(
                    Problem(f"sample {p.id}", f"its {what} {word!r} is not in the label set", known=tuple(labels))
                )
        truth.append(place[p.truth or ""])
        answer.append(place[p.label or ""] if p.state == "scored" else len(labels))
    return np.array(truth, np.int64), np.array(answer, np.int64)


def confusion(truth: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 [k, k + 1]: rows truth, columns answer, the last column answers that are no label."""
    cells = np.bincount(truth * (classes + 1) + answer, minlength=classes * (classes + 1))
    return cells.reshape(classes, classes + 1)


def resample(counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Bootstrap draws int64 [r, ...] of a table of counts [...], each of as many samples as the table."""
    total = int(counts.sum())
    if total == 0:
        return np.zeros((resamples, *counts.shape), np.int64)
    # Only cells that hold something can be drawn: leave the others out, rounding included.
    cells = counts.ravel()
    filled = np.flatnonzero(cells)
    share = cells[filled] / total
    drawn = np.zeros((resamples, cells.size), np.int64)
    drawn[:, filled] = np.random.default_rng(seed).multinomial(total, share / share.sum(), size=resamples)
    return drawn.reshape(resamples, *counts.shape)


def interval(draws: np.ndarray) -> tuple[float | None, float | None]:
    """The percentile interval of [r] draws; draws without a value (NaN) are left out, None without any."""
    draws = draws[np.isfinite(draws)]
    if draws.size == 0:
        return None, None
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def number(value: Any) -> float | None:
    """A float, or None for what is not finite."""
    return float(value) if value is not None and np.isfinite(value) else None


def figure(value: Any, draws: np.ndarray) -> Figure:
    """A value with the interval of its draws [r]."""
    return Figure(number(value), *interval(draws))


def of_counts(metrics: Mapping[str, Metric], counts: np.ndarray, resamples: int, seed: int) -> dict[str, Figure]:
    """Value and interval of each metric that a confusion matrix [k, k + 1] is enough for."""
    draws = resample(counts, resamples, seed)
    return {
        name: figure(metric.from_confusions(counts[None])[0], metric.from_confusions(draws))
        for name, metric in count_metrics(metrics).items()
    }


def draws(
    metric: Metric,
    predictions: Sequence[Prediction],
    labels: Sequence[str],
    seed: int,
    clusters: np.ndarray | None = None,
    resamples: int = RESAMPLES,
) -> np.ndarray:
    """Bootstrap draws [r] of a metric's value, in the quickest way that the metric offers; NaN where it has none.

    `clusters` [n] numbers the cluster of each sample from 0 (clips of one person, say): clusters are drawn whole then,
    as many as there are. Without it samples are drawn.
    """
    labels = tuple(labels)
    if isinstance(metric, CountMetric):
        return metric.from_confusions(tables([predictions], labels, seed, clusters, resamples)[0])
    if hasattr(metric, "per_sample"):
        rows = metric.per_sample(predictions, labels)
        return draws_of_means(rows, seed, clusters, resamples, getattr(metric, "from_means", None))
    if hasattr(metric, "from_draws"):
        if clusters is None:  # so that any order gives the same
            predictions = sorted(predictions, key=lambda p: p.id)
        places = np.arange(len(predictions)) if clusters is None else clusters
        often = draw_weights(places, seed, resamples)
        parts = [metric.from_draws(predictions, labels, chunk[:, places]) for chunk in often]
        return np.concatenate(parts) if parts else np.array([])
    found = (number(one.get("value")) for one in results(metric, predictions, labels, seed, clusters, resamples))
    return np.array([np.nan if v is None else v for v in found], float)


def tables(
    answers: Sequence[Sequence[Prediction]],
    labels: Sequence[str],
    seed: int,
    clusters: np.ndarray | None = None,
    resamples: int = RESAMPLES,
) -> np.ndarray:
    """Bootstrap draws int64 [a, r, k, k + 1] of the confusion counts of several answers to the same samples.

    A draw has the same samples in each; `clusters` as in `draws`.
    """
    k = len(labels)
    sides = [indices(one, labels) for one in answers]
    cells = np.array([truth * (k + 1) + answer for truth, answer in sides])
    drawn = np.zeros((len(answers), resamples, k * (k + 1)), np.int64)
    if clusters is None:  # samples of the same cells are drawn together, which is the same as one by one
        cells, counts = np.unique(cells, axis=1, return_counts=True)
        chunks: Iterator[np.ndarray] = iter([resample(counts, resamples, seed)])
    else:
        chunks = (often[:, clusters] for often in draw_weights(clusters, seed, resamples))
    first = 0
    for weights in chunks if cells.size else ():
        for own, cell in zip(drawn, cells, strict=True):
            order = np.argsort(cell, kind="stable")
            there, begin = np.unique(cell[order], return_index=True)
            own[first : first + len(weights), there] = np.add.reduceat(weights[:, order], begin, axis=1)
        first += len(weights)
    return drawn.reshape(len(answers), resamples, k, k + 1)


def draw_weights(clusters: np.ndarray, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each cluster is drawn, int64 [CHUNK, clusters] at a time."""
    count = int(clusters.max(initial=-1)) + 1
    rng = np.random.default_rng(seed)
    for first in range(0, resamples if count else 0, CHUNK):
        yield rng.multinomial(count, np.full(count, 1 / count), size=min(CHUNK, resamples - first))


def draws_of_means(
    rows: np.ndarray,
    seed: int,
    clusters: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    from_means: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Bootstrap draws [r] of means over samples, or of what `from_means` makes of them; `rows` as in `drawn_means`."""
    found = drawn_means(rows, seed, clusters, resamples)
    return from_means(found) if from_means and len(rows) else found[:, 0] if len(rows) else np.array([])


def drawn_means(
    rows: np.ndarray, seed: int, clusters: np.ndarray | None = None, resamples: int = RESAMPLES
) -> np.ndarray:
    """Bootstrap draws [r, m] of means over samples: `rows` [n, m] with NaN where a sample has none. Any order of the samples
    gives the same; without samples there are no draws."""
    rows = np.asarray(rows, float).reshape(len(rows), -1) if len(rows) else np.empty((0, 0))
    if not len(rows):
        return np.empty((0, 0))
    sums = _known_sums(rows)
    if clusters is None:  # equal rows are drawn together, which is the same as one by one
        sums, counts = np.unique(sums, axis=0, return_counts=True)
        often = resample(counts, resamples, seed)
    else:
        _, places = np.unique(clusters, return_inverse=True)
        own, sums = sums, np.zeros((int(places.max()) + 1, sums.shape[1]))
        np.add.at(sums, places, own)
        often = np.concatenate(list(draw_weights(places, seed, resamples)))
    return _means(often.astype(float), sums)


def means(rows: np.ndarray) -> np.ndarray:
    """The means [m] over samples of `rows` [n, m], NaN where a sample has none."""
    return _means(np.ones((1, len(rows))), _known_sums(rows))[0]


def mean(rows: np.ndarray, seed: int, resamples: int = RESAMPLES) -> Figure:
    """The mean over samples of values [n], with its interval."""
    if not len(rows):
        return Figure(None, None, None)
    sums, counts = np.unique(_known_sums(rows), axis=0, return_counts=True)
    return figure(_means(counts[None].astype(float), sums)[0, 0], draws_of_means(rows, seed, None, resamples))


def _known_sums(rows: np.ndarray) -> np.ndarray:
    """[n, 2 m]: the values, 0 where a sample has none, and whether it has one."""
    rows = np.asarray(rows, float).reshape(len(rows), -1)
    known = np.isfinite(rows)
    return np.hstack([np.where(known, rows, 0.0), known])


def _means(often: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """[r, m]: the means of samples that are drawn so often [r, n], of their `_known_sums` [n, 2 m]; NaN without any."""
    totals, weights = np.split(sums, 2, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = (often @ totals) / (often @ weights)
    return found


def results(
    metric: Metric,
    predictions: Sequence[Prediction],
    labels: Sequence[str],
    seed: int,
    clusters: np.ndarray | None = None,
    resamples: int = RESAMPLES,
) -> Iterator[Mapping[str, Json]]:
    """What a metric says of each draw of the samples: slow, one call a draw. `clusters` as in `draws`."""
    members: dict[int, list[Prediction]] = {}
    for place, p in zip(range(len(predictions)) if clusters is None else clusters, predictions, strict=True):
        members.setdefault(int(place), []).append(p)
    each = [members[place] for place in sorted(members)]
    rng = np.random.default_rng(seed)
    for pick in rng.integers(0, len(each), (resamples, len(each))) if each else ():
        yield metric([p for i in pick for p in each[i]], labels)


def per_class(counts: np.ndarray, labels: Sequence[str], resamples: int, seed: int) -> dict[str, ClassFigures]:
    """Support, precision, recall with interval and F1 of each class; None for 0 / 0."""
    draws = resample(counts, resamples, seed).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls = np.diagonal(draws, axis1=1, axis2=2) / draws.sum(2)
        hits, support, answered = np.diag(counts).astype(float), counts.sum(1), counts[:, :-1].sum(0)
        precision, recall, f1 = hits / answered, hits / support, 2 * hits / (support + answered)
    return {
        label: ClassFigures(
            int(support[i]), number(precision[i]), number(recall[i]), *interval(recalls[:, i]), number(f1[i])
        )
        for i, label in enumerate(labels)
    }


def baselines(metrics: Mapping[str, Metric], counts: np.ndarray, labels: Sequence[str]) -> tuple[Guess, Guess]:
    """What guessing gives: by chance (every label alike) and by majority (always the commonest one).

    Chance is the metric of the expected confusion matrix: exactly 1/k for accuracy and mean recall. The
    majority class is that of the scored samples themselves, which no system could know: the strongest
    baseline of its sort.
    """
    support, k = counts.sum(1), len(labels)
    if not support.sum():
        return Guess(), Guess()
    commonest = int(support.argmax())
    even, always = np.zeros((2, k, k + 1))
    even[:, :k] = support[:, None] / k
    always[:, commonest] = support
    chance, majority = (
        {name: number(metric.from_confusions(one[None])[0]) for name, metric in count_metrics(metrics).items()}
        for one in (even, always)
    )
    return Guess(values=chance), Guess(labels[commonest], majority)


def paired(
    metrics: Mapping[str, Metric],
    first: Sequence[Sequence[Prediction]],
    second: Sequence[Sequence[Prediction]],
    labels: Sequence[str],
    seed: int,
    clusters: np.ndarray | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Pair]:
    """Differences second - first of two systems on the same samples; each draw is the same for both.

    A side is one run or several (seeds), all with answers to the same samples in the same order; its figure is the mean
    over its runs. A rating that one of the runs left open counts in none. Metrics that are no number are left out; one that
    offers no quick way costs a call a draw and run.
    """
    found = together(metrics, numbered_by_all([*first, *second]), labels, seed, clusters, resamples)
    return {
        name: _pair(values, drawn, len(first), getattr(metrics[name], "higher_is_better", True))
        for name, (values, drawn) in found.items()
    }


def numbered_by_all(sides: Sequence[Sequence[Prediction]]) -> list[list[Prediction]]:
    """Answers to the same samples, with the ratings alone that each of them holds."""
    all_of = [set.intersection(*({*p.numbered} for p in row)) for row in zip(*sides, strict=True)]
    return [
        [replace(p, true_numbers={n: v for n, v in p.true_numbers.items() if n in names}) if p.true_numbers else p
         for p, names in zip(side, all_of, strict=True)]
        for side in sides
    ]  # fmt: skip


def together(
    metrics: Mapping[str, Metric],
    sides: Sequence[Sequence[Prediction]],
    labels: Sequence[str],
    seed: int,
    clusters: np.ndarray | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, tuple[list[float], list[np.ndarray]]]:
    """By metric that is a number, its value (NaN for None) and draws [r] for each of several answers to the same samples; a
    draw has the same samples in each."""
    counted = count_metrics(metrics)
    drawn = tables(sides, labels, seed, clusters, resamples) if counted else np.empty(0)
    whole = [confusion(*indices(one, labels), len(labels))[None] for one in sides] if counted else []
    table: dict[str, tuple[list[float], list[np.ndarray]]] = {}
    for name, metric in metrics.items():
        if name in counted:
            values = [float(counted[name].from_confusions(one)[0]) for one in whole]
            table[name] = values, list(map(counted[name].from_confusions, drawn))
        elif not hasattr(metric, "from_counts"):
            values = [_value(metric, one, labels) for one in sides]
            table[name] = values, _draws_together(metric, sides, labels, seed, clusters, resamples)
    return table


def _value(metric: Metric, predictions: Sequence[Prediction], labels: Sequence[str]) -> float:
    """The value of a metric, NaN for None."""
    value = number(metric(predictions, labels).get("value"))
    return np.nan if value is None else value


def _draws_together(
    metric: Metric,
    sides: Sequence[Sequence[Prediction]],
    labels: Sequence[str],
    seed: int,
    clusters: np.ndarray | None,
    resamples: int,
) -> list[np.ndarray]:
    """Draws [r] of a metric for each of several answers to the same samples, which are drawn alike for all."""
    if not hasattr(metric, "per_sample"):
        return [draws(metric, one, labels, seed, clusters, resamples) for one in sides]
    rows = [metric.per_sample(one, labels).reshape(len(one), -1) if len(one) else np.empty((0, 1)) for one in sides]
    means = drawn_means(np.hstack(rows), seed, clusters, resamples)
    split = np.split(means, np.cumsum([one.shape[1] for one in rows])[:-1], axis=1)
    of_means = getattr(metric, "from_means", None)
    return [(of_means(own) if of_means else own[:, 0]) if len(own) else np.array([]) for own in split]


def _pair(values: Sequence[float], drawn: Sequence[np.ndarray], first: int, higher: bool) -> Pair:
    """The difference of the means of two groups of runs, of which the first has so many; `higher` is better."""
    one, two = (number(np.mean(side)) for side in (values[:first], values[first:]))
    apart = np.mean(drawn[first:], axis=0) - np.mean(drawn[:first], axis=0)
    apart = np.where(abs(apart) < ROUNDING, 0.0, apart)
    known = apart[np.isfinite(apart)] * (1 if higher else -1)
    ahead = float((known > 0).mean() + (known == 0).mean() / 2) if known.size else None
    return Pair(None if one is None or two is None else number(two - one), *interval(apart), ahead, one, two)
