"""MediaPipe's face detection (BlazeFace), whose 0.10.21 wheel carries its models: works offline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit.data.faces import Face
from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    import numpy as np

POINTS = ("right eye", "left eye", "nose tip", "mouth", "right ear", "left ear")
"""The landmarks, in order; right and left are the person's."""


@dataclass(frozen=True)
class Settings:
    """MediaPipe's BlazeFace detector: fast, with six landmarks; the face model for clips of talking people.

    Bazarevsky et al. 2019, "BlazeFace: Sub-millisecond neural face detection on mobile GPUs". A picture in which
    nothing is found is looked at again with a black border, which finds faces that fill it.
    """

    model: Literal["near", "far", "both"] = "both"
    """`near` for faces within two metres, `far` for small ones within five; `both` tries far where near finds none."""
    confidence: float = 0.5
    """Least score of a face, 0 to 1."""
    border: float = 0.25
    """Width of that black border as a fraction of the picture; 0 looks once only."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = []
        if not 0 < self.confidence <= 1:
            found.append(("confidence", f"must be above 0 and at most 1, got {self.confidence}"))
        if not 0 <= self.border <= 2:
            found.append(("border", f"must be between 0 and 2, got {self.border}"))
        return found


class MediapipeDetector:
    """Frames to faces. Its graphs are made on the first call in each process: their threads do not survive a fork."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.graphs: list[Any] = []
        self.process = 0

    def __call__(self, frames: list[np.ndarray]) -> list[list[Face]]:
        """The faces of each frame, surest first."""
        import os

        if self.process != os.getpid():
            self.process, self.graphs = os.getpid(), self._graphs()
        return [self._frame(frame) for frame in frames]

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "graphs": [], "process": 0}

    def _graphs(self) -> list[Any]:
        from mediapipe.python.solutions.face_detection import FaceDetection

        which = {"near": (0,), "far": (1,), "both": (0, 1)}[self.settings.model]
        return [FaceDetection(model_selection=i, min_detection_confidence=self.settings.confidence) for i in which]

    def _frame(self, frame: np.ndarray) -> list[Face]:
        for graph in self.graphs:
            for border in dict.fromkeys((0.0, self.settings.border)):
                faces = _faces(graph, frame, border)
                if faces:
                    return faces
        return []


def _faces(graph: Any, frame: np.ndarray, border: float) -> list[Face]:
    """What one graph finds in one frame, in the frame's pixels."""
    import numpy as np

    height, width = frame.shape[:2]
    high, wide = round(height * border), round(width * border)
    padded = np.pad(frame, ((high, high), (wide, wide), (0, 0))) if border else np.ascontiguousarray(frame)
    full_height, full_width = padded.shape[:2]
    found = []
    for one in graph.process(padded).detections or ():
        place = one.location_data
        box = place.relative_bounding_box
        x, y = box.xmin * full_width - wide, box.ymin * full_height - high
        points = tuple((p.x * full_width - wide, p.y * full_height - high) for p in place.relative_keypoints)
        corners = (x, y, x + box.width * full_width, y + box.height * full_height)
        found.append(Face(corners, float(one.score[0]), points))
    return sorted(found, key=lambda face: -face.score)


def build(settings: Settings) -> MediapipeDetector:
    """The detector; its models load on the first call."""
    return MediapipeDetector(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [Piece("detector", "mediapipe", Settings, build, needs=("mediapipe",), extra="face")]
