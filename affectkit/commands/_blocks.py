"""Blocks of settings on a command line: `METRIC.KEY=VALUE`, `client.KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from affectkit.errors import InputError, Problem, unknown

if TYPE_CHECKING:
    from affectkit.plan.use import Use
    from affectkit.registry import Registry


def client_of(registry: Registry, block: Mapping[str, Any]) -> Use:
    """The client that a block names, with its settings. Raises InputError for one that there is not."""
    from affectkit.plan.use import Use

    piece = registry.piece("client", str(block.get("use", "")))
    return Use(piece, settings_of(piece.settings, {k: v for k, v in block.items() if k != "use"}, "client"))


def settings_of(cls: type, values: Mapping[str, Any], place: str) -> Any:
    """Settings of a class from values. Raises InputError with every problem; `place` begins where each is."""
    from affectkit.recipe import settings as reading

    made, problems = reading.read(cls, values, lambda below: ".".join([place, *map(str, below)]))
    if problems:
        raise InputError(problems)
    return made


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
