"""Pooled blocks through layers to scores, and the losses of the three kinds of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from affectkit_plugins.adapters._masked import clean
from affectkit_plugins.heads._scorer import ScorerSettings
from torch import Tensor, nn

from affectkit.blocks import TokenBlock


class Scorer(nn.Module):
    """tokens, blocks [b t n d_i] each -> scores [b 1 1 k]. A block that is empty for a row counts as zeros."""

    def __init__(self, settings: ScorerSettings, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        make = nn.LayerNorm if settings.norm == "layer" else lambda _: nn.Identity()
        self.norms = nn.ModuleList(make(width) for width in widths)
        attends = settings.pool == "attention"
        self.queries = nn.ModuleList(nn.Linear(width, 1, bias=False) for width in widths) if attends else None
        fused = settings.fusion == "attention"
        self.fusion = WeightedSenses(widths, settings.common, settings.dropout) if fused else None
        layers: list[nn.Module] = []
        for before, after in pairwise((settings.common if fused else sum(widths), *settings.hidden, outputs)):
            layers += [nn.Dropout(0.0 if fused else settings.dropout), nn.Linear(before, after), nn.GELU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, tokens: tuple[TokenBlock, ...]) -> dict[str, TokenBlock]:
        """The scores of each row, and whether it has any: rows without a token have none."""
        vectors = [self._vector(i, block) for i, block in enumerate(tokens)]
        there = torch.stack([block.there for block in tokens], dim=1)
        seen = there.any(1)
        fused = torch.cat(vectors, dim=1) if self.fusion is None else self.fusion(vectors, there)
        scores = self.layers(fused)
        return {"scores": TokenBlock("scores", scores[:, None, None], seen[:, None, None])}

    def _vector(self, place: int, block: TokenBlock) -> Tensor:
        """[b d]: the tokens of one block as one vector."""
        tokens, mask = clean(block.tokens, block.mask).flatten(1, 2), block.mask.flatten(1)
        if self.queries is None:
            weights = mask / mask.sum(1, keepdim=True).clamp(min=1)
        else:
            raw = self.queries[place](self.norms[place](tokens)).squeeze(-1)
            weights = raw.masked_fill(~mask, float("-inf")).softmax(1).nan_to_num(0.0)
        vector = (weights[:, :, None].to(tokens.dtype) * tokens).sum(1)
        normed: Tensor = self.norms[place](vector)
        return normed * mask.any(1, keepdim=True)


class WeightedSenses(nn.Module):
    """One vector of several, each brought to one width and weighted by all of them together.

    As in MERBench (Lian et al. 2024), whose code is the form: three layers with ReLU each, the results side by side through
    three more, and one weight a sense, without a soft-max, so that a weight may also be negative. Sense i gives h_i, and the
    sum is over a_i h_i.
    """

    def __init__(self, widths: Sequence[int], common: int, dropout: float) -> None:
        super().__init__()
        self.senses = nn.ModuleList(_three_layers(width, common, dropout) for width in widths)
        self.mix = _three_layers(common * len(widths), common, dropout)
        self.weigh = nn.Linear(common, len(widths))

    def forward(self, vectors: Sequence[Tensor], there: Tensor) -> Tensor:
        """[b common] of vectors [b d_i]; `there` [b senses] says which a row has: one that it lacks counts as zeros."""
        each = [sense(vector) for sense, vector in zip(self.senses, vectors, strict=True)]
        stacked = torch.stack(each, dim=1) * there[:, :, None]
        weights = self.weigh(self.mix(stacked.flatten(1)))
        total: Tensor = (weights[:, :, None] * stacked).sum(1)
        return total


def _three_layers(width: int, common: int, dropout: float) -> nn.Sequential:
    """Dropout and three linear layers with ReLU behind each, to the common width."""
    pairs = ((width, common), (common, common), (common, common))
    layers = [layer for before, after in pairs for layer in (nn.Linear(before, after), nn.ReLU())]
    return nn.Sequential(nn.Dropout(dropout), *layers)


def rows_with(outputs: Mapping[str, TokenBlock], truths: Sequence[Sequence[float] | None]) -> tuple[Tensor, Tensor]:
    """(scores [m k], truths [m k]) of the rows that have both, in float32."""
    block = outputs["scores"]
    seen = block.there.tolist()
    rows = [i for i, truth in enumerate(truths) if truth is not None and seen[i]]
    scores = block.tokens[:, 0, 0].float()
    wanted = torch.tensor([truths[i] for i in rows], dtype=torch.float32, device=scores.device)
    return scores[rows], wanted.reshape(len(rows), scores.shape[1])


def listed(outputs: Mapping[str, TokenBlock]) -> list[list[float] | None]:
    """The scores of each row; None for a row without any."""
    block = outputs["scores"]
    rows = block.tokens[:, 0, 0].double().tolist()
    return [row if there else None for row, there in zip(rows, block.there.tolist(), strict=True)]
