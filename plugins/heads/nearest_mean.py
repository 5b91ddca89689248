"""The simplest yardstick: the nearest mean of a label's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from affectkit_plugins.heads import linear_probe
from affectkit_plugins.heads._scorer import labels_of, widths_of

from affectkit.pieces import Piece, hookimpl
from affectkit.sample import LABEL, Targets


@dataclass(frozen=True)
class Settings:
    """The label whose training samples have the nearest mean, of standardised features of frozen steps; nothing is chosen."""

    pool: Literal["mean", "all"] = "mean"
    """Whether the tokens of a block are averaged, or laid side by side."""


def build(settings: Settings, inputs: Any, targets: Targets) -> Any:
    """The head. Raises InputError for a label set of fewer than two."""
    from affectkit_plugins.heads.nearest_mean_net import NearestMean

    widths_of(inputs)
    names = labels_of(targets, "nearest_mean")
    return NearestMean(linear_probe.Settings(pool=settings.pool), tuple(inputs["tokens"]), names)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("head", "nearest_mean", Settings, build, answers=LABEL)]
