"""The loss of a head of the recipe, beside others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Targets


@dataclass(frozen=True)
class Settings:
    """What a head of the recipe would be trained on in a stage of its own, as one loss among several: its terms are the samples
    that have what it answers.

    The head's own parameters train where the stage's `train` names them (`heads.emotion`); without that it only pulls on the
    streams that it reads.
    """

    head: str
    """Name of the head, as the recipe's `heads` has it."""

    def heads(self) -> Sequence[str]:
        """The head that it looks at."""
        return (self.head,)


def build(settings: Settings, inputs: Any, targets: Targets) -> Any:
    """The objective, which has no parameters of its own."""
    from affectkit_plugins.objectives.head_loss_net import HeadLoss

    return HeadLoss(settings.head)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("objective", "head_loss", Settings, build, tiny={"head": "emotion"})]
