"""Confusion counts, and bootstrap intervals drawn from them. Imports no torch.

Drawing n samples with replacement and counting them into a confusion matrix is the same as one multinomial
draw over the cells of the matrix. So metrics that depend on counts only get the ordinary bootstrap over
samples at the price of one small random matrix a draw, whatever the number of samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from affectkit.errors import InputError, Problem

if TYPE_CHECKING:
    from affectkit.evaluation.prediction import Metric, Prediction

LEVEL = 0.95
"""Confidence level of every interval: the 2.5th and 97.5th percentile of the draws."""


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


def with_interval(value: Any, draws: np.ndarray) -> dict[str, float | None]:
    """`{"value", "low", "high"}`."""
    low, high = interval(draws)
    return {"value": number(value), "low": low, "high": high}


def of_counts(
    metrics: Mapping[str, Metric], counts: np.ndarray, resamples: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Value and interval of each metric that a confusion matrix [k, k + 1] is enough for."""
    draws = resample(counts, resamples, seed)
    fast = {name: metric.from_confusions for name, metric in metrics.items() if hasattr(metric, "from_confusions")}
    return {name: with_interval(f(counts[None])[0], f(draws)) for name, f in fast.items()}


def of_samples(
    metric: Metric, predictions: Sequence[Prediction], labels: tuple[str, ...], resamples: int, seed: int
) -> np.ndarray:
    """Draws [r] of a metric that needs the predictions themselves: slow, one call of the metric a draw."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(predictions), (resamples, len(predictions))) if predictions else ()
    values = [number(metric([predictions[i] for i in pick], labels).get("value")) for pick in picks]
    return np.array([np.nan if v is None else v for v in values], float)


def of_rows(metric: Any, rows: np.ndarray, resamples: int, seed: int) -> dict[str, float | None]:
    """Value and interval of a metric of means over samples: `rows` [n, m] with NaN where a sample has none.

    Samples with equal rows are drawn together, which is the same as one by one, and any order of them gives the same.
    """
    value, draws = draws_of_rows(metric, rows, resamples, seed)
    return with_interval(value, draws)


def draws_of_rows(metric: Any, rows: np.ndarray, resamples: int, seed: int) -> tuple[float | None, np.ndarray]:
    """The same as value and draws [r]."""
    if not len(rows):
        return None, np.array([])
    rows = np.asarray(rows, float).reshape(len(rows), -1)
    known = np.isfinite(rows)
    kinds, counts = np.unique(np.hstack([np.where(known, rows, 0.0), known]), axis=0, return_counts=True)
    totals, weights = np.split(kinds, 2, axis=1)

    def value(drawn: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = (drawn @ totals) / (drawn @ weights)
        return metric.from_means(means) if hasattr(metric, "from_means") else means[:, 0]

    return value(counts[None].astype(float))[0], value(resample(counts, resamples, seed).astype(float))


def per_class(counts: np.ndarray, labels: Sequence[str], resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Support, precision, recall with interval and F1 of each class; None for 0 / 0."""
    draws = resample(counts, resamples, seed).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls = np.diagonal(draws, axis1=1, axis2=2) / draws.sum(2)
        hits, support, answered = np.diag(counts).astype(float), counts.sum(1), counts[:, :-1].sum(0)
        precision, recall, f1 = hits / answered, hits / support, 2 * hits / (support + answered)
    table: dict[str, dict[str, Any]] = {}
    for i, label in enumerate(labels):
        low, high = interval(recalls[:, i])
        table[label] = {
            "support": int(support[i]),
            "precision": number(precision[i]),
            "recall": number(recall[i]),
            "recall_low": low,
            "recall_high": high,
            "f1": number(f1[i]),
        }
    return table


def baselines(metrics: Mapping[str, Metric], counts: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """What guessing gives: `chance` (every label alike) and `majority` (always the commonest one).

    Chance is the metric of the expected confusion matrix: exactly 1/k for accuracy and mean recall. The
    majority class is that of the scored samples themselves, which no system could know: the strongest
    baseline of its sort.
    """
    support, k = counts.sum(1), len(labels)
    if not support.sum():
        return {"chance": {}, "majority": {}}
    commonest = int(support.argmax())
    even, always = np.zeros((2, k, k + 1))
    even[:, :k] = support[:, None] / k
    always[:, commonest] = support
    fast = {name: metric.from_confusions for name, metric in metrics.items() if hasattr(metric, "from_confusions")}
    chance = {name: number(f(even[None])[0]) for name, f in fast.items()}
    majority = {name: number(f(always[None])[0]) for name, f in fast.items()}
    return {"chance": chance, "majority": {"label": labels[commonest], **majority}}


def paired(
    metrics: Mapping[str, Metric], joint: np.ndarray, resamples: int, seed: int
) -> dict[str, dict[str, float | None]]:
    """Differences second - first of two systems on the same samples; each draw is the same for both.

    `joint` [k, k + 1, k + 1] counts (truth, first answer, second answer). `ahead` is the share of draws in
    which the second is better, ties counting half.
    """
    draws = resample(joint, resamples, seed)
    table = {}
    for name, metric in metrics.items():
        if not hasattr(metric, "from_confusions"):
            continue
        first, second = (number(metric.from_confusions(joint.sum(axis)[None])[0]) for axis in (2, 1))
        apart = metric.from_confusions(draws.sum(2)) - metric.from_confusions(draws.sum(3))
        known = apart[np.isfinite(apart)]
        table[name] = {
            "first": first,
            "second": second,
            **with_interval(None if first is None or second is None else second - first, apart),
            "ahead": float((known > 0).mean() + (known == 0).mean() / 2) if known.size else None,
        }
    return table
