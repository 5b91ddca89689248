"""Weighted F1 on the sign of sentiment, as MER-UniBench computes it. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from affectkit_plugins.metrics._wheels import number

if TYPE_CHECKING:
    import numpy as np

    from affectkit.score import Prediction

COLUMNS = ("sentiment", "val", "valence", "fileitems", "label", "labels", "discrete", "text", "answer")
"""Columns that may hold sentiment, the likeliest first."""
WORDS = {"positive": 1.0, "negative": -1.0, "neutral": 0.0}
WHAT = (
    "weighted F1 on the sign of sentiment (MER-UniBench): clips whose truth is 0 are left out, an answer that is neutral or "
    "cannot be read counts as negative"
)


def as_value(text: str) -> float | None:
    """The number that a text is or names; None for anything else. Words are read as published: lower case, nothing more."""
    text = text.strip()
    if text in WORDS:
        return WORDS[text]
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def answered(prediction: Prediction) -> float | None:
    """The sentiment of an answer."""
    return as_value(prediction.text or prediction.label or "")


def true_value(prediction: Prediction) -> float | None:
    """The true sentiment of a sample; None where it is neither a number nor a word of sentiment."""
    return as_value(str(prediction.facts.get("reference") or prediction.truth or ""))


class PolarityMetric:
    """See `affectkit.score.Metric`."""

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, 4]: which cell of (truth, answer) each clip is in, negative first; NaN for a truth of 0 or none."""
        import numpy as np

        rows = np.full((len(predictions), 4), np.nan)
        for row, p in zip(rows, predictions, strict=True):
            truth = true_value(p)
            if truth:
                row[:] = 0
                row[2 * (truth > 0) + ((answered(p) or 0.0) > 0)] = 1
        return rows

    def from_means(self, means: np.ndarray) -> np.ndarray:
        """Weighted F1 [r] of means [r, 4]."""
        from affectkit_plugins.metrics.mer2023_upstream import weighted

        return weighted(means.reshape(-1, 2, 2))[0]

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value` is weighted F1 (WAF), `accuracy` stands beside; `used`, `skipped`, `neutral` and `unreadable` count."""
        import numpy as np
        from affectkit_plugins.metrics.mer2023_upstream import weighted

        rows = self.per_sample(predictions, labels)
        known = np.isfinite(rows[:, 0])
        counts = rows[known].sum(0).reshape(2, 2)
        strange = sum(true_value(p) is None for p in predictions)
        values = [answered(p) for p, there in zip(predictions, known, strict=True) if there]
        waf, accuracy = (number(f[0]) for f in weighted(counts[None])[:2])
        return {
            "value": waf,
            "accuracy": accuracy,
            "clips": len(predictions),
            "used": int(known.sum()),
            "skipped": int((~known).sum()),
            "neutral": sum(v == 0 for v in values),
            "unreadable": sum(v is None for v in values),
            "unreadable_truths": strange,
            "confusion": counts.astype(int).tolist(),
            "confusion_labels": ["negative", "positive"],
            "protocol": f"{WHAT}; {int(known.sum())} of {len(predictions)} clips used"
            + (f", {strange} have a truth that is neither a number nor a word of sentiment" if strange else ""),
        }
