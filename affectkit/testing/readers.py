"""The promises of readers. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from affectkit.reading import Reading
from affectkit.sample import Targets
from affectkit.testing.record import Built

LABELS = ("happy", "sad", "neutral")
TARGETS = Targets(LABELS, {"valence": (-1.0, 1.0), "arousal": (-1.0, 1.0)})
ASKED = (TARGETS, Targets(LABELS), Targets(numbers=TARGETS.numbers), Targets())
EMPTY = ("", "   \n", "…!?", "</>", "[]", "{}")
"""Answers that say nothing."""
WORDLESS = (
    "The clip shows a street.",
    "I am sorry, but I cannot tell.",
    "It is the one in the middle, as far as one sees.",
)
"""Answers with words, of which none is a label or says how much."""
ODD = (
    "The clip shows a street.", "[[[{\"a\": ", "<answer>", "valence", "valence NaN, arousal inf", "1e999 / -1e999", "９" * 5000,
    "sad " * 3000, "I am sorry, but I cannot tell.", "\N{ZERO WIDTH SPACE}sad\0", "null", "valence - arousal -",
    "sad" + " " * 20_000 + "|", "\n" * 5000 + "valence",
)  # fmt: skip
"""Answers of any kind, as models give them."""


def texts(built: Built) -> list[tuple[str, Targets]]:
    """Answers to read, with what was asked: empty ones, odd ones, and the reader's own examples."""
    own = [text for text, _, _ in _examples(built)]
    return [(text, targets) for text in (*EMPTY, *ODD, *own) for targets in ASKED]


def _examples(built: Built) -> list[tuple[str, Reading, Targets]]:
    """The reader's own examples, for labels and for numbers: the answer, what it says, what was asked."""
    show = getattr(built.settings, "examples", None)
    asked = ASKED[1:3] if show else ()
    return [(text, reading, targets) for targets in asked for text, reading in show(targets)]  # type: ignore[misc]


def reads_anything(built: Built) -> Iterator[str]:
    """A Reading of every text: whatever was asked, nothing is raised."""
    for text, targets in texts(built):
        try:
            found = built.made(text, targets)
        except Exception as error:
            yield f"{text[:40]!r}: {type(error).__name__}: {error}"
            return
        if not isinstance(found, Reading):
            yield f"{text[:40]!r}: returned {found!r}, not a Reading"
            return


def reads_what_was_asked(built: Built) -> Iterator[str]:
    """What is read was asked: a label of the set as it is written there, each listed label once, finite numbers by name."""
    for text, targets in texts(built):
        found, seen = built.made(text, targets), f"{text[:40]!r} (asked: {targets})"
        if found.label is not None and found.label not in targets.labels:
            yield f"{seen}: the label {found.label!r} is not of the set"
        elif not isinstance(found.labels, tuple) or len(set(found.labels)) < len(found.labels):
            yield f"{seen}: the labels {found.labels!r} are no tuple of different labels"
        elif set(found.numbers) - set(targets.numbers):
            yield f"{seen}: nobody asked for {min(set(found.numbers) - set(targets.numbers))!r}"
        elif not all(isinstance(v, float) and math.isfinite(v) for v in found.numbers.values()):
            yield f"{seen}: the numbers {dict(found.numbers)} are not all finite floats"
        else:
            continue
        return


def reads_nothing_of_nothing(built: Built) -> Iterator[str]:
    """Nothing is read from an answer that says nothing: no label, and no number, not even 0; nor a number from a label alone."""
    for text, targets in ((text, targets) for text in (*EMPTY, *WORDLESS) for targets in ASKED):
        found = built.made(text, targets)
        if found.label is not None or found.labels or found.numbers:
            yield f"{text!r} is read as {found}"
            return
    for text, _, targets in _examples(built):
        found = built.made(text, TARGETS)
        if targets.labels and not re.search(r"\d", text) and found.numbers:
            yield f"{text[:60]!r} is read as {found}"
            return


def reads_examples(built: Built) -> Iterator[str]:
    """It reads its own examples: `examples(targets)` of its settings shows answers with what they say."""
    shown = _examples(built)
    if not any(r.label is not None or r.labels or r.numbers for _, r, _ in shown):
        yield "its settings have no method `examples(targets)` that yields an answer with a label, labels or numbers"
    for text, wanted, targets in shown:
        found = built.made(text, targets)
        if found != wanted:
            yield f"{text[:60]!r} is read as {found}, not as {wanted}"
            return


def reads_whole_words(built: Built) -> Iterator[str]:
    """A word that merely contains a label is not that label: `unhappy` is no `happy`."""
    for text, wanted, targets in _examples(built):
        for label in (label for label in targets.labels if label in (wanted.label, *wanted.labels)):
            other = re.sub(re.escape(label), _un, text, flags=re.IGNORECASE)
            found = built.made(other, targets)
            if other != text and label in (found.label, *found.labels):
                yield f"{other[:60]!r} is read as {found}"
                return


def _un(word: re.Match[str]) -> str:
    """Another word, which ends in this one."""
    return ("UN" if word[0].isupper() else "un") + word[0]


def reads_alike(built: Built) -> Iterator[str]:
    """Pure: the same twice, whatever was read between and in whatever order the labels stand."""
    asked = texts(built)
    once = [built.made(text, targets) for text, targets in asked]
    again = [built.made(text, replace(t, labels=t.labels[::-1])) for text, t in reversed(asked)][::-1]
    for (text, _), one, two in zip(asked, once, again, strict=True):
        if one != two:
            yield f"{text[:40]!r} is read as {one}, then as {two}"
            return


PROMISES = (
    reads_anything,
    reads_what_was_asked,
    reads_nothing_of_nothing,
    reads_examples,
    reads_whole_words,
    reads_alike,
)
KITS = {"reader": (Built, PROMISES)}
