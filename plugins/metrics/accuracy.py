"""Accuracy, under both names that the field gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectkit_plugins.metrics._counts import CountMetric, hits, ratio

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Settings:
    """Accuracy: the share of samples that were answered right. Invalid answers are wrong."""


@dataclass(frozen=True)
class WarSettings:
    """Weighted average recall: recall averaged over classes by their number of samples, which is accuracy.

    Invalid answers are wrong. The usual second figure of DFEW, FERV39k and MAFW (Jiang et al., ACM MM 2020).
    """


def build(settings: Settings | WarSettings) -> CountMetric:
    """A metric on predictions with truth; see `affectkit.evaluation.prediction.Metric`."""
    return CountMetric(share_right)


def share_right(counts: np.ndarray) -> np.ndarray:
    """[..., k, k + 1] counts to [...]."""
    return ratio(hits(counts).sum(-1), counts.sum((-2, -1)))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "accuracy", Settings, build), Piece("metric", "war", WarSettings, build)]
