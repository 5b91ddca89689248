"""The module of `label_words`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from affectkit_plugins.objectives._similarity_net import Similarity
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from affectkit.blocks import TokenBlock
from affectkit.objectives import ModelOutputs, PortBlocks
from affectkit.sample import Sample

if TYPE_CHECKING:
    from affectkit_plugins.objectives.label_words import Settings


class LabelWords(nn.Module):
    """Cross-entropy over labels, by cosines with their words."""

    def __init__(self, settings: Settings, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.texts = [settings.text.replace("{label}", label) for label in labels]
        self.similarity = Similarity(settings.temperature, settings.learned)

    def count(self, samples: Sequence[Sample], there: Mapping[str, Sequence[bool]]) -> int:
        """The rows with tokens and a label of the set."""
        rows = zip(samples, there["tokens"], strict=True)
        return sum(seen and self._truth(sample) is not None for sample, seen in rows)

    def forward(self, blocks: PortBlocks, samples: Sequence[Sample], outputs: ModelOutputs) -> Tensor:
        """The sum over these rows."""
        tokens = blocks["tokens"]
        assert isinstance(tokens, TokenBlock)
        truths = [self._truth(sample) for sample in samples]
        rows = [i for i, seen in enumerate(tokens.there.tolist()) if seen and truths[i] is not None]
        scores = self.similarity(tokens.mean()[rows], outputs.words(self.texts))
        wanted = scores.new_tensor([truths[i] for i in rows]).reshape(scores.shape)
        return cross_entropy(scores, wanted, reduction="sum")

    def _truth(self, sample: Sample) -> list[float] | None:
        """The share of each label; None for a sample without one of the set."""
        given = sample.labels or ({sample.label: 1.0} if sample.label else {})
        weights = [given.get(label, 0.0) for label in self.labels]
        return [weight / sum(weights) for weight in weights] if sum(weights) > 0 else None
