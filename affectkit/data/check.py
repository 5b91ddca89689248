"""The data of a recipe, looked at file by file before anything is trained: what is missing, broken or there twice.

Decodes nothing (headers at most).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from affectkit.data import image as images
from affectkit.data import video as videos
from affectkit.data.duplicates import TRAINED, Split, duplicates
from affectkit.data.splits import eaten_views
from affectkit.errors import InputError, MediaError
from affectkit.files import track
from affectkit.pieces import Survey
from affectkit.plan.plan import Plan
from affectkit.plan.survey import DATA, data_blocks
from affectkit.plan.use import Use
from affectkit.recipe.marked_yaml import Path_
from affectkit.recipe.views import Faces, Features, Frames, Wave
from affectkit.sample import Sample, targets_in

USUAL = ("train", "val", "test")
"""Splits that are tried where a data set does not list its own."""

BEHIND = 1.0
"""Seconds by which a segment may end behind its file: annotators round."""
LEAST_INSIDE = 0.5
"""Share of a face box that must lie in the picture: a face may be cut by its edge."""

IDLE = {
    "media": "files are missing or broken that no view looks at",
    "features": "feature files are missing that no view looks at",
    "sound": "clips have no sound",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the data."""

    kind: str
    """`missing media`, `missing features`, `broken media`, `label outside the set`, `duplicate`, `contradiction`,
    `box outside the picture`, `segment outside the file`, `no data`."""
    data: str
    """The data block: `data`, or `stages.NAME.data`."""
    split: str
    id: str
    """The sample; empty where it is about a whole split."""
    what: str


@dataclass
class DataReport:
    """All of it."""

    recipe: str
    splits: list[Split] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Worth knowing, and no mistake."""
    quick: bool = False
    """Whether headers and contents of media files were left alone."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def check_data(plan: Plan, quick: bool = False) -> DataReport:
    """Look at every split of the recipe's data, and at `train` and `val` of the stages' own.

    `plan` is one whose data was surveyed (`check(…, data=True)`). With `quick` no media file is opened: no lengths,
    and what is there twice is found by id and path alone. Raises InputError where a data set cannot be opened.
    """
    views = used_views(plan)
    names = frozenset(v.name for v in views if isinstance(v, Features))
    pictures = any(isinstance(v, (Frames, Faces)) for v in views)
    sound = any(isinstance(v, Wave) for v in views)
    report = DataReport(plan.name, quick=quick)
    return _Looker(report, plan.surveys, pictures, sound, names, tuple(plan.score.splits)).look(blocks(plan))


def check_data_set(use: Use, quick: bool = False) -> DataReport:
    """Look at every split of a data set by itself, at all that its samples name. Raises InputError as `check_data` does."""
    told = use.piece.survey(use.settings) if use.piece.survey else None
    report = DataReport(use.piece.name, quick=quick)
    return _Looker(report, {} if told is None else {DATA: told}, features=None).look([(DATA, use)])


def blocks(plan: Plan) -> Iterator[tuple[Path_, Use]]:
    """Data blocks by their path in the recipe, the recipe's own first; the same data once."""
    seen: list[Use] = []
    for path, use, _ in data_blocks(plan):
        if use not in seen:
            seen.append(use)
            yield path, use


def used_views(plan: Plan) -> list[Any]:
    """The settings of the views that steps eat, and of those that they are cut from. A view that stands ready, for one line
    of a recipe to use, asks nothing of the data."""
    eaten = eaten_views(plan, plan.graph.steps.values())
    return [view.settings for name, view in plan.graph.views.items() if name in eaten]


@dataclass(frozen=True)
class _Looker:
    """Opens splits and counts what is in them."""

    report: DataReport
    surveys: Mapping[Path_, Survey]
    """The survey of each data block."""
    pictures: bool = True
    """Whether a view shows pictures, and whether one plays sound."""
    sound: bool = True
    features: frozenset[str] | None = frozenset()
    """Names of the feature files that views read; None: all that the data set names."""
    splits: tuple[str, ...] = ()
    """Splits to try beside the usual ones, where a data set does not list its own."""

    def look(self, uses: Iterable[tuple[Path_, Use]]) -> DataReport:
        """The report, with all that is found in those data blocks."""
        self.report.splits += (one for path, use in uses for one in self.block(path, use))
        own = [one for one in self.report.splits if not one.same_as]
        for one in own:
            self.split(one)
        doubles = duplicates(own, self.report.quick)
        self.report.findings += [Finding("duplicate", *found) for found in doubles.findings]
        self.report.findings += [Finding("contradiction", *found) for found in doubles.contradictions]
        self.report.notes += doubles.notes
        return self.report

    def block(self, path: Path_, use: Use) -> list[Split]:
        """The splits of one data block."""
        name = ".".join(map(str, path))
        told = self.surveys.get(path)
        if told is not None and not told.splits:
            self.report.findings.append(Finding("no data", name, "", "", told.note or "the data set tells of no split"))
            return []
        if told is not None and told.note:
            self.note(f"{name}: {told.note}")
        own = path == DATA
        known = [s for s, n in told.splits.items() if n] if told is not None else [*USUAL, *self.splits]
        found: list[Split] = []
        for split in dict.fromkeys(s for s in known if own or s in TRAINED):
            try:
                samples = use.piece.build(use.settings, split)
            except InputError:
                if told is not None:
                    raise
                continue  # nobody said that there is such a split
            clips = [samples[i] for i in range(len(samples))]
            same_as = next((o.split for o in found if o.clips == clips), "")
            can = targets_in(samples)
            labels, numbers = ({} if same_as else dict.fromkeys(names, 0) for names in (can.labels, can.numbers))
            for note in getattr(samples, "notes", ()):
                self.note(f"{name}: {note}")
            found.append(Split(name, use.piece.name, split, clips, same_as, labels, numbers))
        return found

    def note(self, text: str) -> None:
        """A note, once."""
        if text not in self.report.notes:
            self.report.notes.append(text)

    def split(self, one: Split) -> None:
        """Count a split."""
        counts = Counter(label for s in one.clips for label in _labels(s))
        one.no_label = sum(not _labels(s) for s in one.clips)
        one.labels = {label: counts.pop(label, 0) for label in one.labels} | counts
        one.numbers |= Counter(name for s in one.clips for name in s.numbers)
        one.empty_subtitles = sum(not s.subtitle.strip() for s in one.clips)
        for label, n in counts.items():
            first = next(s.id for s in one.clips if label in _labels(s))
            self.find("label outside the set", one, first, f"{n} samples have the label {label!r}")
        self.media(one)

    def find(self, kind: str, one: Split, name: str, what: str) -> None:
        """One finding."""
        self.report.findings.append(Finding(kind, one.data, one.split, name, what))

    def media(self, one: Split) -> None:
        """Files that are missing, and the lengths of those that are there."""
        idle: Counter[str] = Counter()
        for sample in track(one.clips, f"{one.data} {one.split}"):
            for kind, path, wanted in self.wants(sample):
                if path is not None and path.exists():
                    continue
                if not wanted:
                    idle[kind] += 1
                    continue
                one.missing_features += kind == "features"
                one.missing_media += kind == "media"
                what = f"there is no {path}" if path is not None else "the data set names none"
                self.find(f"missing {kind}", one, sample.id, what)
            for name in sorted((self.features or frozenset()) - sample.features.keys()):
                one.missing_features += 1
                self.find("missing features", one, sample.id, f"the data set names none called {name!r}")
            if not self.report.quick:
                self.length(one, sample, idle)
        place = f"{one.data} {one.split}"
        for kind, n in idle.items():
            self.note(f"{place}: {n} {IDLE[kind]}")

    def wants(self, sample: Sample) -> Iterator[tuple[str, Path | None, bool]]:
        """(what, its file, whether a view looks at it) for each file of a sample."""
        if sample.video is not None:
            yield "media", sample.video, self.pictures or (self.sound and sample.audio is None)
        if sample.image is not None:
            yield "media", sample.image, self.pictures and sample.video is None
        if sample.audio is not None:
            yield "media", sample.audio, self.sound
        enough = self.features is None and (sample.features or sample.subtitle)  # a data set by itself may be of words
        bare = not (sample.video or sample.image or sample.audio or enough)
        if (self.pictures or self.sound) and bare:
            yield "media", None, True
        for name, path in sample.features.items():
            yield "features", path, self.features is None or name in self.features

    def length(self, one: Split, sample: Sample, idle: Counter[str]) -> None:
        """Seconds by the header; a still has no length, but a header too."""
        if self.pictures and sample.image is not None and sample.image.exists():
            try:
                self.box(one, sample, images.verify_still(sample.image))
            except MediaError as error:
                self.find("broken media", one, sample.id, str(error))
        path = sample.video or sample.audio
        if path is None or not path.exists():
            return
        try:
            told = videos.probe(path)
        except MediaError as error:
            if self.pictures or self.sound:
                self.find("broken media", one, sample.id, str(error))
            else:
                idle["media"] += 1
            return
        if told.seconds is not None:
            begin, end = sample.start or 0.0, told.seconds if sample.end is None else min(sample.end, told.seconds)
            one.seconds.append(max(0.0, end - begin))
            if begin >= told.seconds or (sample.end or 0.0) > told.seconds + BEHIND:
                span = f"{begin:g} to {'its end' if sample.end is None else f'{sample.end:g}'} s"
                what = f"the segment is {span}, {path} is {told.seconds:.2f} s long"
                self.find("segment outside the file", one, sample.id, what)
        if told.size is not None:
            self.box(one, sample, told.size)
        if self.sound and not told.sound and sample.audio is None:
            idle["sound"] += 1

    def box(self, one: Split, sample: Sample, size: tuple[int, int]) -> None:
        """Whether a face box lies in the picture, whichever way that is turned."""
        value = sample.fact("face_box").value
        if value is None or not self.pictures:
            return
        boxes = np.atleast_2d(np.asarray(value, dtype=np.float64))
        boxes = boxes[np.isfinite(boxes).all(1)]
        shares = np.maximum(_inside(boxes, *size), _inside(boxes, *size[::-1]))
        if len(shares) and shares.min() < LEAST_INSIDE:
            number = int(shares.argmin())
            place = f" of frame {number}" if len(boxes) > 1 else ""
            corners = ", ".join(f"{corner:g}" for corner in boxes[number])
            what = f"the face box{place} ({corners}) lies outside the picture of {size[1]} x {size[0]}"
            self.find("box outside the picture", one, sample.id, what)


def _labels(sample: Sample) -> set[str]:
    """The labels that a sample has, one or several."""
    return {*sample.labels, *([] if sample.label is None else [sample.label])}


def _inside(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """The share of each box [n, 4] (x0 y0 x1 y1) that lies in a picture."""
    limits = np.array([width, height, width, height], dtype=np.float64)
    areas = [np.prod(np.maximum(b[:, 2:] - b[:, :2], 0.0), axis=1) for b in (np.clip(boxes, 0.0, limits), boxes)]
    return areas[0] / np.maximum(areas[1], 1e-9)


def as_json(report: DataReport) -> dict[str, object]:
    """The report as plain values."""
    told = ({**vars(one), "clips": len(one.clips), "seconds": lengths(one)} for one in report.splits)
    splits = [{"samples" if name == "clips" else name: value for name, value in one.items()} for one in told]
    findings = [vars(f) for f in report.findings]
    about = {"recipe": report.recipe, "ok": report.ok, "quick": report.quick}
    return {**about, "splits": splits, "findings": findings, "notes": report.notes}


def lengths(one: Split) -> dict[str, float] | None:
    """Total, shortest, average and longest in seconds; None where no length is known."""
    if not one.seconds:
        return None
    total = sum(one.seconds)
    return {"total": total, "least": min(one.seconds), "average": total / len(one.seconds), "most": max(one.seconds)}


def split_rows(report: DataReport) -> list[list[str]]:
    """A row a split, for a table."""
    rows = []
    for one in report.splits:
        head = [f"{one.data}: {one.use}", one.split, f"{len(one.clips):,}"]
        if one.same_as:
            rows.append([*head, f"same as {one.same_as}", "", "", "", ""])
            continue
        told = lengths(one)
        hours = f"{told['total'] / 3600:.2f} h ({told['least']:.1f} – {told['most']:.1f} s)" if told else "–"
        twice = sum(f.kind == "duplicate" and (f.data, f.split) == (one.data, one.split) for f in report.findings)
        counts = (one.missing_media, one.missing_features, twice, one.empty_subtitles)
        rows.append([*head, *(f"{n:,}" if n else "–" for n in counts), hours])
    return rows


SPLIT_COLUMNS = [
    "data",
    "split",
    "samples",
    "media missing",
    "features missing",
    "there twice",
    "no subtitle",
    "length",
]


def label_rows(report: DataReport) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the table of labels."""
    splits = [s for s in report.splits if not s.same_as]
    names = list(dict.fromkeys(label for s in splits for label in s.labels))
    cells = [[name, *(f"{s.labels[name]:,}" if name in s.labels else "" for s in splits)] for name in names]
    rated = list(dict.fromkeys(name for s in splits for name in s.numbers))
    cells += [[f"({name}: a number)", *(f"{s.numbers.get(name, 0):,}" for s in splits)] for name in rated]
    if any(s.no_label for s in splits) and (names or not rated):
        cells.append(["(no label)", *(f"{s.no_label:,}" for s in splits)])
    many = len({s.data for s in splits}) > 1
    return ["label", *(f"{s.data} {s.split}" if many else s.split for s in splits)], cells


def finding_lines(findings: Sequence[Finding], most: int = 5) -> Iterator[str]:
    """What a person reads: `most` of each kind and split, and how many more."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for found in findings:
        groups.setdefault((found.kind, found.data, found.split), []).append(found)
    for (kind, data, split), group in groups.items():
        yield f"{kind}: {data} {split} ({len(group):,})".replace("  ", " ")
        yield from (f"    {f.id}: {f.what}" if f.id else f"    {f.what}" for f in group[:most])
        if len(group) > most:
            yield f"    and {len(group) - most:,} more (--json lists all)"
