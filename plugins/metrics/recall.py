"""UAR: the recall of each class, all classes alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectkit_plugins.metrics._counts import CountMetric, hits, mean, ratio

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Settings:
    """Unweighted average recall: the mean over classes of the share of their samples that were answered
    right.

    Averages over the classes that occur among the truths. Invalid answers are wrong. The usual first figure
    of DFEW, FERV39k and MAFW (Jiang et al., ACM MM 2020); also called balanced accuracy.
    """


def build(settings: Settings) -> CountMetric:
    """A metric on predictions with truth; see `affectkit.evaluation.prediction.Metric`."""
    return CountMetric(average_recall)


def average_recall(counts: np.ndarray) -> np.ndarray:
    """[..., k, k + 1] counts to [...]."""
    return mean(ratio(hits(counts), counts.sum(-1)))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "uar", Settings, build)]
