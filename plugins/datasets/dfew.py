"""DFEW: facial expressions in films."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from affectkit_plugins.datasets._annotations import table, there
from affectkit_plugins.datasets._folders import Folder
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, published

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Fact, Sample

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
class Settings(PublishedSettings):
    """DFEW (Jiang et al. 2020): 11,697 film clips with one of seven expressions, in five folds.

    Splits of a fold: `train`, `val` (a share of its training clips drawn by the seed: there is no published one, and
    the test part must not choose a model) and `test`. Lists are found under both spellings of the folder; clip numbers
    may be padded to five digits or not; clips are files or folders of frames (in the order of their numbers). The fact
    `published_label` keeps the code 1 to 7, with `votes` the counts of ten people stand beside it. Tree, lists and codes
    are known from the data set's README and from public loaders; the workbook of votes from the README and one loader
    (seven counts, the clip, the label). It has no transcripts.
    """

    fold: Literal[1, 2, 3, 4, 5] = 1
    """Which of the five folds."""
    video: str = "Clip/original"
    """The folder of the clips, such as `Clip/original`, `Clip/clip_224x224` (all frames) or `Clip/clip_224x224_16f`."""
    codes: Literal["published", "minus_one"] = "published"
    """What labels the lists hold: 1 to 7 as published, or 0 to 6 as a redistributed copy has them."""
    votes: str | None = None
    """The workbook of annotations (`Annotation/annotation.xlsx`): its votes for the seven become the fact `votes`."""


def read(settings: Settings) -> PublishedSamples:
    """Both parts of the fold. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, CODES, LABELS, OBTAIN)
    video = reader.folder("data.video", settings.video, frames=True)
    told = _votes(reader, settings.votes) if settings.votes else None
    splits = {part: _part(reader, settings, part, video) for part in ("train", "test")}
    if told is not None:
        splits = {part: [_voted(reader, told, s) for s in samples] for part, samples in splits.items()}
        bare = sum(s.id not in told for samples in splits.values() for s in samples)
        reader.notes += [f"{bare} clips have no row in {settings.votes}"] if bare else []
    return reader.end(splits)


def _votes(reader: SampleReader, file: str) -> dict[str, tuple[tuple[int, ...], str, str]]:
    """Votes, label and place by padded number of clip. Label 0 is no single one: such clips are in no fold."""
    found: dict[str, tuple[tuple[int, ...], str, str]] = {}
    where = list(range(9))
    for place, cells in sheet(reader.root / file):
        if not found and not any(cell.isdigit() for cell in cells):
            where = _columns(cells)
            continue
        *counts, clip, code = [cells[i] if i < len(cells) else "" for i in where]
        if not all(c.isdigit() for c in (*counts, code)):
            reader.problems.append(Problem(place, "is no row of seven votes, the clip and its label"))
            continue
        found[clip.partition(".")[0].zfill(5)] = (tuple(map(int, counts)), code, place)
    return found


def _columns(header: list[str]) -> list[int]:
    """Where the seven votes, the clip and its label stand: by their names, else in the published order."""
    plain = [cell.strip("1234567 _").lower() for cell in header]
    names: list[tuple[str, ...]] = [(label,) for label in LABELS]
    names += [("order", "clip", "video_name", "name"), ("label", "annotation")]
    found = [next((plain.index(n) for n in wanted if n in plain), -1) for wanted in names]
    return found if min(found) >= 0 else list(range(9))


def _voted(reader: SampleReader, told: Mapping[str, tuple[tuple[int, ...], str, str]], sample: Sample) -> Sample:
    """The sample with its votes; a workbook that labels it otherwise is of another order or another data set."""
    if sample.id not in told:
        return sample
    votes, code, place = told[sample.id]
    mine = sample.fact("published_label").value
    if code and code != mine:
        reader.problems.append(Problem(place, f"the clip {sample.id} has the label {code} here and {mine} in the fold"))
    return replace(sample, facts={**sample.facts, "votes": Fact(votes)})


def _list(root: Path, part: str, fold: int) -> Path:
    """The list of a part."""
    tries = [root / form.format(part=part, fold=fold) for form in FOLDS]
    found = next((t for t in tries if t.is_file()), tries[0])
    there(found)
    return found


def _part(reader: SampleReader, settings: Settings, part: str, video: Folder) -> list[Sample]:
    path = _list(reader.root, part, settings.fold)
    _, key, rows = table(path, ("video_name", "name"), ("label",))
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
            found.append(reader.sample(names, video, code=code, place=row.place))
    return found


def sheet(path: Path) -> list[tuple[str, list[str]]]:
    """(place, cells as words) of each row of the first sheet that holds anything; whole numbers without a point.

    Raises InputError.
    """
    import openpyxl

    there(path)
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        rows = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # openpyxl raises what zip, XML and its own code do
        raise InputError(
            Problem(str(path), f"cannot be read as a workbook ({type(error).__name__}: {error})")
        ) from None
    cells = ((f"{path} row {i}", [_word(value) for value in row]) for i, row in enumerate(rows, 1))
    return [(place, row) for place, row in cells if any(row)]


def _word(value: object) -> str:
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


PIECE = published("dfew", Settings, read, LABELS, OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
