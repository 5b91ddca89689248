"""The promises of data sets and detectors."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from affectkit.data.faces import Face
from affectkit.errors import InputError
from affectkit.sample import Sample
from affectkit.testing.record import Built

DECODERS = (("av", "open"), ("PIL.Image", "open"))
"""What opens media. A data set that reads them in another way is not caught."""
NO_SPLIT = "no split of this name"


def samples(built: Built) -> list[Sample]:
    """All of the split `train`."""
    return [built.made[i] for i in range(len(built.made))]


def sequence(built: Built) -> Iterator[str]:
    """A sequence of samples: with a length, an index and an end."""
    made: Sequence[Sample] = built.made
    if not len(made):
        yield "the split `train` is empty; give settings that have samples"
        return
    wrong = [type(s).__name__ for s in samples(built) if not isinstance(s, Sample)]
    if wrong:
        yield f"it holds {wrong[0]}, not affectkit.Sample"
    elif made[0].id != made[0].id:
        yield "asked twice for the first sample it gave two different ones"
    try:
        made[len(made)]
    except IndexError:
        return
    yield f"index {len(made)} of {len(made)} samples raises no IndexError"


def ids(built: Built) -> Iterator[str]:
    """Ids are unique and their order repeats: when the split is opened again."""
    found = [s.id for s in samples(built)]
    twice = [i for i, times in Counter(found).items() if times > 1]
    if twice:
        yield f"the id {twice[0]!r} occurs {found.count(twice[0])} times ({len(twice)} such ids)"
    if not all(isinstance(i, str) and i for i in found):
        yield "an id is no text, or empty"
    again = built.anew()
    other = [again[i].id for i in range(len(again))]
    if other != found:
        place = next((i for i, (a, b) in enumerate(zip(found, other, strict=False)) if a != b), len(found))
        yield f"opened again, the split has another order from place {place} on"


def lazy(built: Built) -> Iterator[str]:
    """Nothing is decoded before it is indexed: when a split is opened the second time; the first time may make its clips."""
    spies = []
    with contextlib.ExitStack() as stack:
        for module, name in DECODERS:
            if importlib.util.find_spec(module.partition(".")[0]):
                target = importlib.import_module(module)
                spies.append(stack.enter_context(mock.patch.object(target, name, wraps=getattr(target, name))))
        len(built.anew())
    opened = [next(iter((*call.args, *call.kwargs.values())), "?") for spy in spies for call in spy.call_args_list]
    if opened:
        yield (
            f"build(settings, 'train') opened {len(opened)} media files, {opened[0]} first: a sample holds paths, and the "
            "frame decodes them when the sample is its turn"
        )


def media(built: Built) -> Iterator[str]:
    """Media are there: paths are `Path`s to files."""
    for sample in samples(built):
        paths = [p for p in (sample.video, sample.image, sample.audio, *sample.features.values()) if p is not None]
        if not paths and not sample.subtitle:
            yield f"sample {sample.id!r} has neither media nor words"
            return
        for path in paths:
            if not isinstance(path, Path) or not path.exists():
                yield f"sample {sample.id!r}: {path!r} is no file, and no folder"
                return


def labels(built: Built) -> Iterator[str]:
    """Labels are of the label set: of the attribute `labels`."""
    known = tuple(getattr(built.made, "labels", ()))
    strange = [s for s in samples(built) if s.label is not None and s.label not in known]
    if strange:
        yield f"sample {strange[0].id!r} has the label {strange[0].label!r}; the sequence's `labels` are {known}"


def splits(built: Built) -> Iterator[str]:
    """An unknown split is an InputError."""
    try:
        found = built.piece.build(built.settings, NO_SPLIT)
    except InputError:
        return
    yield f"build(settings, {NO_SPLIT!r}) gave {len(found)} samples instead of an InputError"


def frames() -> list[np.ndarray]:
    """Noise, a bright oval on grey, and odd sizes."""
    rng = np.random.default_rng(0)
    high, wide = np.mgrid[:96, :128]
    oval = np.full((96, 128, 3), 90, np.uint8)
    oval[((high - 48) / 30) ** 2 + ((wide - 64) / 22) ** 2 < 1] = (224, 190, 170)
    return [rng.integers(0, 256, (61, 47, 3), dtype=np.uint8), oval, np.ascontiguousarray(oval[:, ::-1])]


def boxes(built: Built) -> Iterator[str]:
    """A list of faces a frame: with boxes that have an area; no frames, no lists."""
    given = frames()
    before = [f.copy() for f in given]
    found = built.made(given)
    if len(found) != len(given):
        yield f"{len(given)} frames gave {len(found)} lists"
    if any(not np.array_equal(a, b) for a, b in zip(given, before, strict=True)):
        yield "it changed the frames that it was given"
    for faces in found:
        for face in faces:
            if (
                not isinstance(face, Face)
                or not np.isfinite(face.box).all()
                or face.area <= 0
                or not 0 <= face.score <= 1
            ):
                yield f"{face!r} is no Face with a box of some area and a score from 0 to 1"
                return
    if list(built.made([])):
        yield "no frames gave faces"


def deterministic(built: Built) -> Iterator[str]:
    """Deterministic: the same frames give the same faces, also from a new detector and one frame at a time."""
    one, two = built.made(frames()), built.made(frames())
    if one != two:
        yield f"{one}, then {two}"
    fresh = built.anew()
    if [fresh([f])[0] for f in frames()] != one:
        yield "one frame at a time, a new detector finds other faces"


def black(built: Built) -> Iterator[str]:
    """Nothing in a black frame."""
    found = built.made([np.zeros((80, 64, 3), np.uint8)])
    if found != [[]]:
        yield f"a black frame gave {found!r}"


KITS = {
    "dataset": (
        Built,
        (sequence, ids, lazy, media, labels, splits),
    ),
    "detector": (
        Built,
        (boxes, deterministic, black),
    ),
}
