"""Cross-attention with residual connections over masked tokens."""

from __future__ import annotations

import torch
from affectkit_plugins.adapters._masked import MaskedAttention, block, by_frame, in_one_row
from affectkit_plugins.fusions.cross_attention import Settings
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit.blocks import TokenBlock


class CrossLayer(nn.Module):
    """tokens [f n d] read context [f m e] under its mask [f m] -> [f n d]."""

    def __init__(self, width: int, context: int, heads: int, gated: bool) -> None:
        super().__init__()
        self.norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(context)
        self.attention = MaskedAttention(width, heads, context)
        self.gate = nn.Parameter(torch.zeros(())) if gated else None

    def forward(
        self, tokens: Float[Tensor, "f n d"], context: Float[Tensor, "f m e"], mask: Bool[Tensor, "f m"]
    ) -> Float[Tensor, "f n d"]:
        read = self.attention(self.norm(tokens), self.context_norm(context), mask)
        return tokens + (read if self.gate is None else torch.tanh(self.gate) * read)


class CrossAttention(nn.Module):
    """tokens [b t n d], context [b u m e] -> tokens [b t n d]."""

    def __init__(self, width: int, context: int, settings: Settings) -> None:
        super().__init__()
        self.each_frame = settings.per == "frame"
        gated = settings.gate == "tanh"
        self.layers = nn.ModuleList(CrossLayer(width, context, settings.heads, gated) for _ in range(settings.layers))

    def forward(self, tokens: TokenBlock, context: TokenBlock | None = None) -> dict[str, TokenBlock]:
        if context is None:
            return block("tokens", tokens.tokens, tokens.mask)
        shape = tokens.mask.shape
        if self.each_frame:
            values, _ = by_frame(tokens)
            read, mask = by_frame(_to_length(context, shape[1]))
        else:
            values, _ = in_one_row(tokens)
            read, mask = in_one_row(context)
        for layer in self.layers:
            values = layer(values, read, mask)
        return block("tokens", values.view(*shape, -1), tokens.mask)


def _to_length(given: TokenBlock, time: int) -> TokenBlock:
    """The first `time` frames, empty ones added where there are fewer; a single frame stands for all."""
    own = given.mask.shape[1]
    if own == 1:
        return TokenBlock(given.name, given.tokens.expand(-1, time, -1, -1), given.mask.expand(-1, time, -1))
    spare = time - own
    return TokenBlock(given.name, F.pad(given.tokens, (0, 0, 0, 0, 0, spare)), F.pad(given.mask, (0, 0, 0, spare)))
