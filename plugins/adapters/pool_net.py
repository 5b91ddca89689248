"""Means, groups and strides over masked tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from affectkit_plugins.adapters._masked import block, clean, in_one_row, masked_mean
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit.blocks import TokenBlock


class MeanPool(nn.Module):
    """tokens [b t n d] -> the mean over `axes` (1 time, 2 tokens), each of them kept with length 1."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, tokens: TokenBlock) -> dict[str, TokenBlock]:
        out, real = masked_mean(tokens.tokens, tokens.mask, self.axes), tokens.mask
        for axis in self.axes:
            out, real = out.unsqueeze(axis), real.any(axis, keepdim=True)
        return block("tokens", out, real)


class Statistics(nn.Module):
    """tokens [b t n d] -> [b 1 1 k*d]: k statistics over time and tokens, side by side."""

    def __init__(self, of: Sequence[Literal["mean", "std", "max"]]) -> None:
        super().__init__()
        self.of = tuple(of)

    def forward(self, tokens: TokenBlock) -> dict[str, TokenBlock]:
        values, mask = in_one_row(tokens)
        mean = masked_mean(values, mask, 1)
        found = {"mean": mean}
        if "std" in self.of:
            spread = masked_mean((values - mean.unsqueeze(1)).square(), mask, 1)
            found["std"] = (spread + 1e-8).sqrt()  # the slope of a root at 0 has no bound
        if "max" in self.of:
            found["max"] = values.masked_fill(~mask.unsqueeze(2), float("-inf")).amax(1)
        real = mask.any(1)
        out = clean(torch.cat([found[name] for name in self.of], 1), real)
        return block("tokens", out[:, None, None], real[:, None, None])


class Concat(nn.Module):
    """tokens [b t n d] -> [b t n/group d*group]; a group is real where any of its tokens is."""

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, tokens: TokenBlock) -> dict[str, TokenBlock]:
        spare = -tokens.tokens.shape[2] % self.group
        out = F.pad(clean(tokens.tokens, tokens.mask), (0, 0, 0, spare))
        real = F.pad(tokens.mask, (0, spare)).unflatten(2, (-1, self.group)).any(3)
        return block("tokens", out.unflatten(2, (-1, self.group)).flatten(3), real)


class Strided(nn.Module):
    """tokens [b t n d] -> [b t n/stride d] (or [b t/stride n d]); windows begin every `stride` and end at
    the right edge."""

    def __init__(
        self, how: Literal["mean", "max", "conv"], stride: int, kernel: int, over_time: bool, width: int
    ) -> None:
        super().__init__()
        self.how, self.stride, self.kernel, self.over_time = how, stride, kernel, over_time
        self.conv = nn.Conv1d(width, width, kernel, stride) if how == "conv" else None

    def forward(self, tokens: TokenBlock) -> dict[str, TokenBlock]:
        values, mask = tokens.tokens, tokens.mask
        if self.over_time:
            values, mask = values.transpose(1, 2), mask.transpose(1, 2)
        outer = mask.shape[:2]
        out, real = self._windows(values.flatten(0, 1), mask.flatten(0, 1))
        out, real = out.unflatten(0, outer), real.unflatten(0, outer)
        if self.over_time:
            out, real = out.transpose(1, 2), real.transpose(1, 2)
        return block("tokens", out, real)

    def _windows(
        self, values: Float[Tensor, "f m d"], mask: Bool[Tensor, "f m"]
    ) -> tuple[Float[Tensor, "f w d"], Bool[Tensor, "f w"]]:
        """values [f m d], mask [f m] -> [f m/stride d] and its mask."""
        count = -(-mask.shape[1] // self.stride)
        spare = (count - 1) * self.stride + self.kernel - mask.shape[1]
        values, mask = F.pad(clean(values, mask), (0, 0, 0, spare)), F.pad(mask, (0, spare))
        windows = mask.unfold(1, self.kernel, self.stride)
        if self.conv is not None:
            return self.conv(values.transpose(1, 2)).transpose(1, 2), windows.any(2)
        parts = values.unfold(1, self.kernel, self.stride).transpose(2, 3)
        if self.how == "mean":
            return masked_mean(parts, windows, 2), windows.any(2)
        lowest = parts.masked_fill(~windows.unsqueeze(3), float("-inf")).amax(2)
        return clean(lowest, windows.any(2)), windows.any(2)
