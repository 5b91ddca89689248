"""Key maps from bare vision-transformer checkpoints (the layout of timm, MAE, VideoMAE, EVA) to transformers'
names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PartNames:
    """The parameter names of a vision transformer in one network of transformers."""

    block: str
    """Of block {i}."""
    parts: Mapping[str, str]
    """Inside a block: theirs -> ours (without .weight, .bias)."""
    top: Mapping[str, str]
    """Outside the blocks: whole keys."""
    qkv: tuple[str, str, str] | str
    """Three names, or one where the joint matrix is kept."""
    key_bias: bool = True
    """Whether the three have a bias for the keys too."""


EVA = PartNames(
    block="encoder.layers.{i}",
    parts={"norm1": "layer_norm1", "attn.proj": "self_attn.projection", "norm2": "layer_norm2",
           "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"},
    top={"cls_token": "embeddings.class_embedding", "pos_embed": "embeddings.position_embedding",
         "patch_embed.proj.weight": "embeddings.patch_embedding.weight",
         "patch_embed.proj.bias": "embeddings.patch_embedding.bias",
         "ln_vision.weight": "post_layernorm.weight", "ln_vision.bias": "post_layernorm.bias"},
    qkv="self_attn.qkv",
)  # fmt: skip
MAE = PartNames(
    block="layers.{i}",
    parts={"norm1": "layernorm_before", "attn.proj": "attention.o_proj", "norm2": "layernorm_after",
           "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"},
    top={"cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings",
         "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
         "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
         "norm.weight": "layernorm.weight", "norm.bias": "layernorm.bias"},
    qkv=("attention.q_proj", "attention.k_proj", "attention.v_proj"),
)  # fmt: skip
VIDEO_MAE = PartNames(
    block="encoder.layer.{i}",
    parts={"norm1": "layernorm_before", "attn.proj": "attention.output.dense", "norm2": "layernorm_after",
           "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"},
    top={"patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
         "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
         "norm.weight": "layernorm.weight", "norm.bias": "layernorm.bias"},
    qkv=("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    key_bias=False,
)  # fmt: skip


def renamed(state: Mapping[str, Tensor], names: PartNames, layers: int) -> dict[str, Tensor]:
    """The weights that the network has, under its names; what else the file holds (decoder, head, later
    blocks) is left."""
    # Pretraining checkpoints keep the encoder beside a decoder.
    state = {key.removeprefix("encoder."): value for key, value in state.items()}
    found = {ours: state[theirs] for theirs, ours in names.top.items() if theirs in state}
    for i in range(layers):
        block = names.block.format(i=i)
        for theirs, ours in names.parts.items():
            for kind in ("weight", "bias"):
                if (key := f"blocks.{i}.{theirs}.{kind}") in state:
                    found[f"{block}.{ours}.{kind}"] = state[key]
        found |= {f"{block}.{key}": value for key, value in _attention(state, f"blocks.{i}.attn", names).items()}
    return found


def _attention(state: Mapping[str, Tensor], attn: str, names: PartNames) -> dict[str, Tensor]:
    """Query, key and value weights; biases come joint (`qkv.bias`) or for queries and values alone (`q_bias`,
    `v_bias`)."""
    weight, bias = state.get(f"{attn}.qkv.weight"), state.get(f"{attn}.qkv.bias")
    if weight is None:
        return {}
    if bias is None and f"{attn}.q_bias" in state:
        query, value = state[f"{attn}.q_bias"], state[f"{attn}.v_bias"]
        bias = torch.cat((query, torch.zeros_like(value), value))
    if isinstance(names.qkv, str):
        return {f"{names.qkv}.weight": weight} | ({} if bias is None else {f"{names.qkv}.bias": bias})
    out = {f"{name}.weight": part for name, part in zip(names.qkv, weight.chunk(3), strict=True)}
    if bias is not None:
        parts = dict(zip(names.qkv, bias.chunk(3), strict=True))
        out |= {f"{name}.bias": part for name, part in parts.items() if names.key_bias or name != names.qkv[1]}
    return out
