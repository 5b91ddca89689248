"""FERPlus' rules: from the votes of ten people on a face to a distribution over its expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Rule = Literal["majority", "probability", "multi_target", "most_votes"]
EMOTIONS = 8
"""The first columns; behind them stand `unknown` and `no face`."""


def distribution(votes: Sequence[int], rule: Rule) -> tuple[float, ...] | None:
    """Shares of the eight expressions by one of the published rules, or None where the picture is left out.

    `votes` are ten counts, the last two of them unknown and no face. A single vote for something counts as a slip and is
    dropped first. Source: Barsoum et al. 2016, as the authors' code counts. `most_votes` is the usual shortcut: the
    expressions' votes as they are.
    """
    if rule == "most_votes":
        return _shares(votes)
    kept = RULES[rule]([n if n > 1 else 0 for n in votes])
    if kept is None or max(kept[EMOTIONS:]) > max(kept[:EMOTIONS]):
        return None
    return _shares(kept)


def _shares(votes: Sequence[float]) -> tuple[float, ...] | None:
    whole = sum(votes[:EMOTIONS])
    return tuple(n / whole for n in votes[:EMOTIONS]) if whole else None


def _majority(votes: list[int]) -> list[int] | None:
    """The expression with more than half of the votes."""
    top = max(votes)
    return [n if n == top else 0 for n in votes] if 2 * top > sum(votes) else None


def _probability(votes: list[int]) -> list[int] | None:
    """The strongest expressions until three quarters of the votes are told, three expressions at most."""
    left, kept = list(votes), [0] * len(votes)
    told = count = 0
    stopped = False
    while told < 0.75 * sum(votes) and count < 3 and not stopped:
        top = max(left)
        for i in [i for i, n in enumerate(left) if n == top]:
            left[i] = 0
            told += top
            if i < EMOTIONS or not any(kept):
                kept[i] = top
                count += 1
            if i >= EMOTIONS:  # unknown or no face ends it; behind an expression it is not kept
                stopped = True
                break
    return kept if 2 * sum(kept) > sum(votes) and count <= 3 else None


def _multi_target(votes: list[int]) -> list[int] | None:
    """Every expression with three tenths of the votes or more."""
    kept = [n if n >= 0.3 * sum(votes) else 0 for n in votes]
    return kept if 2 * sum(kept) > sum(votes) else None


RULES = {"majority": _majority, "probability": _probability, "multi_target": _multi_target}
