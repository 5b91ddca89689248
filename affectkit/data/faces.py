"""Faces in frames: what a detector returns, linking over time, crops. `affectkit.data.views` decides whose box is cut."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from affectkit.raw import RawPixels

Box = tuple[float, float, float, float]
"""x0 y0 x1 y1 in pixels, origin at the upper left corner, x1 and y1 just outside."""


@dataclass(frozen=True)
class Face:
    """One face that a detector found in one frame."""

    box: Box
    """x0 y0 x1 y1 in pixels of that frame; may reach beyond its border."""
    score: float = 1.0
    """How sure the detector is, 0 to 1; 1 where it does not say."""
    landmarks: tuple[tuple[float, float], ...] = ()
    """x and y of the detector's points in pixels, in the order that it documents; empty where it finds none."""

    @property
    def area(self) -> float:
        """Square pixels."""
        x0, y0, x1, y1 = self.box
        return max(0.0, x1 - x0) * max(0.0, y1 - y0)


Detector = Callable[[list["np.ndarray"]], list[list[Face]]]
"""Frames (uint8 [h w 3], RGB, sizes may differ) to the faces of each."""


def overlap(one: Box, two: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, two)]
    return both / (sum(areas) - both)


def _closeness(one: Box, two: Box) -> float:
    """Intersection over union; for boxes apart, minus the distance of their centres in sides of the larger one."""
    shared = overlap(one, two)
    if shared > 0:
        return shared
    side = max(one[2] - one[0], one[3] - one[1], two[2] - two[0], two[3] - two[1], 1e-6)
    dx = (one[0] + one[2] - two[0] - two[2]) / 2
    dy = (one[1] + one[3] - two[1] - two[3]) / 2
    return -((dx * dx + dy * dy) ** 0.5) / side


def link(found: Sequence[Sequence[Face]]) -> list[list[Face | None]]:
    """The persons in a row of frames: one list for each, with their face in every frame or None, largest first.

    Greedy: each frame's faces go to the tracks whose last boxes they overlap most, or (the picked frames may be far
    apart in time) lie nearest to, within one and a half face sides. Size is the area summed over the frames, so that
    a face that stays counts more than a large one that passes by.
    """
    tracks: list[list[Face | None]] = []
    last: list[Box] = []
    for frame, faces in enumerate(found):
        pairs = sorted(
            ((_closeness(last[t], face.box), t, f) for t in range(len(tracks)) for f, face in enumerate(faces)),
            key=lambda p: (-p[0], p[1], p[2]),
        )
        matched: dict[int, int] = {}
        for closeness, t, f in pairs:
            if closeness >= -1.5 and t not in matched and f not in matched.values():
                matched[t] = f
        for t, track in enumerate(tracks):
            face = faces[matched[t]] if t in matched else None
            track.append(face)
            last[t] = face.box if face else last[t]
        for f, face in enumerate(faces):
            if f not in matched.values():
                tracks.append([None] * frame + [face])
                last.append(face.box)
    return sorted(tracks, key=lambda track: -sum(face.area for face in track if face))


def crop_box(box: Box, size: tuple[int, int], margin: float, square: bool) -> tuple[int, int, int, int] | None:
    """The pixels to cut for a face box in a picture of `size` (height, width); None if there is nothing to cut.

    The box grows by `margin` of its width and height on each side. Square: by the longer side, around its centre, and
    it may reach beyond the picture. Otherwise it is clipped to the picture.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    height, width = size
    if not all(abs(v) < 1e6 for v in (x0, y0, x1, y1)):  # NaN is not < either
        return None
    if max(x1 - x0, y1 - y0) > BEYOND * max(size):
        return None
    if min(x1, width) - max(x0, 0) < 1 or min(y1, height) - max(y0, 0) < 1:
        return None
    wide, high = (x1 - x0) * (1 + 2 * margin), (y1 - y0) * (1 + 2 * margin)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    if square:
        side = max(1, round(max(wide, high)))
        left, top = round(cx - side / 2), round(cy - side / 2)
        return left, top, left + side, top + side
    left, top = max(0, round(cx - wide / 2)), max(0, round(cy - high / 2))
    right, bottom = min(width, round(cx + wide / 2)), min(height, round(cy + high / 2))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def cut(frame: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The pixels of `frame` inside `box`, a new array; black where the box lies outside the picture."""
    import numpy as np

    x0, y0, x1, y1 = box
    height, width = frame.shape[:2]
    out = np.zeros((y1 - y0, x1 - x0, frame.shape[2]), frame.dtype)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if left < right and top < bottom:
        out[top - y0 : bottom - y0, left - x0 : right - x0] = frame[top:bottom, left:right]
    return out


def paint_over(frame: np.ndarray, boxes: Sequence[Box], margin: float = 0.1, grey: int = 128) -> np.ndarray:
    """A copy of `frame` with each box, larger by `margin` on each side, painted grey."""
    out = frame.copy()
    for box in boxes:
        where = crop_box(box, frame.shape[:2], margin, square=False)
        if where is not None:
            out[where[1] : where[3], where[0] : where[2]] = grey
    return out


SILENCE = 1e-3
"""The largest amplitude (of 1) of a sound in which nothing is heard: 60 dB below full scale."""
BEYOND = 4.0
"""A box of more than this many times the picture's longer side is a mistake, not a face; its pixels would fill the memory."""

Notices = dict[str, str]
"""Name of a note (see `affectkit.evaluation.prediction.NOTES`) to what there is to say."""


def merge_notices(by_view: Mapping[str, Notices], views: Collection[str] | None = None) -> Notices:
    """The notes of these views, or of all, together; of two under one name the first view's."""
    found: Notices = {}
    for view, notes in by_view.items():
        found = found if views is not None and view not in views else notes | found
    return found


def people_notices(tracks: Sequence[Sequence[Face | None]], person: int) -> Notices:
    """Notes on the linked faces of a clip, largest first; a face that is in one frame of many may be a false detection."""
    if tracks and person >= len(tracks):
        return {"faceless": f"number {person} was asked for, counted from 0; people found: {len(tracks)}"}
    lasting = [t for t in tracks if sum(face is not None for face in t) >= min(2, len(t))]
    if len(lasting) < 2:
        return {}
    return {
        "people": f"{len(lasting)} people were found; number {person} by size of face, counted from 0, was followed"
    }


def face_notices(crops: RawPixels | None) -> Notices:
    """Whether any frame shows the face."""
    if crops is None:
        return {"faceless": "there is no picture"}
    return {} if crops.valid.any() else {"faceless": f"none was found in {len(crops.frames)} frames"}


def sound_notices(wave: np.ndarray | None, mended: Collection[str] = ()) -> Notices:
    """Whether anything is to be heard, and what was mended in it; `wave` is float, 1 at full scale."""
    told = {"mended": "; ".join(mended)} if mended else {}
    if wave is None or not len(wave):
        return {"soundless": "there is no sound"}
    return told if abs(wave).max() > SILENCE else {**told, "soundless": "its sound is silence"}
