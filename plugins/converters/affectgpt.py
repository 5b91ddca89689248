"""AffectGPT's checkpoints of 2025 in, with projections by attention or by Q-Former."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from affectkit_plugins._values import at_least

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    from affectkit_plugins.converters.affectgpt_net import AffectGPT

STEPS = {"video": "face.projector", "audio": "audio.projector", "multi": "multi.fusion"}
PORTS = {"video": "face.encoder", "audio": "audio.encoder"}


@dataclass(frozen=True)
class Settings:
    """AffectGPT's published checkpoints of 2025 (`checkpoint_000060_loss_….pth`).

    Such a file holds what trained: LoRA of rank 16 on the seven linear layers of each block of Qwen2.5, and
    projections of picture, sound and both. Whether these are by attention or by Q-Former is told from the keys, for
    each by itself; for Q-Formers the recipe's steps are replaced, with queries, layers and positions as the file has
    them. The projection of still images is not used. The layout was read from the code that writes it (Lian et al.
    2025, repository zeroQiaoba/AffectGPT at d961cab), not compared with a published file.
    """

    recipe: str = "paper/affectgpt"
    """The recipe that the weights belong to."""
    steps: dict[str, str] = field(default_factory=lambda: dict(STEPS))
    """Where the projection of `video` (faces or frames), `audio` and both (`multi`) goes: a step of the recipe."""
    ports: dict[str, str] = field(default_factory=lambda: dict(PORTS))
    """What a Q-Former of both reads as `video` and as `audio`: a step or block of the recipe."""
    heads: int = 12
    """Attention heads of the Q-Formers, which no file states."""

    def problems(self) -> list[tuple[str, str]]:
        """Names that are not these, and steps that are no addresses."""
        wrong = at_least(self, 1, "heads")
        if set(self.steps) != set(STEPS):
            wrong.append(("steps", f"must have {', '.join(STEPS)}, has {', '.join(self.steps) or 'nothing'}"))
        if set(self.ports) != set(PORTS):
            wrong.append(("ports", f"must have {', '.join(PORTS)}, has {', '.join(self.ports) or 'nothing'}"))
        return wrong + [
            ("steps", f"{a!r} is no address `stream.step`") for a in self.steps.values() if a.count(".") != 1
        ]


def build(settings: Settings) -> AffectGPT:
    """An importer."""
    from affectkit_plugins.converters.affectgpt_net import AffectGPT

    return AffectGPT(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("converter", "affectgpt", Settings, build)]
