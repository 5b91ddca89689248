"""DFEW: facial expressions in films."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from affectkit_plugins.datasets._annotations import table, there
from affectkit_plugins.datasets._folders import Folder
from affectkit_plugins.datasets._published import (
    Clips,
    Opened,
    Published,
    Reader,
    has,
    one_split,
    published_label,
    surveyed,
)

from affectkit.errors import Problem
from affectkit.pieces import Piece, Survey, hookimpl
from affectkit.sample import Sample

CODES = {"1": "happy", "2": "sad", "3": "neutral", "4": "angry", "5": "surprise", "6": "disgust", "7": "fear"}
LABELS = tuple(CODES.values())
OBTAIN = "write to the authors of DFEW from a university address (non-commercial research)"
FOLDS = (
    "EmoLabel_DataSplit/{part}(single-labeled)/set_{fold}.csv",
    "EmoLabel_DataSplit/{part}(single_labeled)/set_{fold}.csv",
    "EmoLabel_DataSplit/{part}/set_{fold}.csv",
    "{part}(single-labeled)/set_{fold}.csv",
    "{part}(single_labeled)/set_{fold}.csv",
    "label/single_{part}set_{fold}.csv",
    "{part}_set_{fold}.csv",
)
"""Where a fold's list lies: as published first, then in copies."""


@dataclass(frozen=True)
class Settings(Published):
    """DFEW (Jiang et al. 2020): 11,697 film clips with one of seven expressions, in five folds.

    Splits of a fold: `train`, `val` (a share of its training clips drawn by the seed: there is no published one, and
    the test part must not choose a model) and `test`. Lists are found under both spellings of the folder; clip numbers
    may be padded to five digits or not; clips are files or folders of frames (in the order of their numbers). The fact
    `published_label` keeps the code 1 to 7. Tree, lists and codes are known from the data set's README and from public
    loaders. It has no transcripts.
    """

    fold: Literal[1, 2, 3, 4, 5] = 1
    """Which of the five folds."""
    video: str = "Clip/original"
    """The folder of the clips, such as `Clip/original`, `Clip/clip_224x224` (all frames) or `Clip/clip_224x224_16f`."""
    codes: Literal["published", "minus_one"] = "published"
    """What labels the lists hold: 1 to 7 as published, or 0 to 6 as a redistributed copy has them."""


def read(settings: Settings) -> Opened:
    """Both parts of the fold. Raises InputError with everything that is wrong with this copy."""
    reader = Reader(settings, CODES, LABELS, OBTAIN)
    video = reader.folder("data.video", settings.video, frames=True)
    splits = {part: _part(reader, settings, part, video) for part in ("train", "test")}
    return reader.end(splits)


def _list(root: Path, part: str, fold: int) -> Path:
    """The list of a part."""
    tries = [root / form.format(part=part, fold=fold) for form in FOLDS]
    found = next((t for t in tries if t.is_file()), tries[0])
    there(found)
    return found


def _part(reader: Reader, settings: Settings, part: str, video: Folder) -> list[Sample]:
    path = _list(reader.root, part, settings.fold)
    columns, key, rows = table(path, ("video_name", "name"))
    has(columns, "label", path)
    less = settings.codes == "minus_one"
    strange = next((row for row in rows if row.cells["label"] == ("7" if less else "0")), None)
    if strange is not None:  # read as they are, all labels would be those of their neighbours
        have, other = ("1 to 7", "published") if less else ("0 to 6", "minus_one")
        fix = f"if this copy holds {have}, set `data.codes` to {other}"
        what = f"has the label {strange.cells['label']}, which `data.codes: {settings.codes}` has not"
        reader.problems.append(Problem(strange.place, what, fix))
        return []
    reader.another()
    found = []
    for row in rows:
        number = row.cells[key].rpartition("/")[2].partition(".")[0]
        names = (number.zfill(5), number.lstrip("0") or "0", number)
        if reader.once(names[0], row.place):
            code = row.cells["label"]
            code = str(int(code) + 1) if less and code.isdigit() else code
            label = reader.label(code, row.place)
            found.append(reader.sample(names, video, label=label, facts=published_label(code)))
    return found


def build(settings: Settings, split: str) -> Clips:
    """One split of train, val and test. Raises InputError."""
    return one_split(read(settings), split, settings.root)


def survey(settings: Settings) -> Survey:
    """Labels and sizes of the splits."""
    return surveyed(settings, read, LABELS, OBTAIN)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [Piece("dataset", "dfew", Settings, build, survey=survey)]
