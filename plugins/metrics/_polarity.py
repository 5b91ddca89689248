"""Weighted F1 on the sign of sentiment, as MER-UniBench computes it and without its conventions. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.metrics._wheels import number, text_of

from affectkit.extraction import Reader, lower
from affectkit.sentiment import LEXICON, VALUES, of_labels

if TYPE_CHECKING:
    import numpy as np

    from affectkit.score import Prediction

Convention = Literal["published", "honest"]
Way = Literal["auto", "word", "lexicon", "client"]
COLUMNS = ("sentiment", "val", "valence", "fileitems", "label", "labels", "discrete", "text", "answer")
"""Columns that may hold sentiment, the likeliest first."""
CONVENTIONS: dict[Convention, str] = {
    "published": "an answer that is neutral or cannot be read counts as negative (published convention)",
    "honest": "an answer that is neutral or cannot be read counts as wrong, and as neither sign",
}
WAYS: dict[str, str] = {
    "word": "answers are words of sentiment or numbers",
    "lexicon": f"sentiment of labels by {LEXICON}",
    "client": "sentiment of labels by a model's second pass",
}


def as_value(text: str) -> float | None:
    """The number that a text is or names; None for anything else. Words are read as published: lower case, nothing more."""
    text = text.strip()
    if text in VALUES:
        return float(VALUES[text])
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def true_value(prediction: Prediction) -> float | None:
    """The true sentiment of a sample; None where it is neither a number nor a word of sentiment."""
    return as_value(str(prediction.facts.get("reference") or prediction.truth or ""))


class Sentiments:
    """The sentiment of answers: they are words of it, or labels that a lexicon or a model makes it of."""

    def __init__(self, way: Way, reader: Reader) -> None:
        self.way, self.reader = way, reader
        self._known: dict[tuple[str, ...], str | None] = {}

    def chosen(self, predictions: Sequence[Prediction]) -> str:
        """How answers are read. `auto` looks at all: words where one of them is one (so that files of words are read as
        published), else labels where one of them has some."""
        if self.way != "auto":
            return self.way
        texts = [text_of(p) for p in predictions]
        if any(as_value(text) is not None for text in texts):
            return "word"
        labelled = self.reader.how == "client" or any(r.how in ("list", "sentence") for r in self.reader.read(texts))
        model = self.reader.how == "client" and self.reader.extractor is not None
        return "client" if model else "lexicon" if labelled else "word"

    def values(self, predictions: Sequence[Prediction]) -> list[float | None]:
        """The sentiment of each answer; None where none can be read."""
        way, texts = self.chosen(predictions), [text_of(p) for p in predictions]
        if way == "word":
            return [as_value(text) for text in texts]
        labels = [lower(read.labels) for read in self.reader.read(texts)]
        if way == "lexicon":
            return [as_value(of_labels(ls) or "") for ls in labels]
        self._ask([ls for ls in dict.fromkeys(labels) if ls and ls not in self._known])
        return [as_value(self._known.get(ls) or "") for ls in labels]

    def _ask(self, fresh: Sequence[tuple[str, ...]]) -> None:
        from affectkit.errors import InputError, Problem

        if not fresh:
            return
        model = self.reader.extractor
        if model is None:
            fix = "give it a client: client.use=openai_compatible client.model=NAME client.url=URL"
            raise InputError(Problem("sentiment of labels", "there is no model to ask", fix))
        jobs = [lambda ls=ls: model.sentiment(ls) for ls in fresh]
        self._known |= dict(zip(fresh, model.asker.read_all(jobs, "asking for sentiment"), strict=True))


@dataclass(frozen=True)
class PolarityMetric:
    """See `affectkit.score.Metric`."""

    sentiments: Sentiments
    convention: Convention = "published"

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, 6]: which cell of (truth, answer) each clip is in; truths negative, positive, answers these and
        neither; NaN for a truth of 0 or none."""
        import numpy as np

        rows = np.full((len(predictions), 6), np.nan)
        for row, p, value in zip(rows, predictions, self.sentiments.values(predictions), strict=True):
            truth = true_value(p)
            if truth:
                row[:] = 0
                row[3 * (truth > 0) + (2 if not value else int(value > 0))] = 1
        return rows

    def from_means(self, means: np.ndarray) -> np.ndarray:
        """Weighted F1 [r] of means [r, 6]."""
        return _figures(means, self.convention)[0]

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """`value` is weighted F1 (WAF) and `accuracy` stands beside, by the convention that is set; `published` and `honest`
        give both by either. `used`, `skipped`, `neutral` and `unreadable` count."""
        import numpy as np

        rows = self.per_sample(predictions, labels)
        known = np.isfinite(rows[:, 0])
        counts = rows[known].sum(0)
        strange = sum(true_value(p) is None for p in predictions)
        values = [v for v, there in zip(self.sentiments.values(predictions), known, strict=True) if there]
        both: dict[str, dict[str, float | None]] = {
            name: dict(zip(("value", "accuracy"), _numbers(counts, name), strict=True)) for name in CONVENTIONS
        }
        way = self.sentiments.chosen(predictions)
        return {
            **both[self.convention],
            **both,
            "clips": len(predictions),
            "used": int(known.sum()),
            "skipped": int((~known).sum()),
            "neutral": sum(v == 0 for v in values),
            "unreadable": sum(v is None for v in values),
            "unreadable_truths": strange,
            **_matrix(counts, self.convention),
            "read": self._told(predictions, way),
            "protocol": "weighted F1 on the sign of sentiment (MER-UniBench): clips whose truth is 0 are left out, "
            f"{CONVENTIONS[self.convention]}; {WAYS[way]}; {int(known.sum())} of {len(predictions)} clips used"
            + (f", {strange} have a truth that is neither a number nor a word of sentiment" if strange else ""),
        }

    def _told(self, predictions: Sequence[Prediction], way: str) -> dict[str, Any]:
        """How answers were read."""
        reader = self.sentiments.reader
        told: dict[str, Any] = {"sentiment": way}
        if way != "word":
            told["labels"] = reader.told([text_of(p) for p in predictions])
        if way == "client" and reader.extractor is not None:
            told["model"] = reader.extractor.told()
        return told


def _figures(cells: np.ndarray, convention: Convention) -> tuple[np.ndarray, ...]:
    """Weighted F1 and accuracy [r] of counts or means [r, 6]."""
    import numpy as np
    from affectkit_plugins.metrics.mer2023_upstream import weighted

    counts = cells.reshape(-1, 2, 3)
    if convention == "published":
        counts = np.stack([counts[..., 0] + counts[..., 2], counts[..., 1]], -1)
    else:  # a third class without support: what is neither sign is never right
        counts = np.pad(counts, ((0, 0), (0, 1), (0, 0)))
    return weighted(counts)[:2]


def _numbers(cells: np.ndarray, convention: Convention) -> tuple[float | None, ...]:
    return tuple(number(f[0]) for f in _figures(cells[None], convention))


def _matrix(cells: np.ndarray, convention: Convention) -> dict[str, Any]:
    """The confusion matrix, rows truth; by the honest convention with a third column for what is neither sign."""
    counts = cells.reshape(2, 3).astype(int)
    if convention == "published":
        counts[:, 0] += counts[:, 2]
        counts = counts[:, :2]
    return {"confusion": counts.tolist(), "confusion_labels": ["negative", "positive"]}
