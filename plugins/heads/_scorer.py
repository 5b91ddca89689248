"""What heads that learn by gradients share: how blocks become one vector, and the layers behind it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from affectkit.errors import InputError, Problem, unknown
from affectkit.pieces import Shape
from affectkit.sample import Targets


@dataclass(frozen=True)
class ScorerSettings:
    """Pooled blocks, fused, through layers to scores."""

    pool: Literal["mean", "attention"] = "mean"
    """How the tokens of a block become one vector: their mean, or a mean by learned attention."""
    norm: Literal["layer", "none"] = "layer"
    """What is done to each block's vector before: a layer norm, which evens out encoders of different scale, or nothing."""
    fusion: Literal["concat", "attention"] = "concat"
    """How the blocks' vectors become one: side by side; or each through layers of its own to one width, and weighted by all of
    them together, as MERBench's attention does."""
    common: int = 128
    """That width (of `fusion: attention`)."""
    hidden: tuple[int, ...] = ()
    """Widths of hidden layers with GELU; none is a linear head."""
    dropout: float = 0.1
    """Share of the values in front of each layer that training leaves out; with `fusion: attention` in front of the first layer
    of each block, and of those that weigh."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = [] if 0 <= self.dropout < 1 else [("dropout", f"must be from 0 to below 1, is {self.dropout}")]
        found += [] if all(width >= 1 for width in self.hidden) else [("hidden", "widths are at least 1")]
        found += [] if self.common >= 1 else [("common", f"must be at least 1, is {self.common}")]
        return found


def widths_of(inputs: Mapping[str, Any], port: str = "tokens") -> tuple[int, ...]:
    """The width of each block of a port. Raises InputError where one is not known."""
    shapes: tuple[Shape, ...] = inputs[port]
    if any(shape.width is None for shape in shapes):
        raise InputError(Problem(port, "the width of what the head reads is not known", "name a block of tokens"))
    return tuple(int(shape.width or 0) for shape in shapes)


def labels_of(targets: Targets, name: str) -> tuple[str, ...]:
    """The labels to answer. Raises InputError for fewer than two."""
    if len(targets.labels) < 2:
        had = f"only {targets.labels[0]!r}" if targets.labels else "none"
        what = f"wants a label set of at least two, and the data has {had}"
        raise InputError(Problem(name, what, "name a column of labels in `data`"))
    return targets.labels


def scales_of(targets: Targets, chosen: Sequence[str], name: str) -> dict[str, tuple[float, float]]:
    """The ratings to answer, `chosen` or all, with the ends of their scales. Raises InputError where the data lacks them."""
    if not targets.numbers:
        raise InputError(Problem(name, "the data has no ratings", "name columns of them: `data.numbers`"))
    strange = [n for n in chosen if n not in targets.numbers]
    if strange:
        raise InputError(unknown(f"{name}.numbers", "rating", strange[0], targets.numbers))
    return {number: targets.numbers[number] for number in chosen or targets.numbers}
