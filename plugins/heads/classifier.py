"""A head that chooses one label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from affectkit_plugins.heads._scorer import ScorerSettings, labels_of, widths_of

from affectkit.pieces import Piece, hookimpl
from affectkit.sample import LABEL, Targets


@dataclass(frozen=True)
class Settings(ScorerSettings):
    """One label of the data's label set, by soft-max over scores of the pooled blocks; trained by cross-entropy.

    With `fusion: attention`, `norm: none` and one block a sense (its mean over time) this is the attention baseline of MERBench
    (Lian et al. 2024), whose second head for valence is a `regression` with the same settings: here each has layers of its own.
    """

    smoothing: float = 0.0
    """Share of the truth that goes to all labels alike (label smoothing)."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = super().problems()
        return found + ([] if 0 <= self.smoothing < 1 else [("smoothing", "must be from 0 to below 1")])


def build(settings: Settings, inputs: Any, targets: Targets) -> Any:
    """The head. Raises InputError for a label set of fewer than two."""
    from affectkit_plugins.heads.classifier_net import Classifier

    return Classifier(settings, widths_of(inputs), labels_of(targets, "classifier"), settings.smoothing)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("head", "classifier", Settings, build, answers=LABEL, tiny={"hidden": [8], "dropout": 0.0})]
