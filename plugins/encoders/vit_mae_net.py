"""The encoder of a masked autoencoder: normalised images to patches and class token, nothing masked."""

from __future__ import annotations

from typing import Any

import torch
from affectkit_plugins.encoders._frames_net import Found, FrameEncoder, Images, blocks, framed
from affectkit_plugins.encoders._layouts_net import MAE, renamed
from affectkit_plugins.encoders._load_net import transformer
from affectkit_plugins.encoders.vit_mae import FAMILY, Settings
from torch import nn
from transformers import ViTMAEModel


class VitMae(nn.Module):
    """Images [f c h x] to {patches [f n d], cls [f 1 d]} or {pooled [f 1 d], cls}."""

    def __init__(self, model: Any, pool: str) -> None:
        super().__init__()
        model.config.mask_ratio = 0.0
        self.model, self.pool = model, pool

    def forward(self, images: Images) -> Found:
        # The model shuffles patches by sorting noise even where it masks none: rising noise keeps
        # them in order.
        n = self.model.embeddings.patch_embeddings.num_patches
        noise = torch.arange(n, device=images.device, dtype=torch.float32).expand(len(images), n)
        tokens = self.model(images, noise=noise).last_hidden_state
        return blocks(tokens[:, 1:], tokens[:, :1], self.pool)


def encoder(settings: Settings) -> FrameEncoder:
    """The encoder as a step, with pretrained or random weights."""
    model, origin = transformer(
        ViTMAEModel, FAMILY, settings, convert=lambda state, known: renamed(state, MAE, known["layers"])
    )
    return framed(VitMae(model, settings.pool), settings.look(), origin, settings.normalise)
