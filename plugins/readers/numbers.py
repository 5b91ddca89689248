"""Ratings in words: beside their names, in JSON, or alone in the order in which they were asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from affectkit.pieces import Piece, hookimpl
from affectkit.reading import Reader, Reading, is_refusal
from affectkit.sample import Targets

from ._ratings import read_ratings


@dataclass(frozen=True)
class Settings:
    """Numbers for the ratings that are asked, and no labels: `valence 3.2, arousal: 2.9`, `{"valence": 3.2}`, `3.2 / 2.9`.

    Decimal commas and words for units (`3,2 points`, `3 out of 5`) are read; two numbers for one rating, ranges and number
    words are not. What cannot be read is told, and is never taken for 0.
    """

    unnamed: bool = True
    """Whether numbers without names count, as many as are asked and in that order."""

    def examples(self, targets: Targets) -> Iterator[tuple[str, Reading]]:
        """Answers in this form, and what they say."""
        values = dict.fromkeys(targets.numbers, 0.25)
        if values:
            yield "; ".join(f"{name.upper()} = 0,25" for name in values), Reading(numbers=values)
            yield " / ".join("0.25" for _ in values), Reading(numbers=values if self.unnamed else {})


def build(settings: Settings) -> Reader:
    """The reader."""

    def read(text: str, targets: Targets) -> Reading:
        numbers, error = read_ratings(text, targets.numbers, settings.unnamed)
        if not numbers and is_refusal(text):
            return Reading(refused=True)
        return Reading(numbers=numbers, error=error)

    return read


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("reader", "numbers", Settings, build)]
