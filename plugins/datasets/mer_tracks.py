"""MER2025 and MER2026: challenges in tracks over one pool of clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from affectkit_plugins.datasets._annotations import table, there, words
from affectkit_plugins.datasets._folders import Folder
from affectkit_plugins.datasets._open import named_clips, neutral_for_none, open_clips, reason_clips
from affectkit_plugins.datasets._processed import emotions
from affectkit_plugins.datasets._published import (
    MER6,
    PublishedSamples,
    PublishedSettings,
    SampleReader,
    discrete,
    published,
)
from affectkit_plugins.datasets._shares import cut_together

from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Fact, Sample

CODES = {name: name for name in MER6}
PREFERENCES = ("a1", "a2", "same")
LABELS_2025: dict[int, tuple[str, ...]] = {1: MER6, 2: (), 3: ()}
LABELS_2026: dict[int, tuple[str, ...]] = {1: MER6, 2: (), 3: PREFERENCES}
"""The label set of each track."""
OBTAIN_2025 = "sign the agreement of the MER challenge (Hugging Face: MERChallenge/MER2025), academic use"
OBTAIN_2026 = "ask on Hugging Face for MERChallenge/MER2026 (reviewed by hand, CC BY-NC 4.0, no redistribution)"
NPZ = "track1_label_6way.npz"

Take = Callable[[SampleReader, Path, "Folder | None"], "list[Sample]"]


@dataclass(frozen=True)
class Tracks(PublishedSettings):
    """Settings that both challenges share."""

    annotations: str | None = None
    """The csv of the training clips, where it has another name than the track's (MERBench's npz for track 1)."""
    test_labels: str | None = None
    """The csv with the truth of the test clips, which the challenge keeps back; null looks for the name that it has."""
    video: str | None = "video"
    """The folder of the clips, or null where features are enough."""
    empty: Literal["kept", "neutral"] = "kept"
    """Training clips whose list of words is empty: kept so, or read as neutral, as the published training code does."""


@dataclass(frozen=True)
class Mer2025(Tracks):
    """MER2025 (Lian et al. 2025): emotions (track 1), emotion words (track 2), descriptions (track 3) of Chinese clips.

    Splits: `train` and `val` (a share drawn by the seed: none is published), `candidates` (20,000 clips to answer, no
    truth) and `test` where its truth is there. Track 1 has labels, track 2 the answer of the task `open_labels`
    (`[sad, hurt]`), track 3 that of `reason`; with `training` people's 332 clips or MER-Caption+'s 31,327. Columns and
    names of the files come from the challenge's code, no file of it was seen; that `track1_train_disdim.csv` has a
    `valence` is only deduced. The face crops of `openface_face/` are not read: faces are cut from the clips.
    """

    track: Literal[1, 2, 3] = 1
    """1: one of six emotions; 2: emotion words in any number; 3: descriptions."""
    training: Literal["people", "models"] = "people"
    """Tracks 2 and 3: who wrote the training clips' words: people (OV-MERD) or models (MER-Caption+)."""


@dataclass(frozen=True)
class Mer2026(Tracks):
    """MER2026 (Lian et al. 2026): the listener's emotion (track 1), emotion words (2), which description is better (3).

    Splits: `train` and `val` (a share drawn by the seed: none is published), `candidates` (20,000 clips to answer, or
    10,000 pairs in track 3) and `test` where its truth is there. Track 1 has labels (of the speaker in training), track 2
    the answer of the task `open_labels` (`[sad, hurt]`), track 3 the answers `a1` and `a2` (the two descriptions) and
    the label `a1`, `a2` or `same`; a clip of several pairs is there once a pair (`NAME`, `NAME#2` …, its fact `clip` keeps
    the name). Columns and names
    of the files come from the challenge's code and pages, no file of it was seen. The face crops of `openface_face/` are
    not read: faces are cut from the clips.
    """

    track: Literal[1, 2, 3] = 1
    """1: one of six emotions; 2: emotion words in any number; 3: the better of two descriptions."""
    training: Literal["people", "models"] = "people"
    """Track 2: who wrote the training clips' words: people (Human-OV, 1,532) or models (MER-Caption+, 31,327)."""
    preferences: Literal["majority", "single", "both"] = "majority"
    """Track 3: pairs that three people voted on (574), that one person saw (2,096), or both."""
    ties: bool = True
    """Track 3: keep training pairs of which neither is better (`same`)."""


def read_2025(settings: Mer2025) -> PublishedSamples:
    """All of one track. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, CODES, LABELS_2025[settings.track], OBTAIN_2025)
    video = reader.clips(settings.video)
    candidates = "track_all_candidates.csv"
    if settings.track == 1:
        take, train, test = discrete, "track1_train_disdim.csv", "track1_test_dis.csv"
    else:
        source = {"people": "ovmerd", "models": "mercaptionplus"}[settings.training]
        train, test = f"track{settings.track}_train_{source}.csv", f"track{settings.track}_test.csv"
        take = open_clips if settings.track == 2 else reason_clips
    splits = {"train": _train(reader, settings, take, (train,), video)}
    splits |= _tests(reader, settings, take, (test, candidates), video)
    return reader.end(splits)


def read_2026(settings: Mer2026) -> PublishedSamples:
    """All of one track. Raises InputError with everything that is wrong with this copy."""
    codes = CODES if settings.track == 1 else {name: name for name in PREFERENCES}
    reader = SampleReader(settings, codes, LABELS_2026[settings.track], OBTAIN_2026)
    video = reader.clips(settings.video)
    take: Take = discrete
    train: tuple[str, ...] = ("track1_train.csv",)
    test, candidates = f"track{settings.track}_test.csv", "track1_track2_candidate.csv"
    if settings.track == 2:
        source = {"people": "human", "models": "mercaptionplus"}[settings.training]
        take, train = open_clips, (f"track2_train_{source}.csv",)
    if settings.track == 3:
        names = {"majority": ("emoprefer",), "single": ("emopreferv2",), "both": ("emoprefer", "emopreferv2")}
        take, train = pairs, tuple(f"track3_{name}.csv" for name in names[settings.preferences])
        candidates = "track3_candidate.csv"
    learnt = _train(reader, settings, take, train, video)
    if settings.track == 3 and not settings.ties:
        learnt = [s for s in learnt if s.label != "same"]
    tests = _tests(reader, settings, take, (test, candidates), video)
    if settings.track < 3:
        return reader.end({"train": learnt, **tests})
    parts = cut_together(learnt, lambda s: s.fact("clip").value, 0.0, settings.val, settings.seed)
    return reader.end({**parts, **tests})


def _train(
    reader: SampleReader, settings: Tracks, take: Take, files: tuple[str, ...], video: Folder | None
) -> list[Sample]:
    """The training clips of a track, from all its files."""
    paths = [reader.root / file for file in ((settings.annotations,) if settings.annotations else files)]
    if paths[0].suffix == ".npz":
        return emotions(reader, paths[0], video).get("train", [])
    for path in paths:
        there(path)
    found = _numbered([sample for path in paths for sample in take(reader, path, video)])
    return neutral_for_none(found) if settings.empty == "neutral" else found


def _tests(
    reader: SampleReader, settings: Tracks, take: Take, files: tuple[str, str], video: Folder | None
) -> dict[str, list[Sample]]:
    """The clips with a truth that is kept back, and the candidates, where their files are there."""
    test, candidates = (reader.root / file for file in files)
    if settings.test_labels:
        test = reader.root / settings.test_labels
        there(test)
    found = {"test": _numbered(take(reader, test, video)) if test.is_file() else []}
    if candidates.is_file():
        wanted = pairs if take is pairs else named_clips
        found["candidates"] = _numbered(wanted(reader, candidates, video))
        tested = {s.id for s in found["test"]}
        left = [s for s in found["candidates"] if s.id not in tested]
        if len(left) < len(found["candidates"]):
            told = len(found["candidates"]) - len(left)
            reader.notes.append(f"{told} clips of {candidates.name} have a truth and are in the split 'test' alone")
            found["candidates"] = left
    return found


def pairs(reader: SampleReader, path: Path, video: Folder | None) -> list[Sample]:
    """The rows of a csv `name, a1, a2[, preference]`: two descriptions of a clip, and which one people preferred.

    The descriptions are the answers `a1` and `a2`, the preference is the label, the fact `clip` keeps the name without a
    number. Raises InputError.
    """
    _, key, rows = table(path, needs=PREFERENCES[:2])
    found = []
    for row in rows:
        told = {name: " ".join(words(row.cells[name]).split()) for name in PREFERENCES[:2]}
        code = words(row.cells.get("preference")).lower()
        facts = {"clip": Fact(row.cells[key])}
        found.append(reader.sample((row.cells[key],), video, code=code, place=row.place, answers=told, facts=facts))
    return found


def _numbered(samples: list[Sample]) -> list[Sample]:
    """The samples, ids that come again with a number behind them."""
    seen = Counter[str]()
    found = []
    for sample in samples:
        seen[sample.id] += 1
        again = seen[sample.id]
        found.append(sample if again == 1 else replace(sample, id=f"{sample.id}#{again}"))
    return found


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's pieces."""
    return [
        published("mer2025", Mer2025, read_2025, lambda settings: LABELS_2025[settings.track], OBTAIN_2025),
        published("mer2026", Mer2026, read_2026, lambda settings: LABELS_2026[settings.track], OBTAIN_2026),
    ]
