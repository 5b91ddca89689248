"""The module of `head_loss`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from affectkit.objectives import ModelOutputs, PortBlocks
from affectkit.sample import Sample


class HeadLoss(nn.Module):
    """The loss of one head."""

    def __init__(self, head: str) -> None:
        super().__init__()
        self.head = head

    def count(self, samples: Sequence[Sample], there: Mapping[str, Sequence[bool]]) -> int:
        """The rows that the head can learn from."""
        return sum(there[f"heads.{self.head}"])

    def forward(self, blocks: PortBlocks, samples: Sequence[Sample], outputs: ModelOutputs) -> Tensor:
        """What the head says of its own outputs."""
        return outputs.heads[self.head].loss(samples)[0]
