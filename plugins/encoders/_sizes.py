"""Sizes of published networks without torch: from the recipe, from a config.json on disk, or as published."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from affectkit import files, weights
from affectkit.errors import InputError, Problem
from affectkit.weights import on_disk


@dataclass(frozen=True)
class Family:
    """The names and defaults of the sizes in the configuration of one family of checkpoints."""

    names: Mapping[str, str]
    """Setting -> key of config.json (and of the configuration class of transformers)."""
    published: Mapping[str, Any]
    """Sizes of the model that people use, for random weights where the recipe gives none."""
    absent: Mapping[str, Any]
    """What a key means that a config.json leaves out (the default of the configuration class)."""
    section: str = ""
    """The part of config.json that speaks of this network, in checkpoints of several."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the configuration of the published model, for random weights."""


def read_json(source: str, name: str) -> Mapping[str, Any] | None:
    """The file `name` of the folder that `source` names, or None where it is not on disk."""
    folder = on_disk(source)
    path = folder / name if folder is not None and folder.is_dir() else None
    if path is None or not path.is_file():
        return None
    return _read(str(path), path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _read(path: str, _changed: int) -> Mapping[str, Any]:
    found = files.read_json(path)
    if not isinstance(found, dict):
        raise InputError(Problem(path, "not a JSON object"))
    return found


def config_sizes(family: Family, config: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes that a config.json states, under the names of our settings."""
    part = config.get(family.section, config) if family.section else config
    return {ours: part.get(theirs, family.absent.get(ours)) for ours, theirs in family.names.items()}


def sizes(family: Family, settings: Any) -> dict[str, Any]:
    """Each size of `family` by its setting's name; None where only the hub knows it.

    The recipe comes first, then config.json on disk, then (for random weights, and for a bare file of
    weights, which
    states none) the published sizes.
    """
    source = settings.source
    found = read_json(source, "config.json")
    path = on_disk(source)
    stated: Mapping[str, Any]
    if found is not None:
        stated = config_sizes(family, found)
    elif weights.random() or not source or (path is not None and path.is_file()):
        stated = family.published
    else:
        stated = {}
    given = {name: getattr(settings, name) for name in family.names}
    return {name: stated.get(name) if value is None else value for name, value in given.items()}


def disagreements(family: Family, settings: Any, config: Mapping[str, Any]) -> list[Problem]:
    """Every size that the recipe gives otherwise than the checkpoint has it."""
    true = config_sizes(family, config)
    return [
        Problem(name, f"{getattr(settings, name)!r} in the recipe, {value!r} in {settings.source}",
                f"leave {name} out, or write {value!r}")
        for name, value in true.items()
        if getattr(settings, name) is not None and value is not None and getattr(settings, name) != value
    ]  # fmt: skip


def grid_tokens(size: int | None, patch: int | None) -> int | None:
    """Patches of a square image, or None where a side is not known."""
    return None if size is None or patch is None else (size // patch) ** 2
