"""Convolutions over speech features, statistics pooling, and a head for the manner of a voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from affectkit_plugins.adapters._masked import block, clean, in_one_row, masked_mean
from affectkit_plugins.adapters.voice_analysis import Settings
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit.blocks import TokenBlock
from affectkit.errors import InputError, Problem
from affectkit.sample import Fact


class VoiceAnalysis(nn.Module):
    """tokens [b t n d] -> `voice` [b s 1 2c] (mean and peak of c channels, by stretch) and `units` [b 1 1 u]."""

    def __init__(self, width: int | None, settings: Settings) -> None:
        super().__init__()
        if width is None:
            raise InputError(Problem("voice_analysis", "the width of its tokens must be known"))
        self.names, self.stretches = settings.units, settings.stretches
        sizes = [width] + [settings.channels] * settings.layers
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, settings.kernel, padding=settings.kernel // 2) for a, b in pairwise(sizes)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(settings.channels) for _ in range(settings.layers))
        self.dropout = nn.Dropout(settings.dropout)
        self.head = nn.Linear(2 * settings.channels, len(settings.units))

    def forward(self, tokens: TokenBlock) -> dict[str, TokenBlock]:
        x, mask = in_one_row(tokens)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = clean(F.gelu(norm(conv(x.transpose(1, 2)).transpose(1, 2))), mask)
        x = self.dropout(x)
        whole = pooled(x, mask)
        real = mask.any(1)[:, None, None]
        units = block("units", self.head(self.dropout(whole))[:, None, None], real)
        if self.stretches == 1:
            return {**block("voice", whole[:, None, None], real), **units}
        parts = stretches(mask, self.stretches)
        voice = pooled(x.unsqueeze(1).expand(-1, self.stretches, -1, -1), parts)
        return {**block("voice", voice.unsqueeze(2), parts.any(2, keepdim=True)), **units}

    def loss(self, blocks: Mapping[str, TokenBlock], facts: Sequence[Mapping[str, Fact]]) -> Float[Tensor, ""]:
        """Mean squared error of the estimates against the labelled fact `manner`; rows without it do not count.

        Raises InputError where the data names its manner otherwise than `units` does.
        """
        found = blocks["units"].tokens[:, 0, 0]
        rows = [
            i
            for i, f in enumerate(facts)
            if (m := f.get("manner")) is not None and m.origin == "label" and m.value is not None
        ]
        if not rows:
            return found.sum() * 0.0
        wanted = torch.stack([self._target(facts[i]) for i in rows]).to(found)
        return F.mse_loss(found[rows], wanted)

    def _target(self, facts: Mapping[str, Fact]) -> Float[Tensor, " u"]:
        names = facts["manner_names"].value if "manner_names" in facts else self.names
        missing = [n for n in self.names if n not in names]
        if missing:
            raise InputError(
                Problem("voice_analysis.units", f"the data's fact `manner` has no {missing[0]!r}", known=tuple(names))
            )
        values = np.asarray(facts["manner"].value, dtype=np.float32)
        return torch.from_numpy(values[[list(names).index(n) for n in self.names]])


def pooled(x: Float[Tensor, "*any m c"], mask: Bool[Tensor, "*any m"]) -> Float[Tensor, "*any e"]:
    """Mean and peak of what is real, side by side; zero where nothing is."""
    peak = clean(x.masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(-2), mask.any(-1))
    return torch.cat([masked_mean(x, mask, -2), peak], -1)


def stretches(mask: Bool[Tensor, "b m"], count: int) -> Bool[Tensor, "b s m"]:
    """Which real frames lie in which of `count` stretches of one length; a short sound leaves some empty."""
    rank = mask.cumsum(1) - 1
    place = rank * count // mask.sum(1, keepdim=True).clamp(min=1)
    return (place.unsqueeze(1) == torch.arange(count, device=mask.device)[:, None]) & mask.unsqueeze(1)
