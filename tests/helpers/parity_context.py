"""LLaMA-VID's aggregator as the reference folder holds it: sizes, weights under our names, and the blocks that it was fed."""

from collections.abc import Iterator
from typing import Any

import torch
from step_checks import REFERENCE

from affectkit.blocks import TokenBlock, ViewBlock

LLAMA_VID = {
    "vlm_att_query": "qformer.queries",
    "vlm_att_ln": "norm",
    "vlm_att_projector": "query",
    "vlm_att_key_projector": "key",
    "vlm_att_val_projector": "value",
    "mm_projector": "content",
    "vlm_att_encoder": "qformer.model",
}


def from_llama_vid(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for key, value in weights.items():
        head, _, tail = key.removeprefix("model.").partition(".")
        if head in LLAMA_VID and not key.endswith("position_ids"):
            tail = tail.removeprefix("bert.").replace("embeddings.LayerNorm", "embeddings.layernorm")
            tail = tail.replace("attention.self.", "attention.attention.")
            renamed[".".join(p for p in (LLAMA_VID[head], tail) if p)] = value
    return renamed


def sizes_of(meta: dict[str, Any], weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Settings of `context_content` for that set."""
    bert = meta["config"]["bert"]
    return {
        "queries": meta["config"]["num_query"],
        "hidden": bert["hidden_size"],
        "layers": bert["num_hidden_layers"],
        "heads": bert["num_attention_heads"],
        "intermediate": bert["intermediate_size"],
        "text_positions": bert["max_position_embeddings"],
        "most_text": bert["max_position_embeddings"],
        "vocab": len(weights["model.vlm_att_encoder.bert.embeddings.word_embeddings.weight"]),
        "tokenizer": str(REFERENCE / "llamavid_context"),
    }


def cases(meta: dict[str, Any], inputs: dict[str, torch.Tensor]) -> Iterator[tuple[str, TokenBlock, ViewBlock]]:
    """(name, frames, question): stills, each under all its questions, and a clip."""
    stills, clip, queries = inputs["still_features"], inputs["frame_features"], meta["config"]["num_query"]
    named = [(f"still{i}", stills[i : i + 1]) for i in range(len(stills))] + [("video0", clip)]
    for case, frames in named:
        ids = inputs[f"{case}.text_ids"][:: len(frames)]
        mask = inputs[f"{case}.attention_mask_query_plus_text"][:: len(frames), queries:].bool()
        whole = frames[None].expand(len(ids), -1, -1, -1)
        there = torch.ones(whole.shape[:3], dtype=torch.bool)
        yield case, TokenBlock("x", whole, there), ViewBlock("question", ids, mask)
