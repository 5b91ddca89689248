"""RAF-DB: expressions of faces from the web."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from affectkit_plugins.datasets._annotations import text_of, there
from affectkit_plugins.datasets._faces import at, list_lines
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, published

from affectkit.errors import Problem
from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Fact, Sample
from affectkit.tables import text_lines

BASIC = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
COMPOUND = (
    "happily surprised", "happily disgusted", "sadly fearful", "sadly angry", "sadly surprised", "sadly disgusted",
    "fearfully angry", "fearfully surprised", "angrily surprised", "angrily disgusted", "disgustedly surprised",
)  # fmt: skip
CLASSES = {"basic": BASIC, "compound": COMPOUND}
"""In the order of their codes, which count from 1."""
GENDERS = ("male", "female")
RACES = ("Caucasian", "African-American", "Asian")
AGES = ("0-3", "4-19", "20-39", "40-69", "70+")
LIST = "EmoLabel/list_patition_label.txt"
OBTAIN = "write to the authors of RAF-DB from a university address (non-commercial research)"


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """RAF-DB (Li et al. 2017): 15,339 stills with one of seven expressions, 3,954 with one of eleven compound ones.

    Splits: `train` (12,271) and `test` (3,068) by the names in the list, `val` a share of train drawn by the seed: there
    is no published one. Facts: `published_label` (1 to 7, 1 to 11) and with `attributes` what people said of gender,
    race and age. Tree, list and codes are known from public loaders; that aligned pictures are 100 pixels wide and how
    many there are of each class is general knowledge.
    """

    part: Literal["basic", "compound"] = "basic"
    """Seven basic expressions, or eleven compound ones."""
    images: Literal["aligned", "original"] = "aligned"
    """Faces cut and aligned by the authors, or the pictures they are from."""
    attributes: bool = False
    """Read gender, race and age (bands) as facts, from one small file a picture."""


def read(settings: Settings) -> PublishedSamples:
    """All of one part. Raises InputError with everything that is wrong with this copy."""
    labels = CLASSES[settings.part]
    reader = SampleReader(settings, {str(i): name for i, name in enumerate(labels, 1)}, labels, OBTAIN)
    root = at(reader.root, settings.part, ".")
    path = root / LIST
    there(path)
    folder = root / "Image" / settings.images
    if not folder.is_dir():
        near = tuple(sorted(p.name for p in folder.parent.glob("*")))
        reader.problems.append(Problem("data.images", f"there is no folder {folder}", known=near))
    splits: dict[str, list[Sample]] = {"train": [], "test": []}
    for place, name, code in list_lines(path):
        stem, _, ending = name.rpartition(".")
        split = stem.partition("_")[0]
        if split not in splits:
            reader.problems.append(Problem(place, f"the name {name!r} begins with neither train_ nor test_"))
        elif reader.once(stem, place):
            file = f"{stem}_aligned.{ending}" if settings.images == "aligned" else name
            manual = root / "Annotation" / "manual" / f"{stem}_manu_attri.txt"
            facts = _attributes(manual) if settings.attributes else {}
            sample = reader.sample((stem,), None, code=code, place=place, image=folder / file, facts=facts)
            splits[split].append(sample)
    return reader.end(splits)


def _attributes(path: Path) -> dict[str, Fact]:
    """Gender, race and age, the last three lines after five landmarks; nothing where people were unsure.

    Raises InputError.
    """
    lines = [line.strip() for line in text_lines(text_of(path)) if line.strip()]
    found = {}
    for name, words, code in zip(("gender", "race", "age"), (GENDERS, RACES, AGES), lines[5:8], strict=False):
        if code.isdigit() and int(code) < len(words):
            found[name] = Fact(words[int(code)])
    return found


PIECE = published("raf_db", Settings, read, lambda settings: CLASSES[settings.part], OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
