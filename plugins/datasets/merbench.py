"""MERBench's processed label files, whatever corpus they are of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from affectkit_plugins.datasets._processed import (
    OBTAIN,
    clips_in,
    corpora,
    first_there,
    sentiment,
    session_of,
)
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, labelled, published

from affectkit.errors import Problem, unknown
from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Sample

FILES = ("label.npz", "label-6way.npz", "track1_label_6way.npz", "label_4way.npz", "label_6way.npz")
VIDEOS = ("subvideo-tgt", "subvideo_new", "subvideo", "video_new", "video")


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """A corpus as MERBench processed it (Lian et al. 2024): an npz of labels, transcripts and cut clips in one folder.

    Splits are the npz's: `train`, `val`, `test`, or `test1` … of the MER sets; of a corpus that is one whole (IEMOCAP)
    one session is `test` and the others are `train`. Labels are words, or whole numbers that `classes` names; where they are
    all 0 the values are sentiment: a number, and the answer of the task `sentiment`. Facts: `published_label`, `valence`.
    Files, keys and folders are known from the code of MERBench and MER-UniBench and from the label files. The readers of
    the single sets know their labels and read these copies too: use this one for a corpus that has none.
    """

    annotations: str | None = None
    """The npz of labels; null looks for the names that MERBench's have (`label.npz`, `label-6way.npz` …)."""
    classes: tuple[str, ...] = ()
    """Names of labels that stand as whole numbers, from 0; for labels that are words, the label set in its order."""
    test: str = ""
    """The corpus that is the split `test` (`test3`, `session5`); empty is the one of that name, else the last one."""
    video: str | None = None
    """The folder of the clips; null looks for `subvideo-tgt`, `subvideo_new`, `subvideo`, `video_new`, `video`."""


def read(settings: Settings) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    codes = {n.lower(): n for n in settings.classes} | {str(i): n for i, n in enumerate(settings.classes)}
    reader = SampleReader(settings, codes, settings.classes, OBTAIN)
    path = reader.root / (settings.annotations or first_there(reader.root, FILES) or FILES[0])
    found = corpora(path)
    told = {code for rows in found.values() for _, _, code, _ in rows} - {""}
    values = told <= {"0"} and any(v is not None for rows in found.values() for *_, v in rows)
    if not values and not settings.classes:
        if told and all(code.isdigit() for code in told):
            what = f"the labels of {path.name} are whole numbers from {min(map(int, told))} to {max(map(int, told))}"
            reader.problems.append(Problem("data.classes", what, "say what they mean, in their order"))
            return reader.end({})
        reader.labels = settings.labels or tuple(sorted(told))
        reader.codes = {code.lower(): code for code in told}
    video = clips_in(reader, settings.video, VIDEOS)
    reader.numbers = {"sentiment": (-math.inf, math.inf)} if values else {}
    splits = {}
    for split, rows in found.items():
        plain = [(name, place, "" if values else code, value) for name, place, code, value in rows]
        samples = labelled(reader, plain, video)
        splits[split] = [_with_sentiment(s) for s in samples] if values else samples
    return reader.end(_tested(reader, splits, settings.test))


def _with_sentiment(sample: Sample) -> Sample:
    value = sample.fact("valence").value
    return sample if value is None else replace(sample, answers=sentiment(value), numbers={"sentiment": value})


def _tested(reader: SampleReader, splits: dict[str, list[Sample]], test: str) -> dict[str, list[Sample]]:
    """The splits with `train` and `test`; of a whole corpus of IEMOCAP one session is the test."""
    whole = splits.get("whole", [])
    sessions = bool(whole) and all(session_of(s.id) for s in whole)
    if sessions:
        splits = {f"session{n}": [s for s in whole if session_of(s.id) == n] for n in "12345"}
    if test and test not in splits:
        reader.problems.append(unknown("data.test", "corpus", test, splits))
        return splits
    last = test or ("test" if "test" in splits else next(reversed(splits)))
    if "train" in splits:
        return {**splits, "test": splits[last]}
    train = [s for name, part in splits.items() if name != last for s in part]
    return {"train": train, "test": splits[last]} if sessions else {"train": [], **splits, "test": splits[last]}


PIECE = published("merbench", Settings, read, lambda settings: settings.classes, OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
