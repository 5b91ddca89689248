"""AffectNet: expressions, valence and arousal of faces from the web."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from affectkit_plugins.datasets._annotations import is_number, there
from affectkit_plugins.datasets._faces import at, coded, csv_lines
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, published

from affectkit.errors import InputError, Problem
from affectkit.labels.npz import read_npy
from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Fact, Sample

LABELS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
OTHERS = ("none", "uncertain", "non-face")
WIDE = {str(i): name for i, name in enumerate((*LABELS, *OTHERS))}
"""All published codes; pictures of the last three are no expression and are left out."""
LISTS = {"train": "training.csv", "test": "validation.csv"}
ARRAYS = {"train": "train_set", "test": "val_set"}
COLUMNS = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
    "valence", "arousal",
)  # fmt: skip
OBTAIN = "a laboratory's manager or professor signs the agreement of AffectNet's authors (research only)"


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """AffectNet (Mollahosseini et al. 2017): stills with one of eight (287,651) or seven (283,901) expressions.

    Splits: `train`, `val` (a share of train drawn by the seed) and `test`, which is the published validation part, as
    everywhere: its test part was never released. Reads the release of 2021 (`train_set/images`, `annotations/<id>_exp.npy`)
    or of 2017 (`Manually_Annotated_file_lists/training.csv`, with or without a header). Facts: `published_label` (0 to 7),
    and from lists, or with `dimensions`, `valence` and `arousal` (-1 to 1; numbers too); from lists `face_box`. Forms and
    columns are known from public loaders and descriptions; how many pictures there are of each class is general
    knowledge.
    """

    classes: Literal[7, 8] = 8
    """Eight expressions, or seven: without contempt."""
    form: Literal["auto", "arrays", "lists"] = "auto"
    """The release: `arrays` of 2021, `lists` of 2017; auto takes the first that is there."""
    dimensions: bool = False
    """From arrays, read valence and arousal too: two more small files a picture."""


def read(settings: Settings) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    labels = LABELS[: settings.classes]
    reader = SampleReader(settings, {str(i): name for i, name in enumerate(labels)}, labels, OBTAIN)
    reader.numbers = dict.fromkeys(("valence", "arousal"), (-1.0, 1.0))
    arrays = settings.form == "arrays" or (settings.form == "auto" and (reader.root / ARRAYS["test"]).is_dir())
    splits, left = {}, Counter[str]()
    for split in ("train", "test"):
        reader.another()
        rows = _arrays(reader, split, settings.dimensions) if arrays else _listed(reader, split)
        splits[split] = list(_samples(reader, rows, left))
    if left:
        counts = ", ".join(f"{n} {name}" for name, n in sorted(left.items()))
        reader.notes.append(f"pictures of other classes are left out: {counts}")
    return reader.end(splits)


PictureRow = tuple[str, str, str, Path, "dict[str, Fact]"]
"""Place, id, published label, file, facts."""


def _samples(reader: SampleReader, rows: Iterator[PictureRow], left: Counter[str]) -> Iterator[Sample]:
    for place, name, code, path, facts in rows:
        label = coded(reader, code, place, WIDE)
        if label is None:
            left.update([WIDE[code]] if code in WIDE else [])
        elif reader.once(name, place):
            yield reader.sample((name,), None, image=path, code=code, label=label, facts=facts)


def _listed(reader: SampleReader, split: str) -> Iterator[PictureRow]:
    """The lists of 2017."""
    file = LISTS[split]
    path = at(reader.root, f"Manually_Annotated_file_lists/{file}", file)
    there(path)
    inner = "Manually_Annotated_Images"
    images = at(reader.root, inner, f"Manually_Annotated/{inner}")
    for place, cells in csv_lines(path):
        if cells[0] == COLUMNS[0]:
            continue
        if len(cells) != len(COLUMNS):
            reader.problems.append(Problem(place, f"has {len(cells)} cells, not {len(COLUMNS)}", known=COLUMNS))
            continue
        row = dict(zip(COLUMNS, cells, strict=True))
        name = row[COLUMNS[0]]
        yield place, name.rpartition(".")[0], row["expression"], images / name, _facts(row)


def _facts(row: dict[str, str]) -> dict[str, Fact]:
    """Valence and arousal (-2 is none), and the box of the face where there is one."""
    found = {n: Fact(float(row[n])) for n in ("valence", "arousal") if is_number(row[n]) and float(row[n]) >= -1}
    sides = [row[n] for n in COLUMNS[1:5]]
    if all(map(is_number, sides)):
        x, y, wide, high = map(float, sides)
        if wide > 0 and high > 0:
            found["face_box"] = Fact((x, y, x + wide, y + high))
    return found


def _arrays(reader: SampleReader, split: str, dimensions: bool) -> Iterator[PictureRow]:
    """The arrays of 2021, in the order of their numbers."""
    root = reader.root / ARRAYS[split]
    folder = root / "annotations"
    if not folder.is_dir():
        near = tuple(sorted(p.name for p in reader.root.iterdir())[:30])
        raise InputError(Problem(str(folder), "there is no such folder", OBTAIN, near))
    for name, code in _codes(folder, folder.stat().st_mtime_ns):
        facts: dict[str, Fact] = {}
        for ours, theirs in (("valence", "val"), ("arousal", "aro")) if dimensions else ():
            path = folder / f"{name}_{theirs}.npy"
            text = _scalar(path) if path.is_file() else ""
            facts |= {ours: Fact(float(text))} if is_number(text) else {}
        yield str(folder / f"{name}_exp.npy"), name, code, root / "images" / f"{name}.jpg", facts


@lru_cache(maxsize=4)
def _codes(folder: Path, _changed: int) -> tuple[tuple[str, str], ...]:
    """Id and published label of every picture. A file each: read once a process while the folder stays as it is."""
    names = [p.name.removesuffix("_exp.npy") for p in folder.glob("*_exp.npy")]
    names.sort(key=lambda n: (len(n), n))
    return tuple((n, _scalar(folder / f"{n}_exp.npy")) for n in names)


def _scalar(path: Path) -> str:
    """The one value of an npy, a whole number as `3`; it may be stored as text. Raises InputError."""
    text = str(read_npy(path.read_bytes(), str(path)).reshape(-1)[0]).strip()
    return str(int(float(text))) if path.stem.endswith("_exp") and is_number(text) else text


PIECE = published("affectnet", Settings, read, lambda settings: LABELS[: settings.classes], OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
