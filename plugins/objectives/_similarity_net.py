"""What objectives over cosines share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

MOST = 100.0
"""The most that cosines are multiplied by, as in CLIP."""


class Similarity(nn.Module):
    """Cosines of rows, divided by a temperature that is learned or fixed."""

    def __init__(self, temperature: float, learned: bool) -> None:
        super().__init__()
        scale = torch.tensor(-math.log(temperature))
        if learned:
            self.log_scale = nn.Parameter(scale)
        else:
            self.register_buffer("log_scale", scale)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """[a d], [b d] -> [a b], in float32 also where all else is in less."""
        with torch.autocast(one.device.type, enabled=False):
            cosines = normalize(one.float(), dim=-1) @ normalize(other.float(), dim=-1).T
            with torch.no_grad():  # as in CLIP: clamped in place, so that it learns to come down again
                self.log_scale.clamp_(max=math.log(MOST))
            return cosines * self.log_scale.exp()
