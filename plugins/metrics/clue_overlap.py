"""EMER: how far the clues in an answer overlap with those in the reference, as a judge sees it."""

from __future__ import annotations

from dataclasses import dataclass

from affectkit_plugins.metrics._judge import JudgeContext, JudgeMetric, JudgeSettings

from affectkit.evaluation.clients import CachedClient
from affectkit.pieces import Piece, hookimpl


@dataclass(frozen=True)
class Settings(JudgeSettings):
    """Clue overlap (EMER; Lian et al. 2023): an LLM compares the emotional clues in answer and reference, 1 to 10.

    One question a sample. The wording of the questions is ours, the reading of replies strict: an unusable one is asked
    for again, then counted and left out. Published figures come from a judge that is withdrawn (gpt-3.5-turbo-16k-0613),
    from Chinese questions, and from the first number in the reply: compare systems under one judge only.
    """


def build(settings: Settings, client: CachedClient | None = None) -> JudgeMetric:
    """The metric; `client` is the judge."""
    return JudgeMetric(settings, client, verdict, "clue overlap")


def verdict(bench: JudgeContext, reference: str, answer: str) -> int | None:
    """The judge's score for one pair of texts."""
    score: int | None = bench.read(bench.words.clues, {"reference": reference, "answer": answer}, bench.score)
    return score


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "clue_overlap", Settings, build)]
