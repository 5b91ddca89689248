"""What published files of weights look like from their keys, for the message about a file of another kind."""

from __future__ import annotations

import re
from collections.abc import Collection

KNOWN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("an Emotion-LLaMA or MiniGPT-v2 checkpoint", (r"llama_proj\.", r"llama_model\..*lora_A\.weight")),
    ("an AffectGPT checkpoint", (r"affectgpt_proj\.", r"audio_llama_proj\.", r"llama_model\..*lora_A\.default\.weight")),
    ("a branch of Video-LLaMA or AffectGPT v1", (r"(video|audio)_Qformer\.", r"(audio_)?llama_proj\.")),
    ("LLaMA-VID (or its pretrained projectors)", (r"(model\.)?vlm_att_",)),
    ("a LLaVA model without the context attention of LLaMA-VID", (r"(model\.)?mm_projector\.",)),
    ("FaceXFormer, which the encoder facexformer takes as its source", (r"face_decoder\.",)),
    ("a Q-Former of BLIP-2 or InstructBLIP", (r"Qformer\.bert\.",)),
    ("EVA's vision transformer, which the encoder eva_clip_g takes as its source", (r"blocks\.\d+\.attn\.q_bias", r"cls_token")),
    ("a masked autoencoder (MAE or VideoMAE), which the encoders vit_mae and videomae take as their source",
     (r"(encoder\.)?blocks\.\d+\.attn\.(qkv|q_bias)", r"(encoder\.)?patch_embed\.")),
    ("a LoRA adapter of peft, which is read beside its base model", (r"base_model\.model\..*lora_A",)),
    ("a language model of transformers, which backbone.source names", (r"(model\.)?layers\.\d+\.", r"(model\.)?embed_tokens\.")),
)  # fmt: skip
"""A kind of file, and patterns of which each begins at least one of its keys; the first that fits counts."""


def looks_like(keys: Collection[str]) -> str:
    """Which known kind of file has such keys; empty where none has."""
    for kind, patterns in KNOWN:
        if all(any(re.match(pattern, key) for key in keys) for pattern in patterns):
            return kind
    return ""


def wrong_file(keys: Collection[str], wanted: str) -> tuple[str, str]:
    """(what is wrong, the nearest fix) for a file without the keys that `wanted` names."""
    kind = looks_like(keys)
    few = ", ".join(sorted(keys)[:3])
    seen = f"it looks like {kind}" if kind else f"its first keys are {few}" if few else "it is empty"
    return f"has no {wanted}: {seen}", "give a checkpoint of this layout"
