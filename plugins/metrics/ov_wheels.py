"""OV-MER's set metrics over emotion wheels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from affectkit_plugins.metrics._sets import SetMetric
from affectkit_plugins.metrics._wheels import WheelSettings

from affectkit.evaluation.clients import CachedClient
from affectkit.pieces import Piece, hookimpl

LEVELS = {
    "all": ("mean F of M1, M2 and five wheels at both rings (OV-MER's M-avg of 12)", ""),
    "L1": ("mean F of five wheels at the inner ring (MER-UniBench, MER2025 and MER2026)", "L1"),
    "L2": ("mean F of five wheels at the second ring (MER2025)", "L2"),
}


@dataclass(frozen=True)
class Settings(WheelSettings):
    """Set F over emotion wheels (OV-MER; Lian et al. 2025): truth and answer are sets of open labels, mapped to groups.

    M1 maps a word to its base form, M2 to a synonym, M3 to a group of one of five wheels at ring 1 or 2. Precision and
    recall are averaged over clips whose truth has a group, F is their harmonic mean, the value is the mean of F.
    """

    level: Literal["all", "L1", "L2"] = "all"
    """The mean over all twelve mappings, or over the five wheels at one ring."""
    guarded: bool = True
    """F is 0 where precision and recall are, and on a wheel that knows no truth (MER2026); false: it has no value then, as in
    the code before."""


def build(settings: Settings, client: CachedClient | None = None) -> SetMetric:
    """The metric; `client` reads free text where the settings say so. Raises InputError for a folder without the tables."""
    what, ring = LEVELS[settings.level]
    return SetMetric(settings.mapper(ring, client), settings.guarded, what)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "ov_wheels", Settings, build)]
