"""Families of networks by what they take in, as `model_type` of a config.json names them: a source of another kind shows
before torch is loaded. A family that is not listed is left to what builds it."""

from __future__ import annotations

from collections.abc import Collection

from affectkit_plugins._values import Faults
from affectkit_plugins.encoders._sizes import read_json

from affectkit import weights

FAMILIES = {
    "speech": ("wav2vec2", "wav2vec2-conformer", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "sew"),
    "whisper": ("whisper",),
    "pictures": ("vit", "deit", "beit", "swin", "resnet", "convnext", "dinov2", "siglip", "clip", "clip_vision_model", "vit_mae"),
    "text": ("bert", "roberta", "xlm-roberta", "distilbert", "mpnet", "albert", "deberta", "deberta-v2", "electra"),
    "llm": ("llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "gpt2", "opt", "gpt_neox"),
}  # fmt: skip
"""`model_type`s of transformers."""
CAUSAL = "ForCausalLM"
"""In the architecture of a network that goes on with a text, whatever its family."""


def foreign(source: str, what: str, kinds: Collection[str]) -> Faults:
    """For `problems`: a folder here that holds a network of another kind than these, where `what` is wanted."""
    config = read_json(source, "config.json") or {}
    family = str(config.get("model_type", ""))
    kind = next((kind for kind, names in FAMILIES.items() if family in names), "")
    writes = "llm" in kinds and CAUSAL in str(config.get("architectures"))
    if not kind or kind in kinds or writes or weights.random():
        return []
    return [("source", f"{source} holds a network of the family {family}, no {what}")]
