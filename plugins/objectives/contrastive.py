"""Two streams of the same samples, drawn together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, Shape, hookimpl
from affectkit.sample import Targets


@dataclass(frozen=True)
class Settings:
    """InfoNCE between two blocks, both ways, as CLIP (Radford et al. 2021) and ImageBind (Girdhar et al. 2023) have it: each
    block is pooled to its mean, and the two of one sample are told from those of the other samples in its batch.

    The pairs are those of one batch on one device: another batch size is another loss, and reports say so. Terms are the samples
    that have tokens in both blocks; one with no other to be told from is a term of 0.
    """

    width: int | None = None
    """Width of the space into which a linear layer brings each block; null compares blocks of equal width as they are."""
    temperature: float = 0.07
    """What cosines are divided by; where it is `learned`, what it starts from (0.07 as in CLIP)."""
    learned: bool = True
    """Whether the temperature is a parameter."""
    same_label: Literal["masked", "positive", "negative"] = "masked"
    """What other samples of the same label are: left out, positives too (supervised, Khosla et al. 2020), or negatives as all
    others."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = [] if self.temperature >= 0.01 else [("temperature", f"must be at least 0.01, got {self.temperature}")]
        return found + ([("width", f"must be at least 1, got {self.width}")] if (self.width or 1) < 1 else [])


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """Raises InputError for two widths that cannot be compared."""
    a, b = inputs["a"].width, inputs["b"].width
    if settings.width is None and None not in (a, b) and a != b:
        what = f"the blocks are {a} and {b} wide, and cannot be compared as they are"
        raise InputError(Problem("width", what, "set `width`: each then gets a linear layer to that width"))
    return {}


def build(settings: Settings, inputs: Mapping[str, Shape], targets: Targets) -> Any:
    """The objective. Raises InputError for widths that cannot be compared."""
    from affectkit_plugins.objectives.contrastive_net import Contrastive

    shapes(settings, inputs, None)
    return Contrastive(settings, inputs["a"].width or 1, inputs["b"].width or 1)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("a", about="one block"), Port("b", about="the other block of the same samples"))
    tiny = {"width": 4}
    return [Piece("objective", "contrastive", Settings, build, shapes, ports, tiny=tiny, per_batch=True)]
