"""Several labels in words, in any usual writing of a list."""

from __future__ import annotations

import re
from collections.abc import Sequence

from affectkit.reading import is_like_a_label, read_plain
from affectkit.tables import parse_json

SEPARATOR = re.compile(r"\s*(?:[,;|/、，；\n]\s*(?:(?:and|&)\s)?|\s(?:and|AND|[&+])\s|和|及|与|與)\s*")
"""What stands between labels. Where a label of the set holds one, the longest label counts."""
POINT = re.compile(r"^\s*(?:[-*•·]|\(?\d+[.)])\s+")
"""What stands before a label in a list of points."""
FENCE = re.compile(r"^```\w*\n|\n?```$")
MARKS = " \t\"'“”‘’`*_[](){}<>.。!！:："
MOST = 200
"""Parts of a list; more are no answer."""


def read_labels(text: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels that a text lists, each once: those of the set, and others as they are written.

    Empty where a part of it is neither, so that a sentence is no list.
    """
    if not labels:
        return ()
    bare = re.sub(r"[^\S\n]+", " ", FENCE.sub("", text.strip()).strip())  # long runs of blanks would cost their square
    parts, joins = _json_list(bare), [""]
    if parts is None:
        lines = [POINT.sub("", line) for line in bare.split("\n") if line.strip()]
        pieces = re.split(f"({SEPARATOR.pattern})", "\n".join(lines))
        parts, joins = pieces[::2], [*pieces[1::2], ""]
    if len(parts) > MOST:
        return ()
    widest = 1 + max(len(SEPARATOR.findall(label)) for label in labels)
    found: list[str] = []
    i = 0
    while i < len(parts):
        name, used = _longest(parts, joins, i, widest, labels)
        i += used
        if name is None:
            return ()
        found += [name] if name else []
    return tuple(dict.fromkeys(found))


def _longest(
    parts: Sequence[str], joins: Sequence[str], start: int, widest: int, labels: Sequence[str]
) -> tuple[str | None, int]:
    """The label that begins with a part and takes in the most, and how many parts that are; None for what is no label."""
    for used in range(min(widest, len(parts) - start), 0, -1):
        said = "".join(parts[k] + (joins[k] if k < start + used - 1 else "") for k in range(start, start + used))
        label = read_plain(said, labels).label
        if label is not None:
            return label, used
    bare = parts[start].strip(MARKS)
    if not any(sign.isalnum() for sign in bare):
        return "", 1
    return (bare if is_like_a_label(bare, labels) else None), 1


def _json_list(text: str) -> list[str] | None:
    """The texts of a JSON list, or of the one list in an object, or the keys of an object that are true; else None."""
    if text[:1] not in ("[", "{"):
        return None
    try:
        value = parse_json(text)
    except ValueError:
        return None
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list)]
        told = all(v in (0, 1) for v in value.values() if not isinstance(v, list))
        value = lists[0] if len(lists) == 1 else [k for k, v in value.items() if v] if told and not lists else None
    return value if isinstance(value, list) and all(isinstance(v, str) for v in value) else None
