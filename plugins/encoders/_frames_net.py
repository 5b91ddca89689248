"""Around every network that looks at single images: real frames in, normalised; tokens out, put back in their
places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from affectkit_plugins.encoders._fixed_net import Fixed
from torch import Tensor, nn

from affectkit.blocks import TokenBlock, ViewBlock


class Frames(Protocol):
    """A network from normalised images [f c h x] to its blocks, [f n d] each."""

    def __call__(self, images: Tensor) -> Mapping[str, Tensor]: ...


class FrameEncoder(nn.Module):
    """Tokens of each frame by itself. Frames that are masked out are not looked at: their tokens are zero and
    masked.

    Takes pixels [b t c h x] (0 to 255) and gives each block of `net` as [b t n d].
    """

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self.look = Fixed([list(mean), list(std)])

    def forward(self, pixels: ViewBlock) -> dict[str, TokenBlock]:
        mask = pixels.mask
        b, t = mask.shape
        rows = mask.flatten().nonzero().squeeze(1)
        nothing = rows.numel() == 0
        if nothing:
            # One black frame tells the shapes; its tokens are zeroed below.
            rows = torch.zeros(1, dtype=torch.long, device=mask.device)
        images = self.normalised(pixels.values.flatten(0, 1)[rows])
        out = {}
        for name, tokens in self.net(images).items():
            tokens = tokens * 0 if nothing else tokens
            full = tokens.new_zeros(b * t, *tokens.shape[1:]).index_copy(0, rows, tokens)
            out[name] = TokenBlock(name, full.unflatten(0, (b, t)), mask[..., None].expand(b, t, full.shape[1]))
        return out

    def normalised(self, frames: Tensor) -> Tensor:
        """Pixels 0 to 255 [f c h x] as the network was trained to see them, in its own dtype."""
        mean, std = self.look.values[:, :, None, None]
        return ((frames.float() / 255 - mean) / std).to(next(self.net.parameters()).dtype)


def blocks(patches: Tensor, cls: Tensor | None, pool: str) -> dict[str, Tensor]:
    """The blocks that a choice of pooling puts out: patches [f n d] and cls [f 1 d], or pooled [f 1 d] (and
    cls).

    `mean` is over the patches; `cls` takes the class token.
    """
    extra = {} if cls is None else {"cls": cls}
    if pool == "none":
        return {"patches": patches, **extra}
    if pool == "cls":
        assert cls is not None
        return {"pooled": cls}
    return {"pooled": patches.mean(1, keepdim=True), **extra}
