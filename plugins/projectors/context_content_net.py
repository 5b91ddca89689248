"""Context attention and content pooling over a frame's patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from affectkit_plugins.adapters._masked import block, by_frame, masked_mean, usable
from affectkit_plugins.projectors._qformer import QFormerSettings
from affectkit_plugins.projectors.qformer_net import QFormer, repeated
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit.blocks import TokenBlock, ViewBlock

Patches = Float[Tensor, "f n d"]
Real = Bool[Tensor, "f n"]
Cells = Float[Tensor, "f k d"]


@dataclass(frozen=True)
class Pooling:
    """Which tokens are patches and what becomes of them: their mean, `grid` x `grid` cells (0: none), or
    all."""

    drop_first: bool
    mean: bool
    grid: int = 0
    side: int = 0
    """Patches along one side of the frame; needed for a grid."""

    def __call__(self, patches: Patches, mask: Real) -> tuple[Cells, Bool[Tensor, "f k"]]:
        if self.mean:
            return masked_mean(patches, mask, 1).unsqueeze(1), mask.any(1, keepdim=True)
        if not self.grid:
            return patches, mask
        return self._cells(patches, mask)

    def _cells(self, patches: Patches, mask: Real) -> tuple[Cells, Bool[Tensor, "f k"]]:
        spare = self.side**2 - patches.shape[1]  # a batch may be padded to more or fewer than the whole grid
        patches, mask = F.pad(patches, (0, 0, 0, spare)), F.pad(mask, (0, spare))
        step = self.side // self.grid
        parts = {"h": self.grid, "i": step, "w": self.grid, "j": step}
        shape = tuple(parts.values())
        cells = patches.unflatten(1, shape).permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)
        real = mask.unflatten(1, shape).permute(0, 1, 3, 2, 4).flatten(3, 4).flatten(1, 2)
        return masked_mean(cells, real, 2), real.any(2)


class ContextContent(nn.Module):
    """tokens [b t n d] (and question ids [b l]) -> tokens [b t 1+m w]: the context token, then m content
    tokens."""

    stand_in: str = ""
    """What the step has only a stand-in for, in words; see `affectkit.weights`."""

    def __init__(self, settings: QFormerSettings, width: int, llm: int, reads_text: bool, pooling: Pooling) -> None:
        super().__init__()
        self.pooling = pooling
        self.norm = nn.LayerNorm(width)
        self.qformer = QFormer(settings, width, reads_text)
        self.query = nn.Linear(settings.hidden, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, llm)
        self.content = nn.Sequential(nn.Linear(width, llm), nn.GELU(), nn.Linear(llm, llm))

    def forward(self, tokens: TokenBlock, question: ViewBlock | None = None) -> dict[str, TokenBlock]:
        time = tokens.tokens.shape[1]
        frames, mask = by_frame(tokens)
        queries = self.query(self.qformer(self.norm(frames), mask, *repeated(question, time)))
        if self.pooling.drop_first:
            frames, mask = frames[:, 1:], mask[:, 1:]
        context = self.value(self.attend(queries, frames, mask))
        pooled, real = self.pooling(frames, mask)
        out = torch.cat((context, self.content(pooled)), 1)
        real = torch.cat((mask.any(1, keepdim=True), real), 1)
        return block("tokens", out.unflatten(0, (-1, time)), real.unflatten(0, (-1, time)))

    def attend(self, queries: Float[Tensor, "f q d"], patches: Patches, mask: Real) -> Float[Tensor, "f 1 d"]:
        """What the queries see among the patches as they are (keys are projected, values are not),
        averaged over queries."""
        seen = F.scaled_dot_product_attention(queries, self.key(patches), patches, attn_mask=usable(mask)[:, None])
        return seen.mean(1, keepdim=True)
