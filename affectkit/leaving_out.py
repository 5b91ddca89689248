"""Streams that a recipe switches off (`streams.audio.off=true`), with all that hangs on them. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affectkit.errors import Problem, unknown
from affectkit.merging import items
from affectkit.recipe import Recipe
from affectkit.registry import Registry


def leave_out(recipe: Recipe, registry: Registry, problems: list[Problem]) -> list[str]:
    """Set to null: streams that are off, streams with a step that reads one of those, prompt parts with a place for one,
    and stages whose objective is in one; returns the addresses of all of them. A problem for each stream that is off and
    was never there."""
    streams = recipe.get("streams")
    if not isinstance(streams, dict):
        return []
    strange = [name for name, value in items(streams) if isinstance(value, Mapping) and set(value) == {"off"}]
    known = [str(name) for name, value in items(streams) if value is not None and name not in strange]
    for name in strange:
        problems.append(unknown(recipe.place(("streams", name)), "stream", str(name), known))
        streams[name] = None
    gone = {name for name, value in items(streams) if isinstance(value, Mapping) and value.get("off") is True}
    if not gone:
        return []
    while more := {n for n, v in items(streams) if n not in gone and any(_reads(s, gone, registry) for s in _steps(v))}:
        gone |= more
    left = [f"streams.{name}" for name, _ in items(streams) if name in gone]
    for name in gone:
        streams[name] = None
    parts = _empty(recipe.get("prompt", "parts"), lambda part: part.get("stream") in gone)
    stages = _empty(recipe.get("stages"), lambda stage: _stream(stage.get("objective")) in gone)
    return [*left, *(f"prompt.parts.{name}" for name in parts), *(f"stages.{name}" for name in stages)]


def _steps(stream: Any) -> list[Mapping[str, Any]]:
    """The blocks of a stream's steps that can be read."""
    steps = stream.get("steps") if isinstance(stream, Mapping) else None
    return [block for _, block in items(steps) if isinstance(block, Mapping)]


def _reads(step: Mapping[str, Any], gone: set[Any], registry: Registry) -> bool:
    """Whether a port of a step is filled by one of these streams, said so or by the port's own name."""
    use = str(step.get("use"))
    ports = {p.name for piece in registry.pieces() if piece.name == use for p in piece.ports}
    return any(_stream(step[name]) in gone if name in step else name in gone for name in ports)


def _stream(reference: Any) -> str:
    """The stream of `stream`, `stream.step` or `stream.step.block`."""
    return reference.split(".")[0] if isinstance(reference, str) else ""


def _empty(blocks: Any, goes: Any) -> list[Any]:
    """Set to null the blocks that go; their names."""
    every = items(blocks) if isinstance(blocks, dict) else ()
    left = [name for name, block in every if isinstance(block, Mapping) and goes(block)]
    for name in left:
        blocks[name] = None
    return left
