"""The network of `region_guided`: landmark regions as tokens, and visual tokens that look at them."""

from __future__ import annotations

import torch
from affectkit_plugins.miners._regions_net import Points, RegionTokens, same_time, whole
from affectkit_plugins.miners.region_guided import Settings
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit.blocks import TokenBlock

Tokens = Float[Tensor, "b t n d"]


class RegionGuided(nn.Module):
    """V' = V + scale * Linear(LayerNorm(V + attention of V to the region tokens)), frame by frame."""

    def __init__(self, settings: Settings, width: int, size: int, side: int, first: bool) -> None:
        """The width of the visual tokens, the numbers a landmark has, the patches along one side (0: places do not count)
        and whether a class token stands before them."""
        super().__init__()
        self.settings, self.side, self.first = settings, side, first
        self.local = RegionTokens(settings.regions, size, width, hidden=0)
        self.whole = nn.Linear(sum(settings.regions) * size, width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width) if settings.projection else nn.Identity()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, tokens: TokenBlock, landmarks: TokenBlock | None = None) -> dict[str, TokenBlock]:
        """Visual tokens [b t n d] and landmarks [b t k 2], fractions of the frame -> `enriched` [b t n d] and
        `face_tokens` [b t 1 d].

        A frame that lacks a landmark keeps its visual tokens and has no face token. Raises `InputError` where the
        landmarks have not the tokens' time.
        """
        visual = tokens.tokens.masked_fill(~tokens.mask[..., None], 0.0)
        if landmarks is None:
            nobody = visual.new_zeros(*visual.shape[:2], 1, visual.shape[3])
            none = torch.zeros_like(tokens.mask[:, :, :1])
            return self._out(TokenBlock("enriched", visual, tokens.mask), nobody, none)
        points, seen = whole(same_time("landmarks", landmarks, tokens), sum(self.settings.regions))
        face = self.whole(points.flatten(2))[:, :, None]
        asked = visual + self.attend(visual, self.local(points) + face, points)
        added = self.settings.scale * self.linear(self.norm(asked))
        added = added * (tokens.mask & seen[:, :, None])[..., None]
        shown = (seen & tokens.mask.any(-1))[:, :, None]
        return self._out(TokenBlock("enriched", visual + added, tokens.mask), face * shown[..., None], shown)

    @staticmethod
    def _out(enriched: TokenBlock, face: Tokens, shown: Bool[Tensor, "b t 1"]) -> dict[str, TokenBlock]:
        return {"enriched": enriched, "face_tokens": TokenBlock("face_tokens", face, shown)}

    def attend(self, visual: Tokens, regions: Float[Tensor, "b t r d"], points: Points) -> Tokens:
        """Cross-attention of the visual tokens over the regions of their frame."""
        b, t, n, _ = visual.shape
        q, k, v = self._split(self.query(visual)), self._split(self.key(regions)), self._split(self.value(regions))
        near = None
        if self.side:
            near = self.near(points, n).flatten(0, 1)[:, None].to(q.dtype)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=near)
        return self.out(seen.transpose(1, 2).reshape(b, t, n, -1))

    def near(self, points: Points, count: int) -> Float[Tensor, "b t n r"]:
        """Soft-max over the regions of minus the distance from each of `count` tokens to the middle of each region; a
        class token is near to all alike."""
        middles = torch.stack([p.mean(2) for p in points[..., :2].split(list(self.settings.regions), 2)], 2)
        step = (torch.arange(self.side, device=points.device) + 0.5) / self.side
        row, column = torch.meshgrid(step, step, indexing="ij")
        places = (column, row) if self.settings.grid == "xy" else (row, column)
        grid = torch.stack(places, -1).flatten(0, 1).to(points.dtype)
        apart = (grid[:, None] - middles[:, :, None]).norm(dim=-1)
        # a batch may be cut to its longest frame, or padded
        apart = F.pad(apart, (0, 0, int(self.first), max(0, count - apart.shape[2])))
        return (-apart).softmax(-1)[:, :, :count]

    def _split(self, x: Tensor) -> Tensor:
        """[b t n d] -> [b*t heads n d/heads]: each frame is a batch entry of its own."""
        return x.flatten(0, 1).unflatten(-1, (self.settings.heads, -1)).transpose(1, 2)
