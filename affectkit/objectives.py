"""Objectives: losses beside the LLM's own. What the frame asks of one, and what it gives it. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from affectkit.sample import Sample

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from affectkit.blocks import TokenBlock

OBJECTIVES = "objectives"
"""First word of the addresses of objectives that have parameters: `objectives.STAGE.NAME`."""

PortBlocks = Mapping[str, "TokenBlock | tuple[TokenBlock, ...] | None"]
"""By port, what fills it: a block with a row a sample, a tuple of them where the port takes `many`, None where nothing does."""


@dataclass(frozen=True)
class HeadOutputs:
    """What a head of the recipe made of a batch."""

    blocks: Mapping[str, TokenBlock]
    """Its blocks by name, a row a sample."""
    loss: Callable[[Sequence[Sample]], tuple[Tensor, int]]
    """Its own loss against samples, one a row: (sum, number of terms)."""


@dataclass(frozen=True)
class ModelOutputs:
    """What an objective may look at beside its blocks."""

    words: Callable[[Sequence[str]], Float[Tensor, "k w"]]
    """For texts, the mean of the LLM's input embeddings over the tokens of each; no gradient goes into them."""
    heads: Mapping[str, HeadOutputs] = field(default_factory=dict)
    """The heads that its settings name (`NamesHeads`)."""


@runtime_checkable
class Objective(Protocol):
    """What an objective's `build` returns is an `nn.Module` with this, and with

        forward(blocks: PortBlocks, samples: Sequence[Sample], outputs: ModelOutputs) -> Tensor

    which gives the sum of the loss over what `count` counts, a scalar. Rows may be empty in any block (`TokenBlock.there`). The
    frame divides by the count of the whole optimiser step, over all its batches and processes. Parameters of the module train
    with the stage.
    """

    def count(self, samples: Sequence[Sample], there: Mapping[str, Sequence[bool]]) -> int:
        """How many terms the loss of these samples has, before anything has run. `there` says for each port, and for each
        head that it names (`heads.NAME`), which rows hold something: of a head, something that it can learn from."""
        ...
