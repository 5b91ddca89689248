"""A head that answers several labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from affectkit_plugins.heads._scorer import ScorerSettings, labels_of, widths_of

from affectkit.pieces import Piece, hookimpl
from affectkit.sample import LABELS, Targets


@dataclass(frozen=True)
class Settings(ScorerSettings):
    """Several labels of the data's label set, each true or not by itself, or their shares; from scores of the pooled blocks."""

    answer: Literal["set", "shares"] = "set"
    """What the labels of a sample are: a set, each label by a sigmoid of its own with binary cross-entropy; or shares that add
    up to 1 (votes of annotators), by soft-max with cross-entropy."""
    threshold: float = 0.5
    """The probability from which on a label is answered; with `shares` the share."""
    at_least_one: bool = True
    """Whether the likeliest label is answered where none reaches the threshold."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = super().problems()
        return found + ([] if 0 < self.threshold < 1 else [("threshold", "must be between 0 and 1")])


def build(settings: Settings, inputs: Any, targets: Targets) -> Any:
    """The head. Raises InputError for a label set of fewer than two."""
    from affectkit_plugins.heads.multi_label_net import MultiLabel

    return MultiLabel(settings, widths_of(inputs), labels_of(targets, "multi_label"))


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("head", "multi_label", Settings, build, answers=LABELS, tiny={"dropout": 0.0})]
