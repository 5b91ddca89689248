"""What `problems` of settings have in common: values that the types allow and that mean nothing. Imports no torch.

Each gives (name of the setting, what is wrong with it) for those of the named settings that it finds fault with.
"""

from __future__ import annotations

from typing import Any

Faults = list[tuple[str, str]]


def at_least(settings: Any, least: float, *names: str) -> Faults:
    """Numbers below `least`; None is none."""
    found = [(n, getattr(settings, n)) for n in names]
    return [(n, f"must be at least {least}, got {v}") for n, v in found if v is not None and not v >= least]


def shares(settings: Any, *names: str) -> Faults:
    """Numbers that are no shares of a whole, of which something is to be left."""
    found = [(n, getattr(settings, n)) for n in names]
    return [(n, f"must be at least 0 and below 1, got {v}") for n, v in found if not 0 <= v < 1]


def leave_some(settings: Any, at: str, pair: tuple[str, str], purpose: str) -> Faults:
    """Two shares that together leave nothing for another `purpose`; said of the setting `at`."""
    first, second = (getattr(settings, n) for n in pair)
    what = f"{pair[0]} and {pair[1]} leave nothing to {purpose} ({first} + {second})"
    return [(at, what)] if first + second >= 1 else []


def once(settings: Any, thing: str, *names: str) -> Faults:
    """Lists that hold a `thing` more than once."""
    return [(n, f"names a {thing} twice") for n in names if _twice(getattr(settings, n))]


def named(settings: Any, *names: str) -> Faults:
    """Lists of names that are empty, or hold one more than once."""
    lists = [(n, getattr(settings, n)) for n in names]
    return [(n, "needs at least one name, each only once") for n, words in lists if not words or _twice(words)]


def _twice(words: tuple[Any, ...]) -> bool:
    return len(set(words)) < len(words)
