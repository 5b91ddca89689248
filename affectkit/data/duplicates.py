"""Clips that are in two splits: by id, by path, and by what is in the files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from affectkit.data.image import content, files_of
from affectkit.errors import MediaError
from affectkit.files import track
from affectkit.reading import alike, differ_in
from affectkit.sample import Sample

T = TypeVar("T")
TRAINED = ("train", "val")
"""Splits that a model is trained on or chosen by; all others are for tests."""
Duplicate = tuple[str, str, str, str]
"""(data, split, id, what is wrong)."""


@dataclass
class Split:
    """One split, opened, and what was counted in it."""

    data: str
    """The data block: `data`, or `stages.NAME.data`."""
    use: str
    """The data set's piece."""
    split: str
    clips: Sequence[Sample]
    same_as: str = ""
    """The split of which this one is only another name; then nothing is counted."""
    labels: dict[str, int] = field(default_factory=dict)
    """Samples of each label of the set, 0 for one that does not occur, then of labels outside it."""
    numbers: dict[str, int] = field(default_factory=dict)
    """Samples that have each rating."""
    no_label: int = 0
    empty_subtitles: int = 0
    missing_media: int = 0
    missing_features: int = 0
    seconds: list[float] = field(default_factory=list)
    """Length of each clip or sound whose header says it."""


@dataclass(frozen=True)
class _Clip:
    """A sample, and what tells it from others of the same file."""

    of: int
    """Which split, by its place."""
    id: str
    path: Path | None
    label: str | None
    chooses: bool
    """Whether the label names one of its own answers: each sample of such a file is asked to choose between others."""
    span: tuple[float, float]
    """The part of the file that it is, in seconds."""
    box: bytes
    """Where the face is, for a file that shows several people; empty where nobody says."""

    @classmethod
    def of_sample(cls, of: int, sample: Sample) -> _Clip:
        """The sample of the split at place `of`."""
        span = (sample.start or 0.0, math.inf if sample.end is None else sample.end)
        box = sample.fact("face_box").value
        where = b"" if box is None else np.asarray(box).tobytes()
        return cls(of, sample.id, _file(sample), sample.label, sample.label in sample.answers, span, where)

    def overlaps(self, other: _Clip) -> bool:
        """Whether both, parts of one file, have something of it in common."""
        return self.span[0] < other.span[1] and other.span[0] < self.span[1]


@dataclass
class Doubles:
    """What is there twice."""

    findings: list[Duplicate] = field(default_factory=list)
    """The same clip in two splits."""
    contradictions: list[Duplicate] = field(default_factory=list)
    """The same clip with two labels."""
    notes: list[str] = field(default_factory=list)


def duplicates(splits: Sequence[Split], quick: bool = False) -> Doubles:
    """What is in two splits of one data set, or is learnt from in one and tested on in another; clips of one data set that
    contradict each other; and notes.

    Ids count within one data set; between two, files must be the same. Two stages may train on the same clips; what
    one trains and the other validates by is a note. Parts of one file are the same clip only where they overlap.
    Files are compared by path, then by size, and those of one size by a hash of their content, unless `quick`.
    """
    clips = [_Clip.of_sample(i, s) for i, one in enumerate(splits) for s in one.clips]
    found: dict[tuple[int, int, str, str], str] = {}
    """What is wrong with two clips, by their splits and ids."""
    blind, weak, within = Counter[tuple[str, str]](), Counter[tuple[str, str]](), 0
    for first, second in (pair for group in _equal(clips, lambda clip: clip.id) for pair in _pairs(group, splits)):
        one, other = splits[first.of], splits[second.of]
        if one.data == other.data:
            found[first.of, second.of, first.id, second.id] = f"the same id is in {one.split}"
        elif not all(clip.path is not None and clip.path.exists() for clip in (first, second)):
            blind[_name(one), _name(other)] += 1
    doubles = Doubles()
    for group in _alike(clips, quick):
        doubles.contradictions += _contradictions(group, splits)
        for first, second in _pairs(group, splits, _weak, _Clip.overlaps):
            weak[_name(splits[first.of]), _name(splits[second.of])] += 1
        within += any(True for _ in _pairs(group, splits, _same, _Clip.overlaps))
        for first, second in _pairs(group, splits, _wrong, _Clip.overlaps):
            one, other = splits[first.of], splits[second.of]
            place = one.split if one.data == other.data else _name(one)
            also = "" if first.id == second.id else f" as {first.id!r}"
            found.setdefault((first.of, second.of, first.id, second.id), f"the same file is in {place}{also}")
    doubles.findings = [(splits[of].data, splits[of].split, name, what) for (_, of, _, name), what in found.items()]
    notes = [f"{n} ids are in {a} and in {b}, and their files cannot be compared" for (a, b), n in blind.items()]
    validated = "one stage trains on what the other validates by"
    notes += [f"{n} files are in {a} and in {b}: {validated}" for (a, b), n in weak.items()]
    notes += [f"{within} files stand behind more than one sample of the same split"] if within else []
    doubles.notes = [*notes, *_near_ids(splits), *_same_words(splits)]
    return doubles


def _contradictions(group: Sequence[_Clip], splits: Sequence[Split]) -> Iterator[Duplicate]:
    """Each clip of one file that has another label than one before it of the same data set."""
    if any(clip.chooses for clip in group):
        return
    paths = [clip.path.resolve() if clip.path else None for clip in group]
    for i, clip in enumerate(group):
        data = splits[clip.of].data
        for other in (other for other, path in zip(group[:i], paths, strict=False) if path == paths[i]):
            people = clip.box and other.box and clip.box != other.box
            labelled = None not in (clip.label, other.label) and clip.label != other.label
            if labelled and not people and splits[other.of].data == data and clip.overlaps(other):
                where = "" if other.of == clip.of else f" in {splits[other.of].split}"
                what = f"is {clip.label!r}, and the same file ({clip.path}) as {other.id!r}{where} is {other.label!r}"
                yield data, splits[clip.of].split, clip.id, what
                break


def _near_ids(splits: Sequence[Split]) -> Iterator[str]:
    """Ids of two splits of one data set that differ only in how they look."""
    for data in dict.fromkeys(one.data for one in splits):
        where = {s.id: one.split for one in splits if one.data == data for s in one.clips}
        groups = [names for names in alike(dict.fromkeys(where, 1)) if len({where[name] for name in names}) > 1]
        if groups:
            names = groups[0]
            first = " and ".join(f"{name!r} in {where[name]}" for name in names[:2])
            more = f", and {len(groups) - 1} more pairs" if len(groups) > 1 else ""
            yield f"{data}: ids of two splits differ in {differ_in(names)}: {first}{more}; are these the same clips?"


def _same_words(splits: Sequence[Split]) -> Iterator[str]:
    """Samples of words alone that say the same in two splits of one data set: short texts may, so that is no mistake."""
    first: dict[tuple[str, str], str] = {}
    counts = Counter[tuple[str, str, str]]()
    for one in splits:
        for words in {" ".join(s.subtitle.casefold().split()) for s in one.clips if _file(s) is None} - {""}:
            before = first.setdefault((one.data, words), one.split)
            counts[one.data, before, one.split] += before != one.split
    yield from (f"{data}: {n} texts are in {a} and in {b}, word for word" for (data, a, b), n in counts.items() if n)


def _file(sample: Sample) -> Path | None:
    return sample.video or sample.image or sample.audio or next(iter(sample.features.values()), None)


def _name(one: Split) -> str:
    return f"{one.data} {one.split}"


def _wrong(one: Split, other: Split) -> bool:
    """Whether nothing may be in both: splits of one data set, or what one data set learns from and another tests on."""
    if one.data == other.data:
        return one.split != other.split
    return (one.split in TRAINED) != (other.split in TRAINED)


def _weak(one: Split, other: Split) -> bool:
    """Whether a stage trains on what another stage chooses its weights by."""
    return one.data != other.data and {one.split, other.split} == set(TRAINED)


def _same(one: Split, other: Split) -> bool:
    """Whether both are one split."""
    return one is other


def _anyhow(first: _Clip, second: _Clip) -> bool:
    return True


def _pairs(
    group: Sequence[_Clip],
    splits: Sequence[Split],
    matters: Callable[[Split, Split], bool] = _wrong,
    also: Callable[[_Clip, _Clip], bool] = _anyhow,
) -> Iterator[tuple[_Clip, _Clip]]:
    """Each clip with the first one before it that it should not be the same as."""
    for i, second in enumerate(group):
        earlier = (c for c in group[:i] if matters(splits[c.of], splits[second.of]) and also(c, second))
        first = next(earlier, None)
        if first is not None:
            yield first, second


def _alike(clips: Sequence[_Clip], quick: bool) -> Iterator[list[_Clip]]:
    """Groups of clips with the same path or the same content."""
    paths: dict[Path, list[_Clip]] = {}
    for clip in clips:
        if clip.path is not None:
            paths.setdefault(clip.path.resolve(), []).append(clip)
    sized = _equal(track([] if quick else [*paths], "sizes of files"), _size)
    same = _equal(track([path for those in sized for path in those], "files of equal size"), content)
    yield from (sorted((c for path in those for c in paths[path]), key=lambda clip: clip.of) for those in same)
    one_of_many = {path for those in same for path in those}
    yield from (group for path, group in paths.items() if len(group) > 1 and path not in one_of_many)


def _equal(items: Iterable[T], measure: Callable[[T], Hashable]) -> list[list[T]]:
    """Groups of items with the same value of `measure`; items that cannot be read, or whose value is empty, are in none."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        with suppress(OSError, MediaError):
            groups.setdefault(measure(item), []).append(item)
    return [group for value, group in groups.items() if value and len(group) > 1]


def _size(path: Path) -> int:
    """Bytes of a file, or of all frames of a folder."""
    return sum(file.stat().st_size for file in files_of(path))
