"""EVA's vision transformer: normalised images to patches and class token, before or after the final norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from affectkit_plugins.encoders._frames_net import Found, FrameEncoder, Images, blocks, framed
from affectkit_plugins.encoders._layouts_net import EVA, renamed
from affectkit_plugins.encoders._load_net import transformer
from affectkit_plugins.encoders.eva_clip_g import FAMILY, Settings
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import InstructBlipVisionModel


class EvaVision(nn.Module):
    """Images [f c h x] to {patches [f n d], cls [f 1 d]}, {tokens [f 1+n d]} or {pooled [f 1 d], cls}."""

    def __init__(self, model: Any, settings: Settings) -> None:
        super().__init__()
        self.model, self.pool = model, settings.pool
        self.normed, self.eps = settings.norm == "after", settings.norm_eps
        if not self.normed:
            model.post_layernorm = nn.Identity()

    def forward(self, images: Images) -> Found:
        tokens = self.model.encoder(self.model.embeddings(images)).last_hidden_state
        if self.normed:
            norm = self.model.post_layernorm
            # In float32 whatever the tower's own precision, as in BLIP-2.
            tokens = F.layer_norm(
                tokens.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float(), self.eps
            ).to(tokens.dtype)
        if self.pool == "all":
            return {"tokens": tokens}
        return blocks(tokens[:, 1:], tokens[:, :1], self.pool)


def convert(state: Mapping[str, Tensor], known: Mapping[str, Any]) -> dict[str, Tensor]:
    """`eva_vit_g.pth` to our names; a file without the final norm leaves it at 1 and 0, as Emotion-LLaMA's
    code does."""
    found = renamed(state, EVA, known["layers"])
    found.setdefault("post_layernorm.weight", torch.ones(known["width"]))
    found.setdefault("post_layernorm.bias", torch.zeros(known["width"]))
    return found


def resize_positions(model: Any, size: int) -> None:
    """Interpolate the learned positions to images of `size` pixels (bicubic, the class entry kept)."""
    embeddings = model.embeddings
    if size == embeddings.image_size:
        return
    positions, side = embeddings.position_embedding.data, size // embeddings.patch_size
    old = embeddings.image_size // embeddings.patch_size
    grid = positions[:, 1:].unflatten(1, (old, old)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid.float(), size=(side, side), mode="bicubic", align_corners=False)
    grid = grid.permute(0, 2, 3, 1).flatten(1, 2).to(positions.dtype)
    embeddings.position_embedding = nn.Parameter(torch.cat((positions[:, :1], grid), dim=1))
    embeddings.image_size = model.config.image_size = size
    embeddings.num_patches, embeddings.num_positions = side * side, side * side + 1


def encoder(settings: Settings) -> FrameEncoder:
    """The encoder as a step, with pretrained or random weights."""
    model, origin = transformer(InstructBlipVisionModel, FAMILY, settings, prefix="vision_model", convert=convert)
    resize_positions(model, settings.size)
    return framed(EvaVision(model, settings), settings.look(), origin)
