"""The module of `contrastive`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from affectkit_plugins.objectives._similarity_net import Similarity
from torch import Tensor, nn

from affectkit.blocks import TokenBlock
from affectkit.objectives import ModelOutputs, PortBlocks
from affectkit.sample import Sample

if TYPE_CHECKING:
    from affectkit_plugins.objectives.contrastive import Settings


class Contrastive(nn.Module):
    """InfoNCE over the pairs of a batch."""

    def __init__(self, settings: Settings, a: int, b: int) -> None:
        super().__init__()
        self.same_label = settings.same_label
        to = settings.width
        self.a, self.b = (nn.Identity() if to is None else nn.Linear(width, to, bias=False) for width in (a, b))
        self.similarity = Similarity(settings.temperature, settings.learned)

    def count(self, samples: Sequence[Sample], there: Mapping[str, Sequence[bool]]) -> int:
        """The rows with both."""
        return sum(a and b for a, b in zip(there["a"], there["b"], strict=True))

    def forward(self, blocks: PortBlocks, samples: Sequence[Sample], outputs: ModelOutputs) -> Tensor:
        """The sum over these rows of the mean of both ways."""
        a, b = blocks["a"], blocks["b"]
        assert isinstance(a, TokenBlock)
        assert isinstance(b, TokenBlock)
        rows = (a.there & b.there).nonzero().flatten()
        labels = [samples[row].label for row in rows.tolist()]
        scores = self.similarity(self.a(a.mean()[rows]), self.b(b.mean()[rows]))
        own = torch.eye(len(rows), dtype=torch.bool, device=scores.device)
        same = [[one is not None and one == other for other in labels] for one in labels]
        alike = own | torch.tensor(same, dtype=torch.bool, device=scores.device).reshape(own.shape)
        if self.same_label == "masked":
            scores = scores.masked_fill(alike & ~own, float("-inf"))
        positives = alike if self.same_label == "positive" else own
        return (_one_way(scores, positives) + _one_way(scores.T, positives)) / 2


def _one_way(scores: Tensor, positives: Tensor) -> Tensor:
    """The sum over rows of minus the mean log-probability of their positives."""
    logs = scores.log_softmax(1).masked_fill(~positives, 0.0)
    return -(logs.sum(1) / positives.sum(1)).sum()
