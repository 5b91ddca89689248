"""Action units as OpenFace writes them: a csv a clip, a row a frame."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from affectkit.errors import InputError, Problem
from affectkit.sample import Fact
from affectkit.tables import read_text

STRONGEST = 5.0
"""Intensities run to it: 1 to 5 are A to E of FACS."""
FIX = "give what FeatureExtraction writes with -aus: columns frame, success, AU01_r …"


def openface_facts(path: Path) -> dict[str, Fact]:
    """The facts `action_units` (estimates a frame, [frames units], 0 to 1, NaN where no face was followed) and
    `action_unit_names`, from the intensities (`AU01_r` …). Frames that are left out in the file have none.

    Raises InputError where the file is missing, has no intensities or has two faces, and for a cell that is no number.
    """
    if not path.is_file():
        raise InputError(Problem(str(path), "no such file of action units", FIX))
    rows = csv.reader(read_text(path).splitlines())
    columns = [name.strip() for name in next(rows, [])]
    units = [name for name in columns if name.startswith("AU") and name.endswith("_r")]
    if not units:
        raise InputError(Problem(str(path), "has no intensities of action units (AU01_r …)", FIX))
    found: dict[int, list[float]] = {}
    for number, cells in enumerate(rows, 2):
        if not any(cell.strip() for cell in cells):
            continue
        try:
            row = dict(zip(columns, map(float, cells), strict=True))
            frame = int(row.get("frame", len(found) + 1)) - 1  # it counts from 1
        except ValueError as error:
            raise InputError(Problem(f"{path}:{number}", f"is no row of numbers ({error})", FIX)) from None
        if frame in found or frame < 0:
            what = f"has the frame {frame + 1} {'twice: several faces?' if frame in found else ''}".rstrip()
            raise InputError(Problem(f"{path}:{number}", what, "keep the rows of one face, from FeatureExtraction"))
        seen = row.get("success", 1.0) > 0
        found[frame] = [row[n] / STRONGEST if seen and math.isfinite(row[n]) else math.nan for n in units]
    import numpy as np

    values = np.full((max(found, default=-1) + 1, len(units)), np.nan, np.float32)
    for frame, own in found.items():
        values[frame] = own
    names = tuple(name.removesuffix("_r") for name in units)
    return {
        "action_units": Fact(np.clip(values, 0, 1), "estimate", per_frame=True),
        "action_unit_names": Fact(names, "estimate"),
    }
