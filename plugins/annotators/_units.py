"""Action units by name, as annotators hand them on. NumPy only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from affectkit.errors import InputError, Problem

FACS = {
    "AU01": "inner brow raiser", "AU02": "outer brow raiser", "AU04": "brow lowerer", "AU05": "upper lid raiser",
    "AU06": "cheek raiser", "AU07": "lid tightener", "AU09": "nose wrinkler", "AU10": "upper lip raiser",
    "AU12": "lip corner puller", "AU14": "dimpler", "AU15": "lip corner depressor", "AU17": "chin raiser",
    "AU20": "lip stretcher", "AU23": "lip tightener", "AU25": "lips part", "AU26": "jaw drop", "AU28": "lip suck",
    "AU45": "blink",
}  # fmt: skip
"""The units that OpenFace measures (Ekman and Friesen 1978)."""


def name_of(text: object) -> str:
    """`AU05` for a unit however it is written (`5`, `AU5`, ` AU05_r`). Raises InputError for what is none."""
    found = re.fullmatch(r"\s*(?:AU)?0*(\d{1,2})(?:_[rc])?\s*", str(text), re.IGNORECASE)
    if found is None:
        raise InputError(Problem("units", f"{text!r} is no action unit", "units are called AU01, AU02 …"))
    return f"AU{int(found[1]):02}"


def over_time(value: Mapping[str, Sequence[float | None]]) -> tuple[list[str], np.ndarray]:
    """Names, and intensities [frames units], NaN where a frame has none; of {unit: [intensity a frame]}. Raises InputError for
    units of one frame alone."""
    if not all(isinstance(course, Sequence) and not isinstance(course, str) for course in value.values()):
        what = "the units have one intensity each, and one a frame is wanted"
        raise InputError(Problem("units", what, "name the finding that has them over time (action_units.units)"))
    courses = [np.array([np.nan if v is None else v for v in course], np.float64) for course in value.values()]
    return [name_of(name) for name in value], np.stack(courses, 1) if courses else np.empty((0, 0))


def at_once(value: object) -> dict[str, float]:
    """Unit to intensity, of {unit: intensity}; of {unit: [intensity a frame]} the largest; of a list of names 1 for each."""
    if not isinstance(value, Mapping):
        names: Sequence[object] = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
        return {name_of(name): 1.0 for name in names}
    found = {}
    for name, course in value.items():
        known = [v for v in (course if isinstance(course, Sequence) else [course]) if v is not None]
        found[name_of(name)] = float(max(known, default=0.0))
    return found
