"""MER-UniBench's figure for data sets of sentiment: weighted F1 on its sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    from affectkit_plugins.metrics._polarity import PolarityMetric


@dataclass(frozen=True)
class Settings:
    """Weighted F1 and accuracy on the sign of sentiment (MER-UniBench; CMU-MOSI, CMU-MOSEI, CH-SIMS).

    Answers are the words positive, negative and neutral (or numbers), truths numbers. A truth of 0 is left out and both
    sides are cut at > 0, so that a neutral or unreadable answer counts as negative.
    """

    task: str = "sentiment"
    """The task whose answers are scored."""

    def asks(self) -> tuple[str, str]:
        """A word of sentiment, as text."""
        return self.task, "generate"

    def columns(self) -> tuple[str, ...]:
        """Where files hold it."""
        from affectkit_plugins.metrics._polarity import COLUMNS

        return COLUMNS


def build(settings: Settings) -> PolarityMetric:
    """The metric."""
    from affectkit_plugins.metrics._polarity import PolarityMetric

    return PolarityMetric()


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "sentiment_waf", Settings, build)]
