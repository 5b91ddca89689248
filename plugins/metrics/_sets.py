"""Precision, recall and F of sets of groups, averaged over the data set. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from affectkit_plugins.metrics._wheels import Mapper, means_of, number, rows_of, says, summary

from affectkit.evaluation.prediction import Prediction

if TYPE_CHECKING:
    import numpy as np


def overlap(truth: frozenset[str], answer: frozenset[str]) -> tuple[float, float]:
    """Precision and recall of one clip that has a truth; an empty answer has 0 of both."""
    both = len(truth & answer)
    return (both / len(answer), both / len(truth)) if answer else (0.0, 0.0)


def f_of(precision: np.ndarray, recall: np.ndarray, guarded: bool) -> np.ndarray:
    """Harmonic mean; where both are 0 it is 0, unguarded NaN as in the code before MER2026."""
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        found = 2 * (precision * recall) / (precision + recall)
    return np.where((precision + recall) == 0, 0.0, found) if guarded else found


class SetMetric:
    """Mean of F over mappings; F is of the *averages* of precision and recall over clips whose truth has a group.

    A mapping that knows no truth at all is 0 where `guarded`, as in MER2026's code; where none knows any there is no value.
    """

    def __init__(self, mapper: Mapper, guarded: bool, what: str) -> None:
        self.tables, self.mapper, self.guarded, self.what = mapper.tables, mapper, guarded, what

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, mappings * 2]: precision and recall by mapping; NaN where the truth has no group."""
        return rows_of(predictions, self.mapper, overlap, 2)

    def from_means(self, means: np.ndarray) -> np.ndarray:
        """Mean F [r] of means [r, mappings * 2]."""
        means = self._filled(means)
        return f_of(means[:, ::2], means[:, 1::2], self.guarded).mean(1)

    def _filled(self, means: np.ndarray) -> np.ndarray:
        """The means with 0 for mappings that know no truth, where `guarded` and some do."""
        import numpy as np

        known = np.isfinite(means).any(-1, keepdims=True)
        return np.where(np.isnan(means) & known, 0.0, means) if self.guarded else means

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value` is mean F; `precision` and `recall` are means over mappings; `parts` has each mapping. Where one that knows no
        truth counts 0, `value_of_known` is the mean F of the others."""
        import numpy as np

        rows = self.per_sample(predictions, labels)
        means = self._filled(means_of(rows))
        precision, recall = means[::2], means[1::2]
        f = f_of(precision, recall, self.guarded)
        used = np.isfinite(rows[:, ::2]).sum(0)
        parts = {
            name: {
                "value": number(f[i]),
                "precision": number(precision[i]),
                "recall": number(recall[i]),
                "used": int(used[i]),
                "skipped": len(predictions) - int(used[i]),
            }
            for i, name in enumerate(self.mapper.mappings)
        }
        rings = {ring: [i for i, m in enumerate(self.mapper.mappings) if m.endswith(ring)] for ring in ("L1", "L2")}
        by_ring = {
            f"mean_{ring}": {
                what: number(values[places].mean())
                for what, values in (("value", f), ("precision", precision), ("recall", recall))
            }
            for ring, places in rings.items()
            if places
        }
        about = summary(self.tables, self.mapper, predictions)
        lacking = [name for name, n in zip(self.mapper.mappings, used, strict=True) if not n] if self.guarded else []
        note = (
            f"; {', '.join(lacking)} know no truth and count 0, as in MER2026's code" if lacking and used.any() else ""
        )
        return {
            "value": number(f.mean()),
            **({"value_of_known": number(f[used > 0].mean())} if note else {}),
            "precision": number(precision.mean()),
            "recall": number(recall.mean()),
            **by_ring,
            "parts": parts,
            "guarded": self.guarded,
            **about,
            "protocol": says(self.what, self.tables, parts, about) + note,
        }
