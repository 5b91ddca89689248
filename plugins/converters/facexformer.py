"""FaceXFormer's published file in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectkit_plugins._values import at_least

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    from affectkit_plugins.converters.facexformer_net import WeightsReader


@dataclass(frozen=True)
class Settings:
    """FaceXFormer's `ckpts/model.pt`, a whole training state of 1.1 GB, as the weights of the encoder facexformer.

    The result is a folder that the encoder names as its `source`; a recipe then needs no training state beside it, and
    nothing of it is unpickled when it is loaded. The encoder reads `model.pt` itself as well. Sizes are told from the
    weights. The layout was read from the code that reads it (Narayan et al. 2024, repository Kartik-3004/facexformer at
    d4a268b), not compared with the published file.
    """

    heads: int = 8
    """Attention heads of the decoder, which the file does not state."""

    def problems(self) -> list[tuple[str, str]]:
        """Counts that cannot be."""
        return at_least(self, 1, "heads")


def build(settings: Settings) -> WeightsReader:
    """The reader of a network's file."""
    from affectkit_plugins.converters.facexformer_net import WeightsReader

    return WeightsReader(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("converter", "facexformer", Settings, build, tiny={"heads": 2})]
