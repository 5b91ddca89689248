"""A small vision transformer: convolutions to patches, learned positions, pre-norm attention."""

from __future__ import annotations

import math

import torch
from affectkit_plugins.encoders._frames_net import Found, FrameEncoder, Images, blocks
from affectkit_plugins.encoders._pixels import HALF
from affectkit_plugins.encoders.image_patches import Settings
from torch import nn


class ImagePatches(nn.Module):
    """Images [f c h x] to {patches [f n d]} or {pooled [f 1 d]}."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        s = settings
        self.settings = s
        channels = 3 if s.colour == "rgb" else 1
        self.stem = (
            conv_stem(channels, s.width, s.patch)
            if s.stem == "conv"
            else nn.Conv2d(channels, s.width, s.patch, s.patch)
        )
        self.positions = nn.Parameter(torch.randn(1, (s.size // s.patch) ** 2, s.width) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                s.width,
                s.heads,
                s.hidden or 2 * s.width,
                s.dropout,
                "gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(s.layers)
        )
        self.norm = nn.LayerNorm(s.width)

    def forward(self, images: Images) -> Found:
        if self.settings.colour == "grey":
            # Luma of Rec. 601.
            images = (images * images.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
        if self.settings.standardise:
            images = (images - images.mean((1, 2, 3), keepdim=True)) / (images.std((1, 2, 3), keepdim=True) + 1e-2)
        tokens = self.stem(images).flatten(2).transpose(1, 2) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return blocks(self.norm(tokens), None, self.settings.pool)


def conv_stem(channels: int, width: int, patch: int) -> nn.Sequential:
    """3 x 3 convolutions of stride 2 down to patches, group norms between (a sample's value depends on itself
    alone)."""
    steps = int(math.log2(patch))
    widths = [channels, *(max(width >> (steps - 1 - i), 8) for i in range(steps - 1)), width]
    parts: list[nn.Module] = []
    for i in range(steps):
        parts.append(nn.Conv2d(widths[i], widths[i + 1], 3, stride=2, padding=1))
        if i < steps - 1:
            parts += [nn.GroupNorm(1, widths[i + 1]), nn.GELU()]
    return nn.Sequential(*parts)


def encoder(settings: Settings) -> FrameEncoder:
    """The encoder as a step, with pretrained or random weights."""
    return FrameEncoder(ImagePatches(settings), HALF, (0.25, 0.25, 0.25))
