"""LLaMA-VID's published weights in: the base that EMO-LLaMA starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    from affectkit_plugins.converters.llama_vid_net import LlamaVid

ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Settings:
    """LLaMA-VID's published weights: a folder of shards with their index, or the file of its pretrained projectors.

    The shards hold the language model, the Q-Former with its words, context attention and content projector; a copy
    of the vision tower may lie beside them. `mm_projector.bin` of the pretraining stage has no language model. What
    EMO-LLaMA adds (miner, face tokens, LoRA) is in no such file and trains from its start. The layout was read from the
    code that writes it (Li et al. 2024, repository dvlab-research/LLaMA-VID), not compared with published files.
    """

    recipe: str = "paper/emo_llama"
    """The recipe that the weights belong to."""
    tokens: str = "scene.tokens"
    """The step that makes context and content tokens."""
    vision: str = "scene.encoder"
    """The step that holds the vision tower."""
    tower: Literal["leave", "take"] = "leave"
    """What becomes of a copy of the vision tower: left, since the published code reads the tower from a file of its own
    in finer numbers, or taken."""
    tower_layers: int = 39
    """How many of the tower's blocks are used; BLIP-2 left the last of its 40 out."""
    adapted: tuple[str, ...] = ADAPTED
    """Linear layers of the language model that have an adapter in the recipe; empty where `backbone.lora` is null."""

    def problems(self) -> list[tuple[str, str]]:
        """Steps that are no addresses, and counts that cannot be."""
        steps = {"tokens": self.tokens, "vision": self.vision}
        wrong = [(name, "must be an address `stream.step`") for name, step in steps.items() if step.count(".") != 1]
        return wrong + ([("tower_layers", "must be at least 1")] if self.tower_layers < 1 else [])


def build(settings: Settings) -> LlamaVid:
    """An importer."""
    from affectkit_plugins.converters.llama_vid_net import LlamaVid

    return LlamaVid(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("converter", "llama_vid", Settings, build)]
