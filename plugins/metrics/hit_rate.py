"""MER-UniBench's hit rate on data sets with one label a clip, and the mscore beside it."""

from __future__ import annotations

from dataclasses import dataclass

from affectkit_plugins.metrics._hits import HitMetric
from affectkit_plugins.metrics._wheels import WheelSettings

from affectkit.evaluation.clients import CachedClient
from affectkit.pieces import Piece, hookimpl


@dataclass(frozen=True)
class Settings(WheelSettings):
    """Hit rate (MER-UniBench; Lian et al. 2025): the share of clips whose answer names the truth's group, mean of five wheels.

    A clip counts on a wheel only if its truth stands on it: neutral never does. Naming more labels can only help.
    """

    truth: str = "label"
    """The task whose true text answers are compared with; by default the sample's label."""


@dataclass(frozen=True)
class MscoreSettings(WheelSettings):
    """mscore (computed and not reported by MER-UniBench): hits over the data set's groups that an answer names, 0 for none.

    Unlike the hit rate it punishes naming many labels. The data set's groups are those of `--classes`, or of every truth.
    """

    truth: str = "label"
    """The task whose true text answers are compared with; by default the sample's label."""


def build(settings: Settings, client: CachedClient | None = None) -> HitMetric:
    """The metric; `client` reads free text where the settings say so. Raises InputError for a folder without the tables."""
    return HitMetric(settings.mapper("L1", client), False, "hit rate, mean of the wheels' inner rings (MER-UniBench)")


def build_mscore(settings: MscoreSettings, client: CachedClient | None = None) -> HitMetric:
    """The metric, as `build` makes the other."""
    what = "mscore, mean of the wheels' inner rings (computed beside the hit rate)"
    return HitMetric(settings.mapper("L1", client), True, what)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [
        Piece("metric", "hit_rate", Settings, build),
        Piece("metric", "mscore", MscoreSettings, build_mscore),
    ]
