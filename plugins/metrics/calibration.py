"""How far probabilities can be trusted: calibration errors, Brier scores and risk by coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.metrics._ratings import number

from affectkit.evaluation.prediction import Prediction
from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Settings:
    """Calibration of the probabilities of answered labels; lower is better, and `parts` has every figure.

    Expected calibration error in 15 and 10 bins of equal width, (lo, hi] each, and in 15 of equally many samples; the largest
    error of a bin; Brier score of the answered label and over all labels; negative log-likelihood; area under the curve of risk
    by coverage (Guo et al., ICML 2017; Geifman and El-Yaniv, NeurIPS 2017). Answers without probabilities are left out and
    counted.
    """

    figure: Literal["ece_15", "ece_10", "ece_equal_mass", "mce", "brier", "brier_multiclass", "nll", "aurc"] = "ece_15"
    """The part that is the value."""


@dataclass(frozen=True)
class Calibration:
    """The figures; see `affectkit.evaluation.prediction.Metric`."""

    figure: str
    higher_is_better: bool = False

    def from_draws(self, predictions: Sequence[Prediction], labels: Sequence[str], often: np.ndarray) -> np.ndarray:
        """The value [r] where each sample is drawn so often [r, n]."""
        from affectkit.evaluation.calibration import Confidences

        own = Confidences.of(predictions, labels)
        return own.figures(often[:, own.known])[self.figure]

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value` is the chosen figure, `parts` has each, `used` and `unreadable` count answers with and without any."""
        from affectkit.evaluation.calibration import FIGURES, Confidences

        own = Confidences.of(predictions, labels)
        used, said = int(own.known.sum()), FIGURES[self.figure]
        without = len(predictions) - used
        parts = {name: {"value": number(value[0])} for name, value in own.figures().items()} if used else {}
        note = f"; {without} answers without probabilities are left out" if without else ""
        return {
            "value": parts[self.figure]["value"] if parts else None,
            "parts": parts,
            "used": used,
            "unreadable": without,
            "higher_is_better": False,
            "protocol": f"{said}; confidence is the answered label's share of the labels' probabilities{note}",
        }


def build(settings: Settings) -> Calibration:
    """A metric on predictions with truth and probabilities."""
    return Calibration(settings.figure)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "calibration", Settings, build)]
