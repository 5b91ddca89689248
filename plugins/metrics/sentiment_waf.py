"""MER-UniBench's figure for data sets of sentiment: weighted F1 on its sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from affectkit_plugins.metrics._polarity import COLUMNS, PolarityMetric, Sentiments
from affectkit_plugins.metrics._wheels import ReadSettings

from affectkit.evaluation.clients import CachedClient
from affectkit.pieces import Piece, hookimpl


@dataclass(frozen=True)
class Settings(ReadSettings):
    """Weighted F1 and accuracy on the sign of sentiment (MER-UniBench; CMU-MOSI, CMU-MOSEI, CH-SIMS).

    Answers are the words positive, negative and neutral, numbers, or labels that sentiment is made of; truths are numbers.
    A truth of 0 is left out. By the published convention both sides are cut at > 0, so that a neutral or unreadable answer
    counts as negative; by the honest one it is wrong. Results give both.
    """

    task: str = "sentiment"
    """The task whose answers are scored; `open_labels` where sentiment is to be made of labels."""
    truth: str = "sentiment"
    """The task whose true text holds the sentiment, a number or a word."""
    convention: Literal["published", "honest"] = "published"
    """What a neutral or unreadable answer counts as: negative, as published, or wrong."""
    sentiment: Literal["auto", "word", "lexicon", "client"] = "auto"
    """Where an answer's sentiment comes from: it is a word or number of it; our small lexicon makes it of labels; a model
    does, as published; auto: what most answers are, words or labels, these by the model where `read` is client."""

    def columns(self) -> tuple[str, ...]:
        """The columns of sentiment in files."""
        return (*COLUMNS, *self.free())

    def wants_client(self) -> bool:
        """Whether a model extracts labels, or judges their sentiment."""
        return "client" in (self.read, self.sentiment)


def build(settings: Settings, client: CachedClient | None = None) -> PolarityMetric:
    """The metric; `client` reads free text and makes sentiment of labels where the settings say so."""
    return PolarityMetric(Sentiments(settings.sentiment, settings.reader(client)), settings.convention)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "sentiment_waf", Settings, build)]
