"""VideoMAE's encoder: the real frames of a clip, together, to tokens of one time step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from affectkit_plugins.encoders._frames_net import Found, FrameEncoder, in_parts
from affectkit_plugins.encoders._layouts_net import VIDEO_MAE, renamed
from affectkit_plugins.encoders._load_net import transformer
from affectkit_plugins.encoders.videomae import FAMILY, Settings
from jaxtyping import Bool, Int, Num
from torch import Tensor
from transformers import VideoMAEModel

from affectkit.blocks import TokenBlock, ViewBlock


def evenly(mask: Bool[Tensor, "b t"], count: int) -> Int[Tensor, "b count"]:
    """Positions [b count] of `count` real frames of each row, in order, evenly drawn; zeros where a row has
    none."""
    real = mask.sum(1, keepdim=True)
    # The i-th of `count` equal parts of the real frames, at its middle: all of them, once, where there
    # are `count`.
    steps = torch.arange(count, device=mask.device)
    rank = torch.div((2 * steps + 1) * real, 2 * count, rounding_mode="floor")
    order = (~mask).to(torch.int8).argsort(dim=1, stable=True)
    return order.gather(1, rank.clamp(max=mask.shape[1] - 1))


class VideoMae(FrameEncoder):
    """Pixels [b t c h x] to {patches [b 1 n d]} or {pooled [b 1 1 d]}; rows without a real frame give
    zeros."""

    def __init__(self, model: Any, pool: str, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(model, mean, std)
        self.pool, self.count = pool, int(model.config.num_frames)

    def forward(self, pixels: ViewBlock) -> dict[str, TokenBlock]:
        rows = pixels.mask.any(1).nonzero().squeeze(1)
        nothing = rows.numel() == 0
        rows = rows.new_zeros(1) if nothing else rows
        picks = evenly(pixels.mask[rows], self.count)
        clips = pixels.values[rows[:, None], picks]
        ((name, tokens),) = in_parts(self.net, self.clips, clips, self.count).items()
        tokens = tokens * 0 if nothing else tokens
        full = tokens.new_zeros(len(pixels.mask), *tokens.shape[1:]).index_copy(0, rows, tokens)
        mask = pixels.mask.any(1)[:, None, None].expand(-1, 1, full.shape[1])
        return {name: TokenBlock(name, full[:, None], mask)}

    def clips(self, clips: Num[Tensor, "f n 3 h x"]) -> Found:
        """The block of some clips of `count` frames, pixels 0 to 255."""
        images = self.normalised(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        tokens = self.net(images).last_hidden_state
        return {"patches": tokens} if self.pool == "none" else {"pooled": tokens.mean(1, keepdim=True)}


def encoder(settings: Settings) -> VideoMae:
    """The encoder as a step, with pretrained or random weights."""
    look = settings.look()
    model, origin = transformer(
        VideoMAEModel, FAMILY, settings, convert=lambda state, known: renamed(state, VIDEO_MAE, known["layers"])
    )
    mean, std = (look.mean, look.std) if settings.normalise else ((0.0,) * 3, (1.0,) * 3)
    step = VideoMae(model, settings.pool, mean, std)
    step.weights_origin = origin
    return step
