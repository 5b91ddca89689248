"""Terms of published weights and data sets, as their owners state them; facts, no advice."""

from __future__ import annotations

from collections.abc import Sequence

TERMS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("llama-2", "llama2"), "Llama 2", "Llama 2 Community License"),
    (("emoation_llama", "emotion_llama", "checkpoint_best.pth", "mer2024-best"), "Emotion-LLaMA's weights",
     "research use only; code BSD-3-Clause, documents CC BY-NC 4.0"),
    (("minigptv2", "minigpt-v2"), "MiniGPT-v2's weights", "code BSD-3-Clause; built on Llama 2, whose licence holds too"),
    (("affectgpt", "highlevelfilter4"), "AffectGPT's weights", "code Apache-2.0; a research preview, non-commercial use only"),
    (("llama-vid", "llama_vid", "llamavid"), "LLaMA-VID's weights",
     "CC BY-NC 4.0, and the Llama 2 Community License of its base; code Apache-2.0"),
    (("facexformer",), "FaceXFormer's weights", "MIT"),
    (("vicuna-7b-v1.5", "vicuna-13b-v1.5"), "Vicuna v1.5", "Llama 2 Community License"),
    (("mer2023", "mer2024", "merr"), "MER2023, MER2024 and MERR",
     "agreement of the challenge: academic, not commercial; no handing on of data or of files derived from it, labels "
     "included; models trained on it not commercial"),
    (("chinese-hubert",), "chinese-hubert-large", "its own terms: check before handing it on"),
    (("eva_vit_g", "eva-clip", "blip2"), "EVA-CLIP ViT-G and BLIP-2", "their own terms: check before handing them on"),
    (("dfew",), "DFEW", "agreement of the data set, research use"),
    (("emer",), "EMER", "agreement of the data set, research use"),
    (("qwen2.5-7b",), "Qwen2.5-7B", "Apache-2.0"),
)  # fmt: skip
"""Parts of a name (lower case), what it is, and its terms."""


def terms(sources: Sequence[str]) -> dict[str, str]:
    """The known licence terms of hub ids, paths and data sets."""
    told: dict[str, str] = {}
    for source in sources:
        name = source.lower()
        for parts, what, terms_ in TERMS:
            if any(part in name for part in parts):
                told[what] = terms_
    return told
