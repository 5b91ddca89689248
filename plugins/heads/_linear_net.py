"""Penalised linear models in float64: logistic regression by L-BFGS, ridge regression, and the strength by grouped folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from affectkit.sample import LABEL, NUMBERS

if TYPE_CHECKING:
    from affectkit_plugins.heads.linear_probe import Settings

STEPS, TOLERANCE, ROUGH = 300, 1e-7, 1e-3
"""Of L-BFGS: iterations at most, and the gradient at which it is done; and at which it will do to compare strengths."""


@dataclass(frozen=True)
class Choice:
    """A strength, and how well the held-out folds were answered with it (more is better)."""

    strength: float
    quality: float


def scale_of(x: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, spread) [d] of rows [n d]; a column that never changes has the spread 1."""
    spread = x.std(0, correction=0)
    return x.mean(0), torch.where(spread > 1e-12, spread, torch.ones_like(spread))


def groups(people: Sequence[object]) -> Tensor:
    """int64 [n]: a number for each person, one of its own for a sample of nobody known; for each sample, where all are of one
    person, whom no fold could hold out."""
    alone = len({*people}) == 1
    names = [f"sample {i}" if p is None or alone else f"person {p}" for i, p in enumerate(people)]
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([place[name] for name in names])


def choose(x: Tensor, y: Tensor, people: Tensor, settings: Settings) -> Choice:
    """The strength that answers held-out people best: by the mean recall of labels, by CCC of ratings."""
    found = {strength: y.new_zeros(y.shape) for strength in settings.strengths}
    for train, test in _folds(people, settings.folds):
        mean, spread = scale_of(x[train])
        rows = (x[train] - mean) / spread
        basis = _basis(rows)
        rows, held = (part if basis is None else part @ basis for part in (rows, (x[test] - mean) / spread))
        start = None
        for strength in sorted(settings.strengths, reverse=True):
            weight, bias = start = _solve(rows, y[train], strength, settings, start, ROUGH)
            found[strength][test] = held @ weight.T + bias
    each = {strength: quality(scores, y, settings) for strength, scores in found.items()}
    best = max(each, key=lambda strength: (each[strength], strength))
    return Choice(best, each[best])


def _basis(x: Tensor) -> Tensor | None:
    """[d m]: directions that hold all rows [n d], where there are fewer rows than values; None where that is not so. A
    penalised model has its weights among them, so that it can be found in m values instead of d."""
    n, d = x.shape
    if d <= n:
        return None
    squares, vectors = torch.linalg.eigh(x @ x.T)
    keep = squares > squares[-1] * 1e-12
    return x.T @ (vectors[:, keep] / squares[keep].sqrt())


def _folds(people: Tensor, folds: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(training rows, held-out rows); no person is in both. The same people give the same folds."""
    count = int(people.max()) + 1
    order = torch.from_numpy(np.random.default_rng(0).permutation(count))
    fold = torch.empty(count, dtype=torch.long)
    fold[order] = torch.arange(count) % min(folds, count)
    for k in range(min(folds, count)):
        test = fold[people] == k
        if bool(test.any()) and bool((~test).any()):
            yield (~test).nonzero().flatten(), test.nonzero().flatten()


def quality(scores: Tensor, y: Tensor, settings: Settings) -> float:
    """How well scores [n k] answer truths [n k]: mean recall of labels, less the log-loss of several; the mean CCC of ratings."""
    if settings.answer == NUMBERS:
        return float(np.mean([_ccc(p, t) for p, t in zip(scores.T, y.T, strict=True)]))
    if settings.answer == LABEL:
        right = scores.argmax(1) == y.argmax(1)
        each = [right[y[:, k] > 0].double().mean() for k in range(y.shape[1]) if bool((y[:, k] > 0).any())]
        return float(torch.stack(each).mean())
    return -float(binary_cross_entropy_with_logits(scores, y))


def _ccc(p: Tensor, t: Tensor) -> float:
    """Lin's concordance correlation coefficient over rows with a truth; 0 where nothing varies."""
    known = t.isfinite()
    p, t = p[known], t[known]
    below = p.var(correction=0) + t.var(correction=0) + (p.mean() - t.mean()) ** 2
    return float(2 * ((p - p.mean()) * (t - t.mean())).mean() / below) if float(below) > 0 else 0.0


Solution = tuple[Tensor, Tensor]
"""Weights [k d] and biases [k]."""


def solve(x: Tensor, y: Tensor, strength: float, settings: Settings) -> Solution:
    """The penalised linear model of rows [n d]; biases bear no penalty."""
    basis = _basis(x)
    weight, bias = _solve(x if basis is None else x @ basis, y, strength, settings)
    return (weight if basis is None else weight @ basis.T), bias


def _solve(
    x: Tensor,
    y: Tensor,
    strength: float,
    settings: Settings,
    start: Solution | None = None,
    tolerance: float = TOLERANCE,
) -> Solution:
    """The same, from where another strength ended."""
    if settings.answer == NUMBERS:
        return _ridge(x, y, strength)
    weights = row_weights(y, settings)
    weight, bias = (
        (w.clone() for w in start) if start else (x.new_zeros(y.shape[1], x.shape[1]), x.new_zeros(y.shape[1]))
    )
    weight.requires_grad_()
    bias.requires_grad_()
    search = torch.optim.LBFGS(
        [weight, bias],
        max_iter=STEPS,
        tolerance_grad=tolerance,
        tolerance_change=1e-13,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        search.zero_grad()
        scores = x @ weight.T + bias
        if settings.answer == LABEL:
            total = -(weights[:, None] * y * log_softmax(scores, 1)).sum()
        else:
            total = binary_cross_entropy_with_logits(scores, y, reduction="sum")
        total = (total + 0.5 * strength * (weight**2).sum()) / len(x)
        total.backward()
        return total

    with torch.enable_grad():
        search.step(loss)
    return weight.detach(), bias.detach()


def row_weights(y: Tensor, settings: Settings) -> Tensor:
    """[n]: how much each row counts; all labels together count alike with `balanced`, n in all (scikit-learn's convention)."""
    if settings.class_weights == "none" or settings.answer != LABEL:
        return y.new_ones(len(y))
    counts = y.sum(0)
    each = torch.where(counts > 0, len(y) / (int((counts > 0).sum()) * counts.clamp(min=1)), torch.zeros_like(counts))
    return y @ each


def _ridge(x: Tensor, y: Tensor, strength: float) -> Solution:
    """Least squares with a penalty, each rating from the rows that have it."""
    weight, bias = x.new_zeros(y.shape[1], x.shape[1]), x.new_zeros(y.shape[1])
    for k in range(y.shape[1]):
        known = y[:, k].isfinite()
        rows, truths = x[known], y[known, k]
        if len(rows) == 0:
            continue
        mean, level = rows.mean(0), truths.mean()
        centred = rows - mean
        inner = centred.T @ centred + strength * torch.eye(centred.shape[1], dtype=x.dtype)
        weight[k] = torch.linalg.solve(inner, centred.T @ (truths - level))
        bias[k] = level - weight[k] @ mean
    return weight, bias
