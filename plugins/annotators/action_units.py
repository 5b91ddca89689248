"""Action units that were measured beforehand, over time, and the frame that shows most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins._values import at_least

from affectkit.annotators import ClipRow, Findings, Reject
from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, hookimpl

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Measured:
    """The intensities of action units over time that the data set brings as an estimate (its facts `action_units`, 0 to 1, and
    `action_unit_names`): of a table its column `openface`. Units that somebody labelled are labels, and are not shown
    to annotators.

    `units` has for each unit a value a frame, null where the frame has no face; `names` the units.
    """

    scale: float = 5.0
    """What intensities are multiplied by: 5 gives those of OpenFace and FACS (A to E as 1 to 5), which the rules of MERR and
    MER-Factory speak of."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return [] if self.scale > 0 else [("scale", f"must be above 0, got {self.scale}")]

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        for high in (0.2, 0.6):
            units = [[0.0, 0.1], [high, 0.3], [None, None]]
            yield {"action_units": units, "action_unit_names": ["AU12", "AU25_r"]}, ""


def build_measured(settings: Measured) -> _Measured:
    """The annotator."""
    return _Measured(settings)


@dataclass(frozen=True)
class _Measured:
    settings: Measured

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`units` and `names` of each row. Raises InputError where names and columns do not fit."""
        return [self._one(row["action_units"], row["action_unit_names"]) for row in rows]

    def _one(self, values: Sequence[Sequence[float | None]], named: Sequence[str]) -> Findings | Reject:
        from affectkit_plugins.annotators._units import name_of

        names = [name_of(name) for name in named]
        if wrong := next((len(frame) for frame in values if len(frame) != len(names)), None):
            what = f"a frame has {wrong} action units, and {len(names)} are named"
            raise InputError(Problem("action_units", what, "the data set's facts do not fit each other"))
        if not any(v is not None for frame in values for v in frame):
            return Reject("no face is measured")
        scale = self.settings.scale
        columns = [[frame[i] for frame in values] for i in range(len(names))]
        courses = {
            name: [None if v is None else round(scale * v, 4) for v in column]
            for name, column in zip(names, columns, strict=True)
        }
        return {"units": courses, "names": names}


@dataclass(frozen=True)
class Peak:
    """The frame in which the face shows most, by the intensities of its action units over time.

    `frame` is its index, `units` the intensities there, `intensity` their sum over all units that count, `frames` all peaks by
    the rule. A clip in which no unit reaches `least` at the peak is rejected as `the face does not move`, unless `least` is 0.
    """

    rule: Literal["merr", "mer_factory"] = "merr"
    """merr: the frame with the largest sum of intensities (Emotion-LLaMA's MERR); mer_factory: peaks of the sum that are at least
    `height` high and `distance` frames apart, the highest of them, and the largest sum where there is none (MER-Factory)."""
    most: int | None = None
    """For `merr`: only so many units count, those that reach `least` in most frames; null counts all. The description of MERR
    says that the units met most often come first and does not say how many."""
    height: float = 0.8
    """For `mer_factory`: least sum of a peak."""
    distance: int = 20
    """For `mer_factory`: fewest frames from one peak to the next."""
    least: float = 0.8
    """Intensity from which a unit is told at the peak."""
    leave_out: tuple[str, ...] = ()
    """Units that do not count (`[AU45]`: blinks)."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return at_least(self, 1, "most", "distance") + at_least(self, 0, "height", "least")

    def examples(self) -> Iterator[tuple[ClipRow, str]]:
        """Rows with what a model would reply; none is asked."""
        for place in (1, 3):
            course = [3.0 if i == place else 0.2 for i in range(5)]
            yield {"units": {"AU12": course, "AU25": [0.5, None, 0.4, 0.4, 0.1]}}, ""


def build_peak(settings: Peak) -> _Peak:
    """The annotator."""
    return _Peak(settings)


@dataclass(frozen=True)
class _Peak:
    settings: Peak

    def __call__(self, rows: Sequence[ClipRow]) -> list[Findings | Reject]:
        """`frame`, `units`, `intensity` and `frames` of each row. Raises InputError for units of one frame alone."""
        return [self._one(row["units"], row.get("frames")) for row in rows]

    def _one(self, value: Any, places: Sequence[int] | None) -> Findings | Reject:
        import numpy as np
        from affectkit_plugins.annotators._units import name_of, over_time

        own = self.settings
        names, course = over_time(value)
        counted = [i for i, n in enumerate(names) if n not in {name_of(out) for out in own.leave_out}]
        names, course = [names[i] for i in counted], course[:, counted]
        if not np.isfinite(course).any():
            return Reject("no face is measured")
        values = np.nan_to_num(course)
        total = values[:, self._often(values)].sum(1)
        peaks = self._peaks(total)
        frame = max(peaks, key=lambda i: (total[i], -i))
        seen = {n: round(float(v), 4) for n, v in zip(names, values[frame], strict=True) if v >= own.least and v > 0}
        if not seen and own.least > 0:
            return Reject("the face does not move", f"sum {total[frame]:.2f}")
        at = list(range(len(total))) if places is None else list(places)
        if len(at) != len(total):
            what = f"intensities of {len(total)} frames, and {len(at)} frames are named"
            raise InputError(Problem("frames", what, "both come from one annotator"))
        strength = round(float(total[frame]), 4)
        return {"frame": at[frame], "units": seen, "intensity": strength, "frames": [at[i] for i in peaks]}

    def _often(self, values: np.ndarray) -> list[int]:
        """The units whose sum counts."""
        if self.settings.rule != "merr" or self.settings.most is None:
            return list(range(values.shape[1]))
        often = (values >= max(self.settings.least, 1e-9)).sum(0)
        return sorted(sorted(range(values.shape[1]), key=lambda i: (-often[i], i))[: self.settings.most])

    def _peaks(self, total: np.ndarray) -> list[int]:
        highest = [int(total.argmax())]
        if self.settings.rule == "merr":
            return highest
        return peaks(total, self.settings.height, self.settings.distance) or highest


def peaks(values: np.ndarray, height: float, distance: int) -> list[int]:
    """Places of local maxima (of a plateau its middle) at least so high, the ends never among them; of those that are nearer than
    `distance` to a higher one, or to an equal one behind it, the higher stays."""
    places, i, count = [], 1, len(values)
    while i < count - 1:
        end = i
        while end < count - 1 and values[end + 1] == values[i]:
            end += 1
        if values[i - 1] < values[i] and end < count - 1 and values[end + 1] < values[i] and values[i] >= height:
            places.append((i + end) // 2)
        i = end + 1
    kept: list[int] = []
    for place in sorted(places, key=lambda p: (values[p], p), reverse=True):
        if all(abs(place - other) >= distance for other in kept):
            kept.append(place)
    return sorted(kept)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    facts = (Port("action_units", "fact", "intensities a frame"), Port("action_unit_names", "fact", "their names"))
    units = (
        Port("units", "finding", "the intensities of action units over time"),
        Port("frames", "finding", "which frame of the clip each is of, where it is not every one", optional=True),
    )
    tells = ("frame", "units", "intensity", "frames")
    return [
        Piece("annotator", "action_units", Measured, build_measured, ports=facts, tells=("units", "names")),
        Piece("annotator", "peak_frame", Peak, build_peak, ports=units, tells=tells),
    ]
