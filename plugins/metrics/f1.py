"""F1 averaged over classes, by their number of samples or all alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectkit_plugins.metrics._counts import CountMetric, f1, mean, ratio

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class WeightedSettings:
    """F1 of each class, averaged by the number of its samples: the main figure of the MER challenges.

    An invalid answer is a miss of its class and a false alarm of none. It hides rare classes: read macro F1
    beside it.
    """


@dataclass(frozen=True)
class MacroSettings:
    """F1 of each class, all classes alike.

    Averages over the classes that occur in truth or answers. An invalid answer is a miss of its class and a
    false alarm of none.
    """


def build_weighted(settings: WeightedSettings) -> CountMetric:
    """A metric on predictions with truth; see `affectkit.evaluation.prediction.Metric`."""
    return CountMetric(weighted)


def build_macro(settings: MacroSettings) -> CountMetric:
    """A metric on predictions with truth; see `affectkit.evaluation.prediction.Metric`."""
    return CountMetric(macro)


def weighted(counts: np.ndarray) -> np.ndarray:
    """[..., k, k + 1] counts to [...]."""
    import numpy as np

    support = counts.sum(-1)
    return ratio((np.nan_to_num(f1(counts)) * support).sum(-1), support.sum(-1))


def macro(counts: np.ndarray) -> np.ndarray:
    """[..., k, k + 1] counts to [...]."""
    return mean(f1(counts))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [
        Piece("metric", "weighted_f1", WeightedSettings, build_weighted),
        Piece("metric", "macro_f1", MacroSettings, build_macro),
    ]
