"""Two means, two weights, one sum."""

from __future__ import annotations

import torch
from affectkit_plugins.adapters._masked import block, masked_mean
from torch import nn

from affectkit.blocks import TokenBlock


class AttentionFusion(nn.Module):
    """video [b t n v], audio [b u m a] -> tokens [b 1 1 w]; a row needs one of the two."""

    def __init__(self, video: int, audio: int, common: int, llm: int) -> None:
        super().__init__()
        self.video_width = nn.Linear(video, common)
        self.audio_width = nn.Linear(audio, common)
        self.mix = nn.Linear(2 * common, common)
        self.weigh = nn.Linear(common, 2)
        self.projector = nn.Linear(common, llm)

    def begin_even(self) -> None:
        """Weights near one half each: a tenth of what is random is left, so that they can part."""
        nn.init.constant_(self.weigh.bias, 0.5)
        with torch.no_grad():
            self.weigh.weight.mul_(0.1)

    def forward(self, video: TokenBlock, audio: TokenBlock) -> dict[str, TokenBlock]:
        has = torch.stack((video.mask.any((1, 2)), audio.mask.any((1, 2))), 1)
        pair = torch.stack(
            (
                self.video_width(masked_mean(video.tokens, video.mask, (1, 2))),
                self.audio_width(masked_mean(audio.tokens, audio.mask, (1, 2))),
            ),
            1,
        ) * has.unsqueeze(2)
        weights = self.weigh(self.mix(pair.flatten(1)))
        fused = (weights.unsqueeze(2) * pair).sum(1)
        return block("tokens", self.projector(fused)[:, None, None], has.any(1)[:, None, None])
