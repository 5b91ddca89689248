"""The question for ratings by name, such as valence and arousal, and its answer: a number for each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from affectkit_plugins._values import at_least
from affectkit_plugins.prompts._words import fill, said

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, hookimpl
from affectkit.prompt import Ask, PromptPiece, Segment
from affectkit.sample import Sample

Scales = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Settings:
    """A question for ratings, whose names and scales it says; the trained answer gives each with the same decimals.

    The answer is trained where a sample has all of these ratings: one that leaves some out would teach to leave them out.
    The wording is ours.
    """

    numbers: dict[str, tuple[float, ...]]
    """The ratings to ask for, in this order, each with the ends of its scale (`{valence: [1, 5]}`; `[]` for none). Where the
    data block says them, `${data.numbers}` repeats it."""
    wording: str = "Rate what this person feels: {scales}. Answer with the name and the number of each."
    """The question, with {scales} where names and scales go, or {names} for the names alone (it may do without)."""
    scale: str = "{name} from {low} to {high}"
    """How the question says a rating and its scale; one that has no ends is its name alone."""
    answer: str = "{name} {value}"
    """How the answer says a rating, with {name} and {value} where they go."""
    separator: str = ", "
    """What stands between ratings, in the question and in the answer."""
    decimals: int = 2
    """Decimals of the answer's numbers."""
    task: str = "numbers"
    """The task that it asks for."""

    def problems(self) -> list[tuple[str, str]]:
        found = [] if "{value}" in self.answer else [("answer", "must have {value} where the number goes")]
        found += at_least(self, 0, "decimals")
        found += [] if self.numbers else [("numbers", "names no rating to ask for")]
        found += [] if self.decimals <= MOST else [("decimals", f"must be at most {MOST}, got {self.decimals}")]
        return found + [
            ("numbers", f"the scale of {name!r} is [lowest, highest], or [] for none, got {list(ends)}")
            for name, ends in self.numbers.items()
            if ends and not (len(ends) == 2 and ends[0] < ends[1])
        ]

    def scales(self) -> Scales:
        """The ratings that it asks for, each with the ends of its scale."""
        return {n: (pair[0], pair[1]) if pair else (-math.inf, math.inf) for n, pair in self.numbers.items()}


MOST = 6
"""Decimals that nobody's ratings have."""


def build(settings: Settings) -> PromptPiece:
    """Question and answer. Raises InputError for a rating outside its scale that is trained."""
    scales = settings.scales()
    names = settings.separator.join(scales)
    words = settings.separator.join(_scale(settings.scale, name, *ends) for name, ends in scales.items())
    question = said(fill(settings.wording, names=names, scales=words))

    def numbers_question(sample: Sample, ask: Ask) -> tuple[Segment, ...]:
        if ask.task != settings.task:
            return ()
        if not scales.keys() <= sample.numbers.keys():
            return question
        if ask.phase == "train":
            _check(sample, scales)
        values = {name: _value(sample.numbers[name], settings.decimals) for name in scales}
        said_of = (fill(settings.answer, name=name, value=value).text for name, value in values.items())
        return (*question, Segment(settings.separator.join(said_of), trained=True))

    return numbers_question


def _scale(wording: str, name: str, low: float, high: float) -> str:
    if math.isinf(low) or math.isinf(high):
        return name
    return fill(wording, name=name, low=f"{low:g}", high=f"{high:g}").text


def _value(number: float, decimals: int) -> str:
    """A number with so many decimals; what rounds to nothing has no sign."""
    text = f"{number:.{decimals}f}"
    return text if float(text) else text.removeprefix("-")


def _check(sample: Sample, scales: Scales) -> None:
    """Raises InputError for a rating that the question says cannot be."""
    wrong = [(n, v, ends) for n, ends in scales.items() if not ends[0] <= (v := sample.numbers[n]) <= ends[1]]
    if wrong:
        raise InputError(
            [
                Problem(f"sample {sample.id}", f"its {name} {v:g} is outside the scale that is asked, {low:g} to {high:g}",
                        "let `numbers` of the numbers question have the ends of the data's scale")
                for name, v, (low, high) in wrong
            ]
        )  # fmt: skip


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny = {"numbers": {"valence": [-1, 1], "arousal": [-1, 1]}}
    return [Piece("prompt", "numbers_question", Settings, build, tiny=tiny)]
