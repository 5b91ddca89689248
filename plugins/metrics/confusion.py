"""The confusion matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    from affectkit.score import Prediction


@dataclass(frozen=True)
class Settings:
    """Counts of samples by truth (rows) and answer (columns); the last column holds invalid answers."""


def build(settings: Settings) -> Callable[[Sequence[Prediction], Sequence[str]], dict[str, Any]]:
    """A metric that gives `{"labels", "columns", "rows"}`; see `affectkit.score.Metric`."""
    return matrix


def matrix(predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
    """Rows of plain integers [k, k + 1]."""
    from affectkit_plugins.metrics._counts import confusion

    rows = confusion(predictions, labels).tolist()
    return {"labels": list(labels), "columns": [*labels, "(invalid)"], "rows": rows}


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "confusion", Settings, build)]
