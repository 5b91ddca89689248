"""Arithmetic on counts that may be unknown, and the checks that steps share. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from affectkit.errors import InputError, Problem
from affectkit.pieces import Shape


def times(*counts: int | None) -> int | None:
    """Their product; None as soon as one is unknown."""
    return None if None in counts else prod(c for c in counts if c is not None)


def plus(*counts: int | None) -> int | None:
    """Their sum; None as soon as one is unknown."""
    return None if None in counts else sum(c for c in counts if c is not None)


def over(count: int | None, by: int) -> int | None:
    """`count / by`, rounded up; None if unknown."""
    return None if count is None else -(-count // by)


def width_of(inputs: Mapping[str, Shape], port: str) -> int:
    """The width of what fills `port`, for `build`; raises InputError where it is unknown or the port is
    not filled."""
    shape = filled(inputs, port)[0]
    if shape.width is None:
        raise InputError(
            Problem("", f"the width of what fills the port {port!r} is not known", "give it in the step before")
        )
    return shape.width


def llm_width(width: int | None) -> int:
    """The LLM's width, for `build`; raises InputError where it is not known."""
    if width is None:
        raise InputError(Problem("", "the width of the LLM is not known", "give a backbone, or its width"))
    return width


def filled(inputs: Mapping[str, Shape], *ports: str) -> list[Shape]:
    """The shapes in `ports`; raises InputError naming the ports that nothing fills."""
    missing = [p for p in ports if p not in inputs]
    if missing:
        fix = f"add `{missing[0]}: STREAM.STEP.BLOCK` to the step"
        raise InputError([Problem("", f"nothing fills the port {p!r}", fix, tuple(inputs)) for p in missing])
    return [inputs[p] for p in ports]


def check_heads(heads: int, width: int | None) -> None:
    """Raise InputError where attention cannot split the tokens' width evenly among `heads`."""
    for name, what in heads_fit("the width of the tokens", width, heads) if width else ():
        raise InputError(Problem("", f"{name} {what}", "take another number of heads"))


def heads_fit(width_name: str, width: int, heads: int) -> list[tuple[str, str]]:
    """For `problems`: attention splits its width evenly among heads."""
    if heads < 1:
        return [("heads", f"must be at least 1, got {heads}")]
    return [("heads", f"must divide {width_name} ({width}), got {heads}")] if width % heads else []
