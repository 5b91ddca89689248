"""OpenCV's Haar cascade for frontal faces, whose wheels of version 4 carry the cascade: works offline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affectkit_plugins._values import at_least

from affectkit.data.faces import Face
from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Settings:
    """OpenCV's Haar cascade: frontal faces only, no landmarks, one light package beside any NumPy.

    Viola and Jones 2001, "Rapid object detection using a boosted cascade of simple features". A picture in which
    nothing is found is looked at again with a black border, which finds faces that fill it.
    """

    least: float = 0.15
    """Smallest face, as a fraction of the picture's shorter side."""
    neighbours: int = 5
    """How many overlapping hits make a face; more means fewer false ones."""
    scale: float = 1.1
    """Step between the sizes that are tried; nearer to 1 is slower and finds more."""
    border: float = 0.5
    """Width of that black border as a fraction of the picture; 0 looks once only."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = []
        if not 0 < self.least < 1:
            found.append(("least", f"must be between 0 and 1, got {self.least}"))
        found += at_least(self, 1, "neighbours")
        if self.scale <= 1:
            found.append(("scale", f"must be more than 1, got {self.scale}"))
        if not 0 <= self.border <= 2:
            found.append(("border", f"must be between 0 and 2, got {self.border}"))
        return found


class HaarDetector:
    """Frames to faces. The cascade is read on the first call, so that the detector can be sent to other processes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.cascade: Any = None

    def __call__(self, frames: list[np.ndarray]) -> list[list[Face]]:
        """The faces of each frame, largest first."""
        if self.cascade is None:
            self.cascade = _cascade()
        return [self._frame(frame) for frame in frames]

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "cascade": None}

    def _frame(self, frame: np.ndarray) -> list[Face]:
        import cv2

        height, width = frame.shape[:2]
        side = max(20, round(self.settings.least * min(height, width)))
        grey = cv2.equalizeHist(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        for border in dict.fromkeys((0.0, self.settings.border)):
            high, wide = round(height * border), round(width * border)
            padded = cv2.copyMakeBorder(grey, high, high, wide, wide, cv2.BORDER_CONSTANT, value=0)
            hits, _, weights = self.cascade.detectMultiScale3(
                padded, self.settings.scale, self.settings.neighbours, minSize=(side, side), outputRejectLevels=True
            )
            found = [_face(hit, float(weight), wide, high) for hit, weight in zip(hits, weights, strict=True)]
            faces = [face for face in found if _plausible(face, width, height)]
            if faces:
                return sorted(faces, key=lambda face: -face.area)
        return []


def _face(hit: Any, weight: float, wide: int, high: int) -> Face:
    x, y, w, h = (int(v) for v in hit)
    score = weight / (1 + weight) if weight > 0 else 0.0  # the last stage's margin, 0 and up; no probability
    return Face((x - wide, y - high, x - wide + w, y - high + h), score)


def _plausible(face: Face, width: int, height: int) -> bool:
    """Whether the face has its centre in the picture and is not much larger than it (hits on the black border)."""
    x0, y0, x1, y1 = face.box
    inside = 0 <= (x0 + x1) / 2 < width and 0 <= (y0 + y1) / 2 < height
    return inside and face.area <= 1.5 * width * height


def _cascade() -> Any:
    from pathlib import Path

    import cv2

    path = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
    if not path.is_file():
        what = f"OpenCV {cv2.__version__} comes without Haar cascades"
        raise InputError(Problem("detector haar", what, "pip install 'affectkit[face-light]' (OpenCV 4, headless)"))
    return cv2.CascadeClassifier(str(path))


def build(settings: Settings) -> HaarDetector:
    """The detector; its cascade loads on the first call."""
    return HaarDetector(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [Piece("detector", "haar", Settings, build, needs=("cv2",), extra="face-light")]
