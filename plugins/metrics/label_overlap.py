"""EMER: how far the emotions that an answer names overlap with those of the reference, as a judge sees it."""

from __future__ import annotations

from dataclasses import dataclass

from affectkit_plugins.metrics._judge import JudgeContext, JudgeMetric, JudgeSettings, emotions

from affectkit.evaluation.clients import CachedClient
from affectkit.pieces import Piece, hookimpl


@dataclass(frozen=True)
class Settings(JudgeSettings):
    """Label overlap (EMER; Lian et al. 2023): an LLM lists the emotions in answer and reference and compares the lists.

    Three questions a sample: two lists, one score from 1 to 10. The reference's list is asked for once and kept, so that
    all systems are held against the same one (the published code asks anew for each). As for clue overlap, the wording is
    ours and the reading strict: compare systems under one judge only.
    """


def build(settings: Settings, client: CachedClient | None = None) -> JudgeMetric:
    """The metric; `client` is the judge."""
    return JudgeMetric(settings, client, verdict, "label overlap")


def verdict(bench: JudgeContext, reference: str, answer: str) -> int | None:
    """The judge's score for one pair of texts; None where one of the three replies could not be used."""
    lists = {}
    for name, text in (("reference", reference), ("answer", answer)):
        found = bench.read(bench.words.list_labels, {"text": text}, emotions)
        if found is None:
            return None
        lists[name] = list(found)
    score: int | None = bench.read(bench.words.labels, lists, bench.score)
    return score


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("metric", "label_overlap", Settings, build)]
