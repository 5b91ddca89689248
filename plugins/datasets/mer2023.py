"""MER2023: the first MER challenge."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from affectkit_plugins.datasets._annotations import ncev, there
from affectkit_plugins.datasets._folders import Folder
from affectkit_plugins.datasets._processed import clips_in, emotions, first_there
from affectkit_plugins.datasets._published import (
    MER6,
    PublishedSamples,
    PublishedSettings,
    SampleReader,
    discrete,
    labelled,
    published,
)

from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Sample

CODES = {name: name for name in MER6}
OBTAIN = "sign the agreement of the MER challenge (Hugging Face: MERChallenge/MER2023), academic use"
FILES = {s: f"{s}-label.csv" for s in ("train", "test1", "test2", "test3")}
NPZ = "label-6way.npz"
SHARED = ("video", "subvideo")
"""Folders of the processed copies, which hold the clips of all splits."""


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """MER2023 (Lian et al. 2023): Chinese film clips, six emotions and a valence; tests 1 (MULTI), 2 (NOISE), 3 (SEMI).

    Splits: `train`, `val` (a share of train drawn by the seed: there is no published one), `test1`, `test2`, `test3`
    under MERBench's names, and `test`, which is the one of them named by the setting `test`. Reads the release
    (`train/`, `train-label.csv` …) and Emotion-LLaMA's copy (`video/`, lists such as `relative_test3_NCEV.txt`), as
    `name, discrete[, valence]` or `name frames emotion valence`. Facts: `published_label`, `valence` (a number too; missing where
    the file has none or -10). Known from the code of the challenge's baseline, of MERBench and of Emotion-LLaMA.
    MERBench's `label-6way.npz` is read where there is none of the csv files; the dictionaries in it are pickles, and
    nothing of them is run.
    """

    test: Literal["test1", "test2", "test3"] = "test3"
    """Which part is the split `test`: test1 (MULTI), test2 (NOISE) or test3 (SEMI, 834 clips)."""
    files: dict[str, str] = field(default_factory=dict)
    """Label files by split where they have other names (`{test3: relative_test3_NCEV.txt}`); csv or a list."""
    video: str | None = None
    """The folder of all clips; null looks for the split's own (`train/`), then `video/` and `subvideo/`."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        strange = [s for s in self.files if s not in FILES]
        return super().problems() + [("files", f"{s!r} is none of {', '.join(FILES)}") for s in strange]


def read(settings: Settings) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, CODES, MER6, OBTAIN)
    reader.numbers = {"valence": (-math.inf, math.inf)}
    splits: dict[str, list[Sample]] = {}
    if not settings.files and first_there(reader.root, (*FILES.values(), NPZ)) == NPZ:
        splits = emotions(reader, reader.root / NPZ, clips_in(reader, settings.video, SHARED))
    for split, usual in FILES.items():
        path = reader.root / settings.files.get(split, usual)
        if split in settings.files:
            there(path)
        if path.is_file():
            splits[split] = _part(reader, path, clips_in(reader, settings.video, (split, *SHARED)))
    if not splits:
        there(reader.root / FILES["train"])
    splits["test"] = splits.get(settings.test, [])
    return reader.end({"train": [], **splits})


def _part(reader: SampleReader, path: Path, video: Folder | None) -> list[Sample]:
    if path.suffix != ".csv":
        rows = [(x.name, x.place, x.emotion, x.valence) for x in ncev(path)]
        return labelled(reader, rows, video)
    return discrete(reader, path, video)


PIECE = published("mer2023", Settings, read, MER6, OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
