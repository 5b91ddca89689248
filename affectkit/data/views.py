"""One sample and the settings of views to arrays and text; every media file is decoded once.

What a view can be set to is in `affectkit.recipe.views`; how a box becomes a crop is in `affectkit.data.faces`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from affectkit.data import faces as face_crops
from affectkit.data import video as videos
from affectkit.data.faces import Box, Detector, crop_box, cut, link, paint_over
from affectkit.data.image import Choose, DecodedMedia, read_still
from affectkit.errors import InputError, MediaError, Problem
from affectkit.raw import RawPixels, RawView, RawWave
from affectkit.recipe.views import Faces, Features, Frames, Subtitle, ViewSettings, Wave
from affectkit.sample import Sample

DetectorFor = Callable[[str], Detector]
"""From a view's name to the detector that its settings name."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Grey of red, green, blue (BT.601)."""


@dataclass(frozen=True)
class LoadedViews:
    """What the views show of one sample."""

    views: dict[str, RawView | np.ndarray | None]
    """By view name; None where the sample has nothing of that kind."""
    partial: str = ""
    """What is missing of its files because they are broken; empty where they are whole."""
    notices: Mapping[str, face_crops.Notices] = field(default_factory=dict)
    """Notes by view: no face, several people, no sound."""


def look(
    sample: Sample,
    views: Mapping[str, ViewSettings],
    *,
    detector_for: DetectorFor | None = None,
    flips: Mapping[str, bool] | None = None,
) -> dict[str, RawView | np.ndarray | None]:
    """What each view shows of a sample, by view name: `look_at` without a word about broken files."""
    return look_at(sample, views, detector_for=detector_for, flips=flips).views


def look_at(
    sample: Sample,
    views: Mapping[str, ViewSettings],
    *,
    detector_for: DetectorFor | None = None,
    flips: Mapping[str, bool] | None = None,
) -> LoadedViews:
    """What each view shows of a sample, by view name; None where the sample has nothing of that kind.

    Frames give `RawPixels` (also a still: one frame, index 0), faces `RawPixels` with boxes, sound `RawWave`, the
    subtitle a string (None if empty), features float32 [t n d]. `question` views are left out: the prompt makes them.
    `flips` decides for views with `flip: random`; boxes then are those of the mirrored frame.

    Raises MediaError if a file is missing or cannot be decoded, InputError if a view of faces can get no boxes at all
    (a clip without the fact `face_box`, no detector, and the whole frame is not to count).
    """
    found: dict[str, RawView | np.ndarray | None] = {}
    seen = _SampleMedia(sample, views, detector_for)
    for name, view in views.items():
        flip = getattr(view, "flip", "never")
        mirror = flip == "always" or (flip == "random" and bool((flips or {}).get(name)))
        if isinstance(view, Frames):
            found[name] = _finish(seen.frames(name, view), view.grey, mirror)
        elif isinstance(view, Faces):
            crops = seen.faces(name, view)
            seen.notices[name] = face_crops.face_notices(crops) | seen.notices.get(name, {})
            found[name] = _finish(crops, view.grey, mirror)
        elif isinstance(view, Wave):
            sound = seen.sound[view.rate]
            seen.notices[name] = face_crops.sound_notices(sound, seen.heard)
            found[name] = None if sound is None else RawWave(cut_wave(sound, view), view.rate)
        elif isinstance(view, Subtitle):
            found[name] = sample.subtitle or None
        elif isinstance(view, Features):
            found[name] = read_features(sample, view)
    return LoadedViews(found, "; ".join(seen.missing), seen.notices)


def pick(view: Frames, total: int, sample: Sample | None = None) -> list[int]:
    """The indices of the frames that `view` shows of a clip of `total` frames; empty if there are none."""
    if total < 1:
        return []
    if view.pick == "first":
        return [0]
    if view.pick == "all":
        return spread(total, min(total, view.max or total))
    if view.pick == "uniform":
        return spread(total, view.count if view.repeat else min(total, view.count))
    peak = sample.fact("peak_frame").value if view.pick == "peak" and sample is not None else None
    if peak is not None:
        return [min(max(0, int(peak)), total - 1)]
    units = sample.fact("action_units") if view.pick == "peak" and sample is not None else None
    if units is not None and units.per_frame and units.value is not None:
        strength = np.nansum(np.asarray(units.value, np.float64)[:total], axis=1)
        if strength.size:
            return [int(strength.argmax())]
    return spread(total, 1)


def spread(total: int, count: int) -> list[int]:
    """`count` indices below `total`, the centres of equal segments: floor((i + 0.5) total / count).

    >>> spread(10, 4), spread(3, 1), spread(2, 4)
    ([1, 3, 6, 8], [1], [0, 0, 1, 1])
    """
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def cut_wave(sound: np.ndarray, view: Wave) -> np.ndarray:
    """Sound [a] as the view wants it: [a] of at most `seconds`, or [clips, a] of exactly `seconds` each."""
    most = view.most()
    if most is None:
        return sound
    if view.clips is None:
        start = max(0, len(sound) - most) // 2 if view.cut == "centre" else 0
        return sound[start : start + most]
    free = max(0, len(sound) - most)
    out = np.zeros((view.clips, most), np.float32)
    for i in range(view.clips):
        start = round(free * i / (view.clips - 1)) if view.clips > 1 else free // 2
        part = sound[start : start + most]
        out[i, : len(part)] = part
    return out


def read_features(sample: Sample, view: Features) -> np.ndarray | None:
    """The sample's feature file as float32 [t n d]; None if it has none of that name. Raises MediaError, also for numbers that
    are not finite."""
    path = sample.features.get(view.name)
    if path is None:
        return None
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged header fails in many ways
        raise MediaError(Problem(str(path), f"cannot be read as a NumPy array ({error})")) from error
    if not isinstance(array, np.ndarray):  # an archive, whatever its name
        array.close()
        raise MediaError(
            Problem(str(path), "holds several arrays, or a checkpoint", "save the one array with numpy.save")
        )
    if array.ndim not in (1, 2, 3) or array.dtype.kind not in "fiu":
        raise MediaError(Problem(str(path), f"wants numbers in 1 to 3 axes, got {array.dtype} {list(array.shape)}"))
    t_n_d = array.reshape(1, 1, -1) if array.ndim == 1 else array[:, None] if array.ndim == 2 else array
    for axis, (have, most) in enumerate(zip(t_n_d.shape, (view.time, view.tokens, view.width), strict=True)):
        if most is not None and (have > most or (axis == 2 and have != most)):
            what = ("time steps", "tokens a time step", "numbers a token")[axis]
            raise MediaError(Problem(str(path), f"has {have} {what}, the view {view.name!r} says {most}"))
    with np.errstate(over="ignore"):
        found = t_n_d.astype(np.float32)
    if bad := int((~np.isfinite(found)).sum()):
        raise MediaError(Problem(str(path), f"has {bad:,} numbers that are not finite", "extract these features again"))
    return found


class _SampleMedia:
    """What was decoded of one sample, for all its views together."""

    def __init__(self, sample: Sample, views: Mapping[str, ViewSettings], detector_for: DetectorFor | None) -> None:
        self.sample, self.views, self.detector_for = sample, views, detector_for
        self.picks = [v for v in views.values() if isinstance(v, Frames)]
        for view in views.values():
            if isinstance(view, Faces) and not isinstance(views.get(view.of), Frames):
                raise InputError(Problem(f"views.*.of: {view.of}", "names no view of frames among those looked at"))
        rates = sorted({v.rate for v in views.values() if isinstance(v, Wave)})
        self.sound: dict[int, np.ndarray | None] = dict.fromkeys(rates)
        self.missing: list[str] = []
        self.heard: dict[str, None] = {}
        self.notices: dict[str, face_crops.Notices] = {}
        self.still = sample.image is not None and sample.video is None
        self.picture = self._decode(rates)

    def _decode(self, rates: list[int]) -> DecodedMedia:
        """Frames and sound together where they lie in one file; a second rate of sound costs a second pass."""
        sample = self.sample
        choose = self._choose if self.picks and sample.video is not None else None
        heard = sample.audio or sample.video
        together = rates[0] if rates and heard == sample.video else None
        picture = DecodedMedia()
        if self.still and self.picks:
            assert sample.image is not None
            picture = DecodedMedia(1, {0: read_still(sample.image)}, {0: 0.0})
        elif sample.video is not None and (choose or together):
            first = all(view.pick == "first" for view in self.picks)
            picture = self._read(sample.video, choose, together, first)
            if together:
                self.sound[together] = picture.sound
        if heard is not None:
            for rate in rates[1:] if together else rates:
                self.sound[rate] = self._read(heard, None, rate).sound
        return picture

    def _read(self, path: Path, choose: Choose | None, rate: int | None, first: bool = False) -> DecodedMedia:
        span = (self.sample.start, self.sample.end)
        decoded = videos.read(path, choose, rate, first_only=first, span=span)
        self.heard |= dict.fromkeys(decoded.heard)
        self.missing += [why for why in decoded.partial.split("; ") if why and why not in self.missing]
        return decoded

    def _choose(self, total: int) -> set[int]:
        return {index for view in self.picks for index in pick(view, total, self.sample)}

    def _whole(self, view: Frames) -> RawPixels | None:
        """The frames of a view as they were decoded; None if the sample has no picture."""
        decoded = self.picture
        indices = pick(view, decoded.total, self.sample)
        if not indices:
            return None
        frames = tuple(decoded.frames[i] for i in indices)
        times = np.array([decoded.times[i] for i in indices], np.float64)
        valid = np.ones(len(indices), bool)
        return RawPixels(frames, np.array(indices, np.int64), times, valid, None, frames[0].shape[:2])

    def frames(self, name: str, view: Frames) -> RawPixels | None:
        """A view of whole frames."""
        whole = self._whole(view)
        if whole is None or view.hide == "none":
            return whole
        boxes = self._boxes(whole)
        if boxes is not None:
            each: list[list[Box]] = [[] if box is None else [box] for box in boxes]
        else:
            detect = self._detector(name, view, "hide: none")
            each = [[face.box for face in faces] for faces in detect(list(whole.frames))]
        frames = tuple(paint_over(f, found) for f, found in zip(whole.frames, each, strict=True))
        return replace(whole, frames=frames)

    def faces(self, name: str, view: Faces) -> RawPixels | None:
        """A view of faces cut from another view's frames."""
        source = self.views[view.of]
        assert isinstance(source, Frames)
        whole = self._whole(source)
        if whole is None:
            return None
        if view.whole == "always":
            return _crops(whole, [(0, 0, f.shape[1], f.shape[0]) for f in whole.frames])
        boxes = self._boxes(whole)
        if boxes is None and (view.detector is not None or not self.still):
            detect = self._detector(name, view, "whole: always")
            tracks = link(detect(list(whole.frames)))
            self.notices[name] = face_crops.people_notices(tracks, view.person)
            track = tracks[view.person] if view.person < len(tracks) else [None] * len(whole.frames)
            boxes = [None if face is None else face.box for face in track]
        if boxes is None:
            boxes = [None]
        size = whole.frame_size or (0, 0)
        cuts = [None if b is None else crop_box(b, size, view.margin, view.square) for b in boxes]
        if cuts == [None] and boxes != [None]:
            self.notices[name] = {
                "faceless": f"its face box {_in_words(boxes[0])} shows nothing of {size[1]} x {size[0]} pixels"
            }
        elif self.still and view.whole == "auto" and cuts == [None]:
            cuts = [(0, 0, size[1], size[0])]
        return _crops(whole, cuts)

    def _boxes(self, whole: RawPixels) -> list[Box | None] | None:
        """The fact `face_box` for these frames; None if the sample has no such fact."""
        fact = self.sample.fact("face_box")
        if fact.value is None:
            return None
        value = np.asarray(fact.value, np.float64)
        rows = value if fact.per_frame else np.broadcast_to(value.reshape(1, 4), (int(whole.indices.max()) + 1, 4))
        return [_box(rows[i]) if i < len(rows) else None for i in whole.indices]

    def _detector(self, name: str, view: Frames | Faces, instead: str) -> Detector:
        if view.detector is None or self.detector_for is None:
            fix = f"set `views.{name}.detector` (`affectkit pieces detector` lists them), or `{instead}`"
            what = f"sample {self.sample.id!r} has no fact `face_box` and the view names no detector"
            raise InputError(Problem(f"views.{name}", what, fix))
        return self.detector_for(name)


def _in_words(box: Box | None) -> str:
    return "" if box is None else " ".join(f"{side:g}" for side in box)


def _box(row: Sequence[float] | np.ndarray) -> Box | None:
    x0, y0, x1, y1 = (float(v) for v in row)
    return (x0, y0, x1, y1) if np.isfinite([x0, y0, x1, y1]).all() else None


def _crops(whole: RawPixels, cuts: Sequence[tuple[int, int, int, int] | None]) -> RawPixels:
    """Each frame's cut; where there is none, a small black picture, not valid, with zeros for a box."""
    black = np.zeros((16, 16, 3), np.uint8)
    frames = tuple(black if c is None else cut(f, c) for f, c in zip(whole.frames, cuts, strict=True))
    valid = np.array([c is not None for c in cuts], bool)
    boxes = np.array([c or (0, 0, 0, 0) for c in cuts], np.float32)
    return replace(whole, frames=frames, valid=valid, boxes=boxes)


def _finish(raw: RawPixels | None, grey: bool, mirror: bool) -> RawPixels | None:
    """Grey and mirrored, as the view wants; the arrays that views share are never written to."""
    if raw is None or not (grey or mirror):
        return raw
    frames = tuple(to_grey(f) for f in raw.frames) if grey else raw.frames
    boxes = raw.boxes
    if mirror:
        frames = tuple(np.ascontiguousarray(f[:, ::-1]) for f in frames)
        if boxes is not None and raw.frame_size is not None:
            width = raw.frame_size[1]
            turned = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
            boxes = np.where(raw.valid[:, None], turned, boxes).astype(np.float32)
    return replace(raw, frames=frames, boxes=boxes)


def to_grey(frame: np.ndarray) -> np.ndarray:
    """A frame with its luma in all three channels."""
    luma = np.rint(frame.astype(np.float32) @ LUMA).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)
