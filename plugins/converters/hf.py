"""The language model of a run as transformers and peft load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    from affectkit_plugins.converters.hf_net import HuggingFace


@dataclass(frozen=True)
class Settings:
    """The language model of a run in the layout of `save_pretrained`: safetensors, tokenizer, LoRA merged or as an
    adapter of peft.

    Merged weights are W + (alpha / rank) B A (Hu et al. 2021, arXiv:2106.09685, section 4.1), added in float32 and
    rounded once to the model's own format. With an adapter the base model is named by its source; a base that trained,
    or has no published source, is written too, into the folder `base`.
    """

    lora: Literal["merge", "adapter"] = "merge"
    """What becomes of low-rank adapters: added to the weights, or a folder of peft of their own."""


def build(settings: Settings) -> HuggingFace:
    """An exporter."""
    from affectkit_plugins.converters.hf_net import HuggingFace

    return HuggingFace(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("converter", "hf", Settings, build, needs=("transformers", "peft"))]
