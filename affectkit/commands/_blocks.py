"""Blocks of settings on a command line: `METRIC.KEY=VALUE`, `client.KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from affectkit.errors import InputError, Problem, unknown


def values_of(said: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`KEY.KEY=VALUE` as nested mappings; the first key is a metric that is asked for, or `client`."""
    from affectkit.recipe import marked_yaml

    found: dict[str, dict[str, Any]] = {}
    for text in said:
        key, _, raw = text.partition("=")
        parts = key.split(".")
        if len(parts) < 2 or not all(parts):
            raise InputError(Problem(text, "is not of the form METRIC.KEY=VALUE", "for example client.model=NAME"))
        if parts[0] not in names:
            raise InputError(unknown(text, "metric", parts[0], names))
        value, _, problems = marked_yaml.parse(raw, text) if raw else ("", {}, [])
        if problems:
            raise InputError(problems)
        into: dict[str, Any] = found
        for part in parts[:-1]:
            into = into.setdefault(part, {})
            if not isinstance(into, dict):
                raise InputError(Problem(text, f"{part!r} has a value of its own and no keys below it"))
        into[parts[-1]] = value
    return found
