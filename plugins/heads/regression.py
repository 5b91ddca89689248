"""A head that answers numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from affectkit_plugins.heads._scorer import ScorerSettings, scales_of, widths_of

from affectkit.pieces import Piece, hookimpl
from affectkit.sample import NUMBERS, Targets


@dataclass(frozen=True)
class Settings(ScorerSettings):
    """Ratings such as valence and arousal, from scores of the pooled blocks; those that the data has, or some of them."""

    numbers: tuple[str, ...] = ()
    """The ratings to answer; empty for all that the data has."""
    loss: Literal["mse", "mae", "huber", "ccc"] = "mse"
    """What is trained, on ratings scaled by the ends of their scales: squared or absolute error, Huber's, or 1 - CCC, which is
    defined over the rows of a batch."""
    clip: bool = False
    """Whether answers beyond the ends of a scale are put on these."""


def build(settings: Settings, inputs: Any, targets: Targets) -> Any:
    """The head. Raises InputError where the data has no ratings, or not those that are named."""
    from affectkit_plugins.heads.regression_net import Regression

    return Regression(settings, widths_of(inputs), scales_of(targets, settings.numbers, "regression"))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("head", "regression", Settings, build, answers=NUMBERS, tiny={"dropout": 0.0})]
