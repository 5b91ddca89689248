"""Face-api's tiny detector, 0.19 MB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectkit_plugins._values import at_least
from affectkit_plugins.encoders._face_api_files import DETECTOR, source_faults

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    from affectkit_plugins.detectors.face_api_net import FaceApiDetector


@dataclass(frozen=True)
class Settings:
    """Face-api's tiny detector (npm `@vladmandic/face-api`, MIT): boxes with a score, no landmarks.

    A picture in which nothing is found is looked at again with a black border, which finds faces that fill it. Its boxes are
    those of the package, as fractions of the picture.
    """

    source: str = ""
    """Folder of the package's files (`model`); empty for random weights, which find nothing."""
    size: int = 224
    """Side of the square that a picture is resized to, in pixels; a multiple of 32. Larger ones (the package's own is 416) find
    smaller faces and miss some that fill the picture."""
    confidence: float = 0.5
    """Least score of a face, 0 to 1."""
    overlap: float = 0.4
    """Of two boxes that share more than this of their union the surer one stays."""
    border: float = 1.0
    """Width of that black border as a fraction of the picture; 0 looks once only."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = at_least(self, 32, "size")
        if self.size % 32:
            found.append(("size", f"{self.size} is not a multiple of 32"))
        for name in ("confidence", "overlap"):
            if not 0 < getattr(self, name) <= 1:
                found.append((name, f"must be above 0 and at most 1, got {getattr(self, name)}"))
        if not 0 <= self.border <= 2:
            found.append(("border", f"must be between 0 and 2, got {self.border}"))
        return found + source_faults(self.source, DETECTOR)


def build(settings: Settings) -> FaceApiDetector:
    """The detector; its network loads on the first call."""
    from affectkit_plugins.detectors.face_api_net import FaceApiDetector

    return FaceApiDetector(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [Piece("detector", "face_api", Settings, build, needs=("torch", "torchvision"))]
