"""The bias of runs on data sets: gaps of every cell and over a row, from the answers that are there.

Nothing is asked again for it; what becomes of answers when people are told of otherwise is for `evaluate --bias`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from affectkit.bias import FIELDS, Estimates, Known, group_figures, known
from affectkit.bias_sets import OfSet, over_sets
from affectkit.cross_cells import Kept
from affectkit.sample import Fact, Sample


def people(kept: Kept, samples: Sequence[Sample], estimate: Callable[[], Estimates] | None) -> Known:
    """Who is in a cell: labels, and for fields without any what the run's steps estimate (None: it has no such steps), which
    is kept beside the answers."""
    labelled = known(samples, {})
    if estimate is None or all(field in labelled.words for field in FIELDS):
        return labelled
    words = kept.estimates()
    if words is None:
        words = {
            i: {n: str(f.value) for n, f in facts.items() if f.origin == "estimate" and not f.per_frame}
            for i, facts in estimate().items()
        }
        kept.note_estimates(words)
    return known(
        samples, {i: {name: Fact(word, "estimate") for name, word in facts.items()} for i, facts in words.items()}
    )


def of_row(cells: Mapping[str, OfSet], columns: Sequence[str]) -> dict[str, Any]:
    """`sets` (groups of each data set), `over` all of them, and `without`, those that have no figure."""
    return {
        "sets": {name: group_figures(one.answers, one.people, one.how) for name, one in cells.items()},
        "over": over_sets(cells),
        "without": {name: "has no figure" for name in columns if name not in cells},
    }
