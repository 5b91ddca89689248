"""CLIP's vision tower: normalised images to patches, class token or image embedding."""

from __future__ import annotations

from typing import Any

from affectkit_plugins.encoders._frames_net import Found, FrameEncoder, Images, blocks, framed
from affectkit_plugins.encoders._load_net import transformer
from affectkit_plugins.encoders.clip_vision import FAMILY, Settings
from torch import nn
from transformers import CLIPVisionModelWithProjection


class ClipVision(nn.Module):
    """Images [f c h x] to {patches [f n d], cls [f 1 d]} or {pooled [f 1 d]}."""

    def __init__(self, model: Any, take: int, pool: str) -> None:
        super().__init__()
        self.model, self.take, self.pool = model, take, pool

    def forward(self, images: Images) -> Found:
        if self.pool == "projected":
            return {"pooled": self.model(images).image_embeds[:, None]}
        if self.take == -1:
            tokens = self.model(images).last_hidden_state
        else:
            tokens = self.model(images, output_hidden_states=True).hidden_states[self.take]
        return blocks(tokens[:, 1:], tokens[:, :1], self.pool)


def encoder(settings: Settings) -> FrameEncoder:
    """The encoder as a step, with pretrained or random weights."""
    model, origin = transformer(CLIPVisionModelWithProjection, FAMILY, settings)
    return framed(ClipVision(model, settings.take, settings.pool), settings.look(), origin)
