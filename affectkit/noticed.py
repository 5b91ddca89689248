"""What a person would want to know of what was looked at: no face, several people, no sound. Imports neither torch nor numpy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from affectkit.faces import Face
    from affectkit.raw import RawPixels

SILENCE = 1e-3
"""The largest amplitude (of 1) of a sound in which nothing is heard: 60 dB below full scale."""
Noticed = dict[str, str]
"""Name of a note (see `affectkit.score.NOTES`) to what there is to say."""


def told(by_view: Mapping[str, Noticed], views: Collection[str] | None = None) -> Noticed:
    """The notes of these views, or of all, together; of two under one name the first view's."""
    found: Noticed = {}
    for view, notes in by_view.items():
        found = found if views is not None and view not in views else notes | found
    return found


def people(tracks: Sequence[Sequence[Face | None]], person: int) -> Noticed:
    """What the linked faces of a clip, largest first, tell; a face in a single frame of many may be none."""
    if tracks and person >= len(tracks):
        return {"faceless": f"number {person} was asked for, counted from 0; people found: {len(tracks)}"}
    lasting = [t for t in tracks if sum(face is not None for face in t) >= min(2, len(t))]
    if len(lasting) < 2:
        return {}
    return {
        "people": f"{len(lasting)} people were found; number {person} by size of face, counted from 0, was followed"
    }


def face(crops: RawPixels | None) -> Noticed:
    """Whether any frame shows the face."""
    if crops is None:
        return {"faceless": "there is no picture"}
    return {} if crops.valid.any() else {"faceless": f"none was found in {len(crops.frames)} frames"}


def sound(wave: np.ndarray | None) -> Noticed:
    """Whether anything is to be heard; `wave` is float, 1 at full scale."""
    if wave is None or not len(wave):
        return {"soundless": "there is no sound"}
    return {} if abs(wave).max() > SILENCE else {"soundless": "its sound is silence"}
