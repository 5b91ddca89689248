"""Weighted F1 on the sign of sentiment, as MER-UniBench computes it and without its conventions. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.metrics._wheels import number, text_of

from affectkit.errors import InputError, Problem
from affectkit.evaluation.prediction import Prediction
from affectkit.labels.extraction import LabelReader, lower
from affectkit.labels.sentiment import LEXICON, VALUES, of_labels

if TYPE_CHECKING:
    import numpy as np

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


def to_read(predictions: Sequence[Prediction]) -> list[str]:
    """The answers that are no word or number of sentiment."""
    return [text for text in map(text_of, predictions) if as_value(text) is None]


def true_value(prediction: Prediction) -> float | None:
    """The true sentiment of a sample; None where it is neither a number nor a word of sentiment."""
    return as_value(prediction.truth or "")


class Sentiments:
    """The sentiment of answers: they are words of it, or labels that a lexicon or a model makes it of."""

    def __init__(self, way: Way, reader: LabelReader) -> None:
        self.way, self.reader = way, reader
        self._known: dict[tuple[str, ...], str | None] = {}

    def chosen(self, predictions: Sequence[Prediction]) -> str:
        """How answers are read. `auto` goes by the more: words where at least as many answers are one as hold labels (so
        that files of words are read as published), else labels."""
        if self.way != "auto":
            return self.way
        words, labelled = self._sorts(predictions)
        if words >= labelled:
            return "word"
        return "client" if self.reader.how == "client" and self.reader.extractor is not None else "lexicon"

    def note(self, predictions: Sequence[Prediction]) -> str:
        """What `auto` made of the fewer, where answers are of both sorts; empty where they are of one."""
        words, labelled = self._sorts(predictions)
        if self.way != "auto" or not words or not labelled:
            return ""
        if self.chosen(predictions) == "word":
            return f"answers of two sorts: {words} are words of sentiment; {labelled} hold labels and are not read"
        return f"answers of two sorts: {labelled} hold labels; {words} are words of sentiment and stay as they are"

    def values(self, predictions: Sequence[Prediction]) -> list[float | None]:
        """The sentiment of each answer; None where none can be read. A word of sentiment stays one among labels."""
        way, found = self.chosen(predictions), [as_value(text_of(p)) for p in predictions]
        if way == "word":
            return found
        texts = to_read(predictions)
        read = dict(zip(texts, self.reader.read(texts), strict=True))
        labels = [
            () if v is not None else lower(read[text_of(p)].labels) for v, p in zip(found, predictions, strict=True)
        ]
        made = {ls: of_labels(ls) for ls in labels} if way == "lexicon" else self._asked(labels)
        return [as_value(made.get(ls) or "") if v is None else v for v, ls in zip(found, labels, strict=True)]

    def _sorts(self, predictions: Sequence[Prediction]) -> tuple[int, int]:
        """How many answers are words of sentiment, and how many hold labels (for a model: any text)."""
        others = [text for text in to_read(predictions) if text.strip()]
        words = sum(as_value(text_of(p)) is not None for p in predictions)
        if self.reader.how == "client":
            return words, len(others)
        return words, sum(r.how in ("list", "sentence") for r in self.reader.read(others))

    def _asked(self, labels: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], str | None]:
        """What a model says of each list of labels; it is asked once for each."""
        fresh = [ls for ls in dict.fromkeys(labels) if ls and ls not in self._known]
        model = self.reader.extractor
        if fresh and model is None:
            fix = "give it a client: client.use=openai_compatible client.model=NAME client.url=URL"
            raise InputError(Problem("sentiment of labels", "there is no model to ask", fix))
        if fresh and model is not None:
            jobs = [lambda ls=ls: model.sentiment(ls) for ls in fresh]
            self._known |= dict(zip(fresh, model.client.read_all(jobs, "asking for sentiment"), strict=True))
        return self._known


@dataclass(frozen=True)
class PolarityMetric:
    """See `affectkit.evaluation.prediction.Metric`."""

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
        way, note = self.sentiments.chosen(predictions), self.sentiments.note(predictions)
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
            "read": self._summary(predictions, way),
            "protocol": "weighted F1 on the sign of sentiment (MER-UniBench): clips whose truth is 0 are left out, "
            f"{CONVENTIONS[self.convention]}; {WAYS[way]}; {int(known.sum())} of {len(predictions)} clips used"
            + (f"; {note}" if note else "")
            + (f", {strange} have a truth that is neither a number nor a word of sentiment" if strange else ""),
        }

    def _summary(self, predictions: Sequence[Prediction], way: str) -> dict[str, Any]:
        """How answers were read."""
        reader = self.sentiments.reader
        told: dict[str, Any] = {"sentiment": way}
        if way != "word":
            told["labels"] = reader.summary(to_read(predictions))
        if way == "client" and reader.extractor is not None:
            told["model"] = reader.extractor.to_dict()
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
