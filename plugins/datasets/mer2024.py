"""MER2024: the second MER challenge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from affectkit_plugins.datasets._folders import Folder
from affectkit_plugins.datasets._open import open_clips
from affectkit_plugins.datasets._processed import clips_in, emotions, first_there
from affectkit_plugins.datasets._published import (
    MER6,
    PublishedSamples,
    PublishedSettings,
    SampleReader,
    discrete,
    published,
)

from affectkit.pieces import Piece, hookimpl

CODES = {name: name for name in MER6}
NPZ = "label-6way.npz"
OBTAIN = "sign the agreement of the MER challenge and send it by e-mail to its organisers, academic use"


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """MER2024 (Lian et al. 2024): MER2023's labelled clips for training; tests SEMI, NOISE and OV.

    Splits: `train` (5,030 published clips less those of `val`, a share drawn by the seed: there is no published one),
    `semi`, `noise` and `ov` where their label files are there, and `test`, which is the one named by the setting
    `test`. Facts: `published_label`, `valence`, and for OV `open_labels` (words). Folders, `label-disdim.csv` and
    `check-openset.csv` are known from the challenge's code; that the labels of SEMI and NOISE come as csv with
    `name, discrete`, and that `label-disdim.csv` has a `valence`, is only deduced. MER-UniBench's processed copy
    (`label-6way.npz`, `video/`, `transcription_merge.csv`) is read where there is no csv of training labels; that its
    `test1` is SEMI is deduced from the number of clips that its loader asserts. Where every clip of it holds the same
    label, that is a placeholder and left out. OV's words are the answer of the task `open_labels` too.
    """

    test: Literal["semi", "noise", "ov"] = "noise"
    """Which part is the split `test`."""
    train_labels: str = "label-disdim.csv"
    """Labels of the training clips, or a processed copy's npz of all labels."""
    semi_labels: str | None = None
    """Labels of MER-SEMI's 1,169 clips, where you have them."""
    noise_labels: str | None = None
    """Labels of MER-NOISE's 1,170 clips, where you have them."""
    ov_labels: str | None = None
    """Open labels of MER-OV's 332 clips (`check-openset.csv`)."""
    video: str = "video-labeled"
    """The folder of the training clips."""
    test_video: str = "video-unlabeled-with-test2noise"
    """The folder of the unlabelled clips, among them all test clips."""
    transcripts: str | None = None
    """A csv of what is said (`transcription_all_new.csv` of Emotion-LLaMA's copy); null looks for MERBench's."""


def read(settings: Settings) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, CODES, MER6, OBTAIN)
    labels = first_there(reader.root, (settings.train_labels, NPZ)) or settings.train_labels
    given = {"semi": settings.semi_labels, "noise": settings.noise_labels, "ov": settings.ov_labels}
    video: Folder | None = None
    if labels.endswith(".npz"):
        video = clips_in(reader, first_there(reader.root, (settings.video,)), ("video",))
        splits = emotions(reader, reader.root / labels, video, {"test1": "semi"})
    else:
        splits = {"train": discrete(reader, reader.root / labels, reader.clips(settings.video))}
        video = reader.clips(settings.test_video, "data.test_video") if any(given.values()) else None
    for split, file in given.items():
        if file is not None:
            take = open_clips if split == "ov" else discrete
            splits[split] = take(reader, reader.root / file, video)
    splits["test"] = splits.get(settings.test, [])
    return reader.end(splits)


PIECE = published("mer2024", Settings, read, MER6, OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
