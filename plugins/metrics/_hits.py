"""Hit rate and mscore: whether an open answer names the group of a single truth. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from affectkit_plugins.metrics._wheels import Mapper, means_of, number, rows_of, says, summary, truth_of

from affectkit.evaluation.prediction import Prediction

if TYPE_CHECKING:
    import numpy as np


class HitMetric:
    """Mean over the wheels' inner rings; clips whose truth has no group on a wheel are left out there."""

    def __init__(self, mapper: Mapper, mscore: bool, what: str) -> None:
        self.tables, self.mapper, self.mscore, self.what = mapper.tables, mapper, mscore, what

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, wheels]: the hits of each clip, for mscore over the number of groups of the data set's that it names.

        The data set's groups are those of `labels`, or of every truth that occurs.
        """
        import numpy as np

        wheels = len(self.mapper.mappings)
        rows = rows_of(predictions, self.mapper, lambda truth, answer: (float(len(truth & answer)),), 1)
        if not self.mscore:
            return rows
        own = [label.lower().strip() for label in labels] or [t for p in predictions for t in truth_of(p)]
        named = np.empty_like(rows)
        for j, mapping in enumerate(self.mapper.mappings):
            mine = Mapper(self.tables, [mapping], self.mapper.reader)
            groups = mine.groups(own, mapping)
            named[:, j] = rows_of(predictions, mine, _named_of(groups), 1)[:, 0]
        return np.where(named == 0, 0.0, rows / np.where(named == 0, 1.0, named)).reshape(-1, wheels)

    def from_means(self, means: np.ndarray) -> np.ndarray:
        """The mean over wheels [r]."""
        return means.mean(1)

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value`, and `parts` with each wheel."""
        import numpy as np

        rows = self.per_sample(predictions, labels)
        means, used = means_of(rows), np.isfinite(rows).sum(0)
        parts = {
            name: {"value": number(means[i]), "used": int(used[i]), "skipped": len(predictions) - int(used[i])}
            for i, name in enumerate(self.mapper.mappings)
        }
        about = summary(self.tables, self.mapper, predictions)
        return {
            "value": number(means.mean()),
            "parts": parts,
            **about,
            "protocol": says(self.what, self.tables, parts, about),
        }


def _named_of(groups: frozenset[str]) -> Any:
    return lambda truth, answer: (float(len(answer & groups)),)
