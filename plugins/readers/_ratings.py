"""Numbers by name in words."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence

from affectkit.reading import MINUS
from affectkit.tables import parse_json

Scales = Mapping[str, tuple[float, float]]

EDGE = r"(?<![A-Za-z0-9_.,])"
DIGITS = r"(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?"
WITH_COMMA = rf"(?:\d+,\d+|{DIGITS})"
TAIL = r"(?![A-Za-z0-9_%]|[.,]\d)"
NUMBER = re.compile(rf"{EDGE}[+-]?{WITH_COMMA}{TAIL}")
"""A number with a decimal point or comma."""
NO_COMMA = re.compile(rf"(?<![A-Za-z0-9_.])[+-]?{DIGITS}(?![A-Za-z0-9_%]|\.\d)")
"""A number where commas stand between numbers."""
POINT = re.compile(r"^[^\S\n]*(?:[-*•]|\(?\d+[.)])\s+(?=[^\d\s])", re.M)
"""What stands before a rating in a list of points."""
UNITS = re.compile(r"\b(?:and|points?|pts?|units?|stars?)\b|[分点點점]", re.I)
"""Words beside numbers that stand alone: what else is said there makes them no answer."""
NOT = re.compile(r"\b(?:not|no|never|neither)\b|n['’]t\b|不", re.I)
MOST = 1e300
"""No rating is as large."""
FAR = 40
"""Signs that may stand between the name of a rating and its number."""


def read_ratings(text: str, scales: Scales, unnamed: bool = True) -> tuple[dict[str, float], str]:
    """The ratings that can be read, and what is wrong with the others in words (empty where all are read).

    With `unnamed` numbers alone count, in the order of `scales`.
    """
    plain = POINT.sub("", re.sub(r"[^\S\n]+", " ", unicodedata.normalize("NFKC", text).strip()))
    for sign in MINUS[1:]:
        plain = re.sub(rf"(?<!\d){sign}(?=[\d.])", "-", plain)
    plain = re.sub(r"(?<=\d)[–—](?=\d)", "-", re.sub(r"^```\w*|```$", "", plain).strip())
    held = _json(plain)
    if isinstance(held, dict):
        keys = {_folded(str(k)): v for k, v in held.items()}
        found = {name: [keys[_folded(name)]] for name in scales if _folded(name) in keys}
        return _settled(
            {name: [v for v in map(_value, values) if v is not None] for name, values in found.items()}, scales
        )
    if isinstance(held, list):
        values = [v for v in map(_value, held) if v is not None]
        whole = unnamed and len(values) == len(held) == len(scales)
        return _settled({n: [v] for n, v in zip(scales, values, strict=True)} if whole else {}, scales)
    bare = plain
    for ends in dict.fromkeys(scales.values()):
        bare = _without_scale(bare, *ends)
    names = _places(bare, scales)
    if names:
        return _settled(_named(bare, names), scales)
    alone = next((v for text in (plain, bare) if (v := _alone(text, len(scales)))), ()) if unnamed else ()
    return _settled({n: [v] for n, v in zip(scales, alone, strict=True)} if alone else {}, scales)


def _settled(found: Mapping[str, Sequence[float]], scales: Scales) -> tuple[dict[str, float], str]:
    """One value a rating; what is wrong with those that have none or several."""
    one = {name: {v for v in values if math.isfinite(v)} for name, values in found.items()}
    read = {name: next(iter(one[name])) for name in scales if len(one.get(name, ())) == 1}
    several = [name for name in one if len(one[name]) > 1]
    none = [name for name in scales if name not in read and name not in several]
    wrong = [f"no {' and no '.join(none)} can be read from the answer"] if none else []
    wrong += [f"the answer has several numbers for {' and for '.join(several)}"] if several else []
    return read, "; ".join(wrong)


def _json(text: str) -> object:
    try:
        return parse_json(text) if text[:1] in ("{", "[") else None
    except ValueError:
        return None


def _value(value: object) -> float | None:
    """A JSON value as a finite number."""
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        value = float(value.strip().replace(",", "."))
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MOST:
        return None
    return float(value)


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.casefold()).strip()


def _places(text: str, scales: Scales) -> list[tuple[int, int, str]]:
    """(start, end, rating) of each name in the text, in order. Short names are not looked for in other case: `A` is no `a`."""
    found = []
    for name in scales:
        letters = r"[\s_-]+".join(map(re.escape, re.split(r"[\s_-]+", name)))
        pattern = re.compile(rf"(?<![A-Za-z0-9_]){letters}(?![A-Za-z0-9_])", re.I if len(name) > 2 else 0)
        found += [(m.start(), m.end(), name) for m in pattern.finditer(text)]
    return sorted(found)


def _named(text: str, names: Sequence[tuple[int, int, str]]) -> dict[str, list[float]]:
    """The numbers that stand behind each name, or before each where none stands behind the last. Where numbers stand before
    the first name and behind the last, nobody can tell whose they are."""
    before = NUMBER.search(text[: names[0][0]]) is not None
    found: dict[str, list[float]] = {}
    if before and NUMBER.search(text[names[-1][1] :]):
        return found
    for i, (start, end, name) in enumerate(names):
        last = names[i - 1][1] if i else 0
        after = names[i + 1][0] if i + 1 < len(names) else len(text)
        part = text[last:start] if before else text[end:after]
        numbers = list(NUMBER.finditer(part)) or list(NO_COMMA.finditer(part))
        gap = part[numbers[-1].end() :] if before and numbers else part[: numbers[0].start()] if numbers else ""
        near = len(gap) <= FAR and not NOT.search(gap)
        found.setdefault(name, []).extend(_float(m[0]) for m in numbers if near)
    return found


def _alone(text: str, count: int) -> list[float]:
    """So many numbers, with nothing but units and marks around them; none where there is more, or a range."""
    for pattern in (NUMBER, NO_COMMA):
        numbers = pattern.findall(text)
        rest = UNITS.sub("", pattern.sub("", text))
        said = any(sign.isalnum() or sign == "%" for sign in rest) or re.search(r"\d-\d", text)
        if len(numbers) == count and not said:
            return [_float(n) for n in numbers]
    return []


def _without_scale(text: str, low: float, high: float) -> str:
    """A text without the ends of the scale: `/5`, `out of 5`, `(1 to 5)`, `on a scale of 1 to 5`."""
    if math.isinf(low) or math.isinf(high):
        return text
    least, most = (re.escape(f"{end:g}") + r"(?:\.0+)?" for end in (low, high))
    span = rf"\(?(?:on a |a )?(?:scale )?(?:of |from )?{least}\s*(?:to|-|…|\.\.+)\s*{most}(?![\d.,]*\d)\)?"
    text = re.sub(span, " ", text, flags=re.I)
    return re.sub(rf"(?<=\d)\s*(?:/|out of|of)\s*{most}(?![.,]?\d)", " ", text, flags=re.I)


def _float(text: str) -> float:
    return float(text.replace(",", "."))
