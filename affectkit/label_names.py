"""Which labels of two data sets mean the same, by name. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

FAMILIES = (
    ("neutral", "neutrality", "none", "calm", "no emotion"),
    ("happy", "happiness", "joy", "joyful"),
    ("sad", "sadness"),
    ("angry", "anger"),
    ("fear", "fearful", "afraid", "scared"),
    ("surprise", "surprised"),
    ("disgust", "disgusted"),
    ("contempt", "contemptuous"),
    ("worried", "worry"),
    ("anxiety", "anxious"),
    ("helplessness", "helpless"),
    ("disappointment", "disappointed"),
    ("frustration", "frustrated"),
    ("excitement", "excited"),
)
"""Names that data sets of expressions have for one class. Nothing else is taken for the same: fear is not worry."""
_HEADS = {name: family[0] for family in FAMILIES for name in family}


def key(label: str) -> str:
    """What labels that mean the same have in common: case, blanks and the form of the word are not it."""
    plain = re.sub(r"[\s_\-]+", " ", label.strip().casefold())
    return _HEADS.get(plain, plain)


def mapped(theirs: Sequence[str], ours: Sequence[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Their label to ours, for those that have one: as `given` says, else the same word, else one that means the same.

    Where several of ours mean the same, the first counts. A label that `given` maps to the empty string has none.
    """
    alike = {key(label): label for label in reversed(ours)}
    found = {}
    for label in theirs:
        if given and label in given:
            choice = given[label] if given[label] in ours else ""
        else:
            choice = label if label in ours else alike.get(key(label), "")
        if choice:
            found[label] = choice
    return found
