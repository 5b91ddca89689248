"""Blocks of settings on a command line: `METRIC.KEY=VALUE`, `client.KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Sequence

from affectkit.errors import InputError, Problem, unknown
from affectkit.files import Json


def values_of(said: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Json]]:
    """`KEY.KEY=VALUE` as nested mappings; the first key is a metric that is asked for, or `client`."""
    from affectkit.recipe.overrides import parse_values

    for text in said:
        first, dot, _ = text.partition("=")[0].partition(".")
        if not dot:
            raise InputError(Problem(text, "is not of the form METRIC.KEY=VALUE", "for example client.model=NAME"))
        if first not in names:
            raise InputError(unknown(text, "metric", first, names))
    values, problems = parse_values(said, "METRIC.KEY=VALUE", "for example client.model=NAME")
    if problems:
        raise InputError(problems)
    return {name: block for name, block in values.items() if isinstance(block, dict)}
