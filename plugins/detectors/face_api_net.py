"""The tiny detector: pictures to boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from affectkit_plugins.encoders._bilinear import resized
from affectkit_plugins.encoders._face_api_net import TinyDetector, loaded
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import nms

from affectkit import Face

if TYPE_CHECKING:
    from affectkit_plugins.detectors.face_api import Settings

MEAN = (117.001, 114.697, 97.404)
ANCHORS = ((1.603231, 2.094468), (6.041143, 7.080126), (2.882459, 3.518061), (4.266906, 5.178857), (9.041765, 10.66308))
"""Widths and heights of the five anchors, in places of the map."""


class FaceApiDetector:
    """Frames to faces, surest first. The network is read on the first call, so that the detector can be sent to other
    processes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.net: TinyDetector | None = None

    def __call__(self, frames: list[np.ndarray]) -> list[list[Face]]:
        """The faces of each frame, surest first."""
        if self.net is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)  # random weights, too, are the same in every process
                net, _ = loaded(TinyDetector(), self.settings.source, "tiny_face_detector_model")
            self.net = net.eval()
        return [self._frame(self.net, frame) for frame in frames]

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "net": None}

    def _frame(self, net: TinyDetector, frame: np.ndarray) -> list[Face]:
        height, width = frame.shape[:2]
        for border in dict.fromkeys((0.0, self.settings.border)):
            high, wide = round(height * border), round(width * border)
            padded = np.pad(frame, ((high, high), (wide, wide), (0, 0)))
            if faces := self.find(net, padded):
                return [Face(_moved(face.box, -wide, -high), face.score) for face in faces]
        return []

    def find(self, net: TinyDetector, frame: np.ndarray) -> list[Face]:
        """The faces of a picture as it is, boxes in its pixels."""
        height, width = frame.shape[:2]
        side = max(height, width)
        square = np.pad(frame, ((0, side - height), (0, side - width), (0, 0)))
        image = (resized(square, self.settings.size) - np.array(MEAN, np.float32)) / 255
        with torch.no_grad():
            found = net(torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32)))[0]
        size = self.settings.size
        parts = size / round(width * size / side), size / round(height * size / side)
        rows = boxes(found, *parts)
        rows = rows[rows[:, 4] > self.settings.confidence]
        rows = rows[nms(rows[:, :4], rows[:, 4], self.settings.overlap)]  # surest first
        scale = torch.tensor([width, height, width, height, 1.0])
        return [Face((x0, y0, x1, y1), score) for x0, y0, x1, y1, score in (rows * scale).tolist()]


def boxes(found: Float[Tensor, "n n 5 5"], across: float, down: float) -> Float[Tensor, "k 5"]:
    """x0 y0 x1 y1 of every anchor at every place, in fractions of the picture, and its score; `across` and `down` say how many
    pictures the square holds in its width and height."""
    n = len(found)
    there = torch.arange(n, dtype=torch.float32)
    anchors = torch.tensor(ANCHORS)
    parts = torch.tensor([across, down])
    middle = torch.stack([there[None, :, None].expand(n, n, 5), there[:, None, None].expand(n, n, 5)], -1)
    middle = (middle + found[..., :2].sigmoid()) / n * parts
    half = found[..., 2:4].exp() * anchors / n * parts / 2
    return torch.cat([middle - half, middle + half, found[..., 4:].sigmoid()], -1).reshape(-1, 5)


def _moved(box: tuple[float, float, float, float], x: int, y: int) -> tuple[float, float, float, float]:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y
