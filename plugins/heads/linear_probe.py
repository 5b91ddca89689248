"""The yardstick: a linear model on frozen features, found without a training loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from affectkit_plugins._values import at_least
from affectkit_plugins.heads._scorer import labels_of, scales_of

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, hookimpl
from affectkit.sample import NUMBERS, Targets

STRENGTHS = tuple(10.0**power for power in range(-2, 7))


@dataclass(frozen=True)
class Settings:
    """Logistic regression (of ratings: ridge regression) on standardised features of frozen steps, as linear probes are used.

    The strength of the penalty is chosen by folds over the training samples, grouped by person where people are known, and so
    is whether tokens are averaged or laid side by side. Nothing is chosen on validation or test samples.
    """

    answer: Literal["label", "labels", "numbers"] = "label"
    """What is answered: one label, several, or ratings."""
    numbers: tuple[str, ...] = ()
    """The ratings to answer; empty for all that the data has."""
    pool: Literal["mean", "all", "better"] = "better"
    """Whether the tokens of a block are averaged, laid side by side, or what of the two the folds find better."""
    strengths: tuple[float, ...] = STRENGTHS
    """Weights of the penalty (half of the squared length of the weights against the sum of losses) to choose from."""
    folds: int = 5
    """Folds by which that is chosen."""
    class_weights: Literal["balanced", "none"] = "balanced"
    """Whether each label counts alike, whatever its frequency."""
    threshold: float = 0.5
    """Of several labels: the probability from which on one is answered."""
    most_values: int = 20_000
    """Tokens are laid side by side up to so many values a sample."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = [] if self.strengths and min(self.strengths) > 0 else [("strengths", "must be above 0, at least one")]
        found += [] if 0 < self.threshold < 1 else [("threshold", "must be between 0 and 1")]
        return found + at_least(self, 2, "folds") + at_least(self, 0, "most_values")


def build(settings: Settings, inputs: Any, targets: Targets) -> Any:
    """The head. Raises InputError for a label set of fewer than two, or data without ratings."""
    from affectkit_plugins.heads.linear_probe_net import LinearProbe

    if any(shape.width is None for shape in inputs["tokens"]):
        raise InputError(Problem("tokens", "the width of what the probe reads is not known", "name a block of tokens"))
    if settings.answer == NUMBERS:
        names = tuple(scales_of(targets, settings.numbers, "linear_probe"))
    else:
        names = labels_of(targets, "linear_probe")
    return LinearProbe(settings, tuple(inputs["tokens"]), names)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("head", "linear_probe", Settings, build, answers=lambda settings: settings.answer, tiny={"folds": 2})]
