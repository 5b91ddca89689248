"""Sentiment from labels: a small lexicon of our own, or a language model's second pass."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

VALUES = {"positive": 1, "negative": -1, "neutral": 0}
LEXICON = "affectkit's own small lexicon of polarity: NOT comparable with published figures"
_TEMPLATES = Path(__file__).parent / "templates"
_TURNS = {"not", "no", "never", "without", "less", "lack", "lacking", "non"}
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


@functools.cache
def _lexicon() -> dict[str, int]:
    """A word to 1, -1 or 0, as we see it (`templates/positive.txt` and its like). Other words say nothing."""
    texts = {(_TEMPLATES / f"{name}.txt").read_text(encoding="utf-8"): value for name, value in VALUES.items()}
    return {word: value for text, value in texts.items() for word in text.split()}


def polarity(label: str) -> int | None:
    """1, -1 or 0 for a label by our lexicon, None where it has no word of it; `not happy` is the contrary of happy."""
    words, lexicon = _WORD.findall(label.lower()), _lexicon()
    whole = lexicon.get("-".join(words))
    if whole is not None:
        return whole
    sign, found = 1, []
    for word in words:
        if word in _TURNS:
            sign = -1
        elif word in lexicon:
            found.append(sign * lexicon[word])
            sign = 1
    return None if not found else (sum(found) > 0) - (sum(found) < 0)


def of_labels(labels: Sequence[str]) -> str | None:
    """`positive`, `negative` or `neutral` by our lexicon: the sign of the sum of the labels' polarities, neutral where they
    balance; None where it knows none of them."""
    known = [p for p in map(polarity, labels) if p is not None]
    total = sum(known)
    return ("positive" if total > 0 else "negative" if total < 0 else "neutral") if known else None
