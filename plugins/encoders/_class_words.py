"""From the words of a published classifier to ours: bands of age, spelling. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import inf

from affectkit.errors import Problem

_NUMBERS = (
    (re.compile(r"(\d+)\s*(?:-|–|to)\s*(\d+)"), lambda m: (int(m[1]), int(m[2]))),
    (re.compile(r"(\d+)\s*\+|(?:more than|over|above)\s*(\d+)"), lambda m: (int(m[1] or m[2]), inf)),
    (re.compile(r"(\d+)"), lambda m: (int(m[1]), int(m[1]))),
)


def band(word: str) -> tuple[int, float] | None:
    """The least and the largest age that a word such as `20-29`, `70+` or `more than 70` stands for."""
    for pattern, read in _NUMBERS:
        if match := pattern.fullmatch(word.strip().lower()):
            return read(match)
    return None


def placed(theirs: str, ours: Sequence[str], own: Mapping[str, str]) -> int | None:
    """The index of our word for theirs: as `own` says, the same but for capitals, or the band that holds theirs."""
    said = own.get(theirs, theirs).strip().lower()
    words = [word.lower() for word in ours]
    if said in words:
        return words.index(said)
    inner = band(said)
    for index, word in enumerate(words):
        outer = band(word)
        if inner and outer and outer[0] <= inner[0] and inner[1] <= outer[1]:
            return index
    return None


def columns(
    theirs: Sequence[str], ours: Sequence[str], own: Mapping[str, str], field: str
) -> tuple[list[int], list[Problem]]:
    """For each class of theirs the index of our word, and what is wrong: classes that are none of our words."""
    found = [placed(word, ours, own) for word in theirs]
    lost = [repr(word) for word, place in zip(theirs, found, strict=True) if place is None]
    if not lost:
        return [place for place in found if place is not None], []
    what = f"the classifier's {', '.join(lost)} are none of our words"
    return [], [Problem(field, what, f"say which ones they are: {field}: {{{lost[0]}: …}}", tuple(ours))]
