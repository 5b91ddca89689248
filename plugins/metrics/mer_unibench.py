"""MER-UniBench: each data set's primary figure, by what its truths are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.metrics._hits import HitMetric
from affectkit_plugins.metrics._polarity import COLUMNS as SENTIMENT
from affectkit_plugins.metrics._polarity import PolarityMetric, Sentiments, as_value
from affectkit_plugins.metrics._sets import SetMetric
from affectkit_plugins.metrics._wheels import COLUMNS, WheelSettings

from affectkit.evaluation.clients import CachedClient
from affectkit.evaluation.prediction import Metric, Prediction
from affectkit.labels.sentiment import VALUES
from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import numpy as np

Sort = Literal["open", "basic", "sentiment"]


@dataclass(frozen=True)
class Settings(WheelSettings):
    """MER-UniBench's primary figure of one data set (Lian et al. 2025): set F, hit rate, or weighted F1 on sentiment's sign.

    Set F, the mean over the five wheels' inner rings, where truths are lists of labels (OV-MERD+); the hit rate where they
    are single labels (MER2023, MER2024, MELD, IEMOCAP); weighted F1 where they are numbers (CMU-MOSI, CMU-MOSEI, CH-SIMS).
    """

    truths: Literal["auto", "open", "basic", "sentiment"] = "auto"
    """What the truths are; auto: numbers are sentiment, lists (in brackets, or with commas) open labels, anything else
    single labels."""
    guarded: bool = True
    """F is 0 where precision and recall are, and on a wheel that knows no truth; false: it has no value then, as in the
    published code."""
    convention: Literal["published", "honest"] = "published"
    """For sentiment, what a neutral or unreadable answer counts as: negative, as published, or wrong."""
    sentiment: Literal["auto", "word", "lexicon", "client"] = "auto"
    """Where an answer's sentiment comes from: it is a word or number of it; our small lexicon makes it of labels; a model
    does, as published; auto: what most answers are, words or labels, these by the model where `read` is client."""

    def compares(self) -> tuple[str, ...]:
        """What answers are held against: by what the truths are, the first that a sample has."""
        if self.truth:
            return (self.truth,)
        by_sort = {"open": (self.task,), "sentiment": ("sentiment",), "basic": ("label",)}
        return by_sort.get(self.truths, (self.task, "sentiment", "label"))

    def wants_client(self) -> bool:
        """Whether a model extracts labels, or judges their sentiment."""
        return "client" in (self.read, self.sentiment)

    def columns(self) -> tuple[str, ...]:
        """Where files hold labels, or sentiment where there are none."""
        return tuple(dict.fromkeys((*COLUMNS[:6], *SENTIMENT[:3], *COLUMNS[6:], *self.free())))


class Primary:
    """Sends predictions to the metric of their sort."""

    def __init__(self, settings: Settings, client: CachedClient | None) -> None:
        wheels = settings.mapper("L1", client)
        sentiments = Sentiments(settings.sentiment, wheels.reader)
        rings = "mean {} of the wheels' inner rings (MER-UniBench, {})"
        self.settings = settings
        self.metrics: dict[Sort, Metric] = {
            "open": SetMetric(wheels, settings.guarded, rings.format("F", "open labels")),
            "basic": HitMetric(wheels, False, rings.format("hit rate", "basic emotions")),
            "sentiment": PolarityMetric(sentiments, settings.convention),
        }

    def sort(self, predictions: Sequence[Prediction]) -> Sort:
        """What the truths of predictions are."""
        if self.settings.truths != "auto":
            return self.settings.truths
        texts = [(p.truth or "").strip() for p in predictions]
        if any(t.startswith("[") or "," in t for t in texts):
            return "open"
        numbers = bool(texts) and all(t not in VALUES and as_value(t) is not None for t in texts)
        return "sentiment" if numbers else "basic"

    def __call__(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
        """The figures of the metric that serves, and `truths`: which one."""
        sort = self.sort(predictions)
        return {**self.metrics[sort](predictions, labels), "truths": sort}

    def per_sample(self, predictions: Sequence[Prediction], labels: Sequence[str]) -> np.ndarray:
        """float64 [n, m] of the metric that serves."""
        import numpy as np

        sort = self.sort(predictions)
        rows: np.ndarray = self.metrics[sort].per_sample(predictions, labels)  # type: ignore[attr-defined]
        # The sort goes with the rows: `from_means` sees nothing else.
        return np.hstack([rows, np.full((len(rows), 1), float(list(self.metrics).index(sort)))])

    def from_means(self, means: np.ndarray) -> np.ndarray:
        """The value [r] of means [r, m + 1]."""
        sort: Sort = list(self.metrics)[round(float(means[0, -1]))]
        values: np.ndarray = self.metrics[sort].from_means(means[:, :-1])  # type: ignore[attr-defined]
        return values


def build(settings: Settings, client: CachedClient | None = None) -> Primary:
    """The metric; `client` reads free text where the settings say so. Raises InputError for a folder without the tables."""
    return Primary(settings, client)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "mer_unibench", Settings, build)]
