"""Emotion-LLaMA's and MiniGPT-v2's checkpoints in, Emotion-LLaMA's feature folders out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    from affectkit_plugins.converters.emotion_llama_net import EmotionLlama

PROJECTORS = {
    "llama_proj": "patches.projector",
    "feats_llama_proj1": "face.projector",
    "feats_llama_proj2": "motion.projector",
    "feats_llama_proj3": "audio.projector",
    "cls_tk_llama_proj": "cls.projector",
}
FOLDERS = {"mae_340_UTT": "face", "maeV_399_UTT": "motion", "HL-UTT": "audio"}


@dataclass(frozen=True)
class Settings:
    """Emotion-LLaMA's published checkpoints, and the feature folders that its code reads.

    Reads `Emoation_LLaMA.pth`, `checkpoint_best.pth` and others of its training code, and the warm start
    `minigptv2_checkpoint.pth`, which has the first projection and LoRA alone. Such a file holds what trained: five
    projections and LoRA of rank 64 on the queries and values of Llama 2; a six-class head that nothing calls and the
    rotary table are not used. The final norm of the vision tower is in no known file and stays at 1 and 0, as in the
    published code, unless the file has it. The layout was read from the code that writes it (Cheng et al. 2024,
    repository ZebangCheng/Emotion-LLaMA at 4ee28d2), not compared with a published file.

    Feature folders hold one vector a clip: the mean of a block over all that is real in it.
    """

    recipe: str = "paper/emotion_llama"
    """The recipe that the weights belong to."""
    projectors: dict[str, str] = field(default_factory=lambda: dict(PROJECTORS))
    """A projection of the file to the step of the recipe that it goes into."""
    vision: str = "patches.encoder"
    """The step that holds the vision tower, whose final norm is set."""
    folders: dict[str, str] = field(default_factory=lambda: dict(FOLDERS))
    """A feature folder to the stream, step or block whose mean over time and tokens it holds; a stream stands for what
    its last step eats."""

    def problems(self) -> list[tuple[str, str]]:
        """Steps that are no addresses."""
        wrong = [
            ("projectors", f"{a!r} is no address `stream.step`") for a in self.projectors.values() if a.count(".") != 1
        ]
        return wrong + ([] if self.vision.count(".") == 1 else [("vision", "must be an address `stream.step`")])


def build(settings: Settings) -> EmotionLlama:
    """An importer and a feature layout."""
    from affectkit_plugins.converters.emotion_llama_net import EmotionLlama

    return EmotionLlama(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("converter", "emotion_llama", Settings, build)]
