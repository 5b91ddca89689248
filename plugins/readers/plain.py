"""Answers as they stand: a label, a list of labels, or ratings, with nothing around them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from affectkit.pieces import Piece, hookimpl
from affectkit.reading import Reader, Reading, is_refusal, read_plain
from affectkit.sample import Targets

from ._lists import read_labels
from ._ratings import read_ratings


@dataclass(frozen=True)
class Settings:
    """The whole answer is the label, the list of labels, or the ratings: case, width and marks around do not count.

    `unhappy` and `not happy` are no `happy`, and a sentence is no label. Lists may have commas, lines, numbers or brackets;
    ratings stand beside their names, in JSON, or alone in the order in which they were asked.
    """

    def examples(self, targets: Targets) -> Iterator[tuple[str, Reading]]:
        """Answers in this form, and what they say."""
        if targets.labels:
            first, last = targets.labels[0], targets.labels[-1]
            yield f"**{first.upper()}**.", Reading(first, (first,))
            yield f"{last}, {first}", Reading(None, (last, first))
        if targets.numbers:
            values = dict.fromkeys(targets.numbers, 0.25)
            yield ", ".join(f"{name} {value}" for name, value in values.items()), Reading(numbers=values)


def build(settings: Settings) -> Reader:
    """The reader."""
    return read


def read(text: str, targets: Targets) -> Reading:
    """What an answer says of these targets."""
    label = read_plain(text, targets.labels).label if targets.labels else None
    labels = (label,) if label is not None else read_labels(text, targets.labels)
    numbers, error = read_ratings(text, targets.numbers) if targets.numbers else ({}, "")
    known = not set(labels).isdisjoint(targets.labels)
    if not known and not numbers and is_refusal(text):
        return Reading(refused=True)
    return Reading(label, labels if known or not numbers else (), numbers, error="" if known else error)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("reader", "plain", Settings, build)]
