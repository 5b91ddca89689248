"""MAFW: facial expressions in films and shows, with captions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from affectkit_plugins.datasets._annotations import there
from affectkit_plugins.datasets._faces import OURS, at, list_lines
from affectkit_plugins.datasets._folders import Folder
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, published

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Sample
from affectkit.tables import text_lines

PUBLISHED = (
    "anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "anxiety", "helplessness",
    "disappointment",
)  # fmt: skip
CODES = {word: OURS[word] for word in PUBLISHED}
LABELS = tuple(CODES.values())
LISTS = "Train & Test Set/single/{form}/set_{fold}/{part}.txt"
OBTAIN = "sign the form of MAFW's authors (non-commercial research, one site)"


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """MAFW (Liu et al. 2022): 9,172 clips with one of eleven expressions, in five folds; captions for 8,034 of them.

    Splits of a fold: `train`, `val` (a share of its training clips drawn by the seed: there is no published one) and
    `test`. With `captions` the description of a clip is the answer of the task `reason`; neutral clips have none. Clips
    are files or folders of frames. The fact `published_label` keeps the word. Tree, lists, their encodings and counts are
    known from the lists and the data set's README; how frames are laid out is a public loader's. Clips of several
    expressions (the compound lists) are not read.
    """

    fold: Literal[1, 2, 3, 4, 5] = 1
    """Which of the five folds."""
    video: str = "data/clips"
    """The folder of the clips, such as `data/clips` or `data/frames`."""
    captions: bool = False
    """Read the descriptions (`with_caption` lists) in the language of the setting `language`."""


def read(settings: Settings) -> PublishedSamples:
    """Both parts of the fold. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, CODES, LABELS, OBTAIN)
    video = reader.folder("data.video", settings.video, frames=True)
    splits = {part: _part(reader, settings, part, video) for part in ("train", "test")}
    return reader.end(splits)


def _list(root: Path, form: str, fold: int, part: str) -> Path:
    """A list of a fold, below the published folder or in the root."""
    name = LISTS.format(form=form, fold=fold, part=part)
    path = at(root, name, name.partition("/")[2])
    there(path)
    return path


def _part(reader: SampleReader, settings: Settings, part: str, video: Folder | None) -> list[Sample]:
    told = {}
    if settings.captions:
        told = _captions(_list(reader.root, "with_caption", settings.fold, part), settings.language)
    reader.another()
    found = []
    for place, file, code in list_lines(_list(reader.root, "no_caption", settings.fold, part)):
        name = file.rpartition(".")[0] or file
        if reader.once(name, place):
            found.append(reader.sample((name,), video, code=code, place=place, reason=told.get(name, "")))
    return found


def _captions(path: Path, language: str) -> dict[str, str]:
    """The description of each clip, from lines of clip, label, Chinese and English between tabs; GBK, else UTF-8.

    Raises InputError by line.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")  # GBK and what was added to it
        except UnicodeDecodeError as error:
            bad = data[: error.start].count(b"\n") + 1
            raise InputError(Problem(f"{path}:{bad}", "is neither UTF-8 nor GBK text")) from error
    found = {}
    for number, line in enumerate(text_lines(text), 1):
        cells = [c.strip() for c in line.split("\t")]
        if len(cells) >= 4:
            found[cells[0].rpartition(".")[0] or cells[0]] = cells[2 if language == "chinese" else 3]
        elif line.strip():
            raise InputError(Problem(f"{path}:{number}", f"has {len(cells)} cells between tabs, not 4"))
    return found


PIECE = published("mafw", Settings, read, LABELS, OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
