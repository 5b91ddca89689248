"""The Swin transformer (Liu et al. 2021, ICCV) as maps of its four stages, under torchvision's names of weights.

Written out because importing torchvision's takes as long as importing torch. Stochastic depth is left out: the
network stands frozen wherever it is used.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Grid = Float[Tensor, "f h x c"]


class Swin(nn.Sequential):
    """Normalised images [f 3 h x] to the stages' maps [f h x c]; part 0 is torchvision's `features`, part 1 its
    final `norm`, which no map goes through."""

    def __init__(self, channels: int, depths: Sequence[int], heads: Sequence[int], window: int) -> None:
        parts: list[nn.Module] = [SwinPatches(channels)]
        for stage, (depth, count) in enumerate(zip(depths, heads, strict=True)):
            width = channels * 2**stage
            if stage:
                parts.append(Merge(width // 2))
            shifts = (window // 2 if i % 2 else 0 for i in range(depth))
            parts.append(nn.Sequential(*(SwinBlock(width, count, window, shift) for shift in shifts)))
        super().__init__(nn.Sequential(*parts), nn.LayerNorm(width))

    def forward(self, images: Float[Tensor, "f 3 h x"]) -> list[Float[Tensor, "f _ _ _"]]:
        maps, x = [], images
        for index, part in enumerate(self[0].children()):  # patches, stage, merging, stage, …
            x = part(x)
            if index % 2:
                maps.append(x)
        return maps


class SwinPatches(nn.Sequential):
    """Patches of 4 x 4 pixels to [f h/4 x/4 c]."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Conv2d(3, channels, 4, 4), ChannelsLast(), nn.LayerNorm(channels))


class ChannelsLast(nn.Module):
    """[f c h x] -> [f h x c]."""

    def forward(self, x: Float[Tensor, "f c h x"]) -> Grid:
        return x.permute(0, 2, 3, 1)


class Merge(nn.Module):
    """Every 2 x 2 places to one of twice the width; an odd side is filled up with zeros."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Grid) -> Float[Tensor, "f (h+1)//2 (x+1)//2 2*c"]:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class SwinBlock(nn.Module):
    """Attention in windows and a feed-forward network, both pre-norm and added."""

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window, shift)
        self.norm2 = nn.LayerNorm(width)
        # the places of torchvision's dropouts are kept, for the names of the weights
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Grid) -> Grid:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class WindowAttention(nn.Module):
    """Attention inside windows, with a learned bias for each distance; the windows may be shifted."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        table = torch.empty((2 * window - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("relative_position_index", distances(window).flatten())

    def forward(self, x: Grid) -> Grid:
        w, (high, wide) = self.window, x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -wide % w, 0, -high % w))
        sides = x.shape[1:3]
        # one window over the whole side leaves nothing to shift
        shifts = tuple(self.shift if side > w else 0 for side in sides)
        back = (-shifts[0], -shifts[1])
        out = self._in_windows(x.roll(back, (1, 2)), self._bias(sides, shifts))
        return out.roll(shifts, (1, 2))[:, :high, :wide]

    def _in_windows(self, x: Grid, bias: Tensor) -> Grid:
        w, (high, wide) = self.window, x.shape[1:3]
        parts = x.unflatten(2, (wide // w, w)).unflatten(1, (high // w, w)).transpose(2, 3)
        rows = parts.flatten(3, 4).flatten(1, 2)  # [f windows w*w c]
        q, k, v = self.qkv(rows).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype)).transpose(2, 3).flatten(3)
        parts = self.proj(seen).unflatten(2, (w, w)).unflatten(1, (high // w, wide // w))
        return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def _bias(self, sides: Sequence[int], shifts: Sequence[int]) -> Tensor:
        """[windows or 1, heads, w*w, w*w]: by distance, and against looking across the border that a shift sews
        up."""
        area = self.window**2
        bias = self.relative_position_bias_table[self.relative_position_index]
        bias = bias.view(area, area, self.heads).permute(2, 0, 1)[None]
        if not any(shifts):
            return bias
        region = [band(side, self.window, shift, bias.device) for side, shift in zip(sides, shifts, strict=True)]
        number = 3 * region[0][:, None] + region[1][None]
        cut = number.unflatten(1, (-1, self.window)).unflatten(0, (-1, self.window)).transpose(1, 2)
        cut = cut.reshape(-1, 1, area)
        return bias + torch.where(cut == cut.transpose(1, 2), 0.0, -100.0)[:, None]


def band(side: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Which of three parts a row belongs to: those before the last window, its own rows, the ones rolled in."""
    place = torch.arange(side, device=device)
    if not shift:
        return torch.zeros_like(place)
    return (place >= side - window).long() + (place >= side - shift).long()


def distances(window: int) -> Tensor:
    """[w*w, w*w]: the row of the bias table for the distance from one place of a window to another."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    place = torch.stack((y.flatten(), x.flatten()))
    apart = place[:, :, None] - place[:, None] + window - 1
    return apart[0] * (2 * window - 1) + apart[1]
