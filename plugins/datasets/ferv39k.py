"""FERV39k: facial expressions in clips of 22 kinds of scene."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from affectkit_plugins.datasets._annotations import there
from affectkit_plugins.datasets._faces import OURS, list_lines
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, published

from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Fact, Sample

LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
CODES = {word: ours for word, ours in OURS.items() if ours in LABELS}
Scene = Literal[
    "all", "Action", "Argue", "Business", "Conflict", "Contest", "Crime", "Crisis", "DailyLife", "ElegantArt",
    "Experiment", "History", "Interview", "Liveshow", "Medicine", "OfficialEvent", "ScholarReport", "School", "Social",
    "Speech", "Talkshow", "Terror", "War",
]  # fmt: skip
OBTAIN = "write to the authors of FERV39k from a university account (non-commercial, one site)"


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """FERV39k (Wang et al. 2022): 38,935 clips of seven expressions in 22 kinds of scene, as folders of frames.

    Splits: `train` (31,088), `test` (7,847) and `val` (a share of train drawn by the seed: there is no published one). The
    id of a clip is its folder (`Action/Angry/0267`), since numbers begin anew in each. Facts: `published_label`, `scene`.
    Tree, lists and counts are known from public loaders and the lists. It has no sound and no transcripts.
    """

    scene: Scene = "all"
    """All scenes, or one of the 22."""
    video: str = "2_ClipsforFaceCrop"
    """The folder of frames: cut faces, or `3_ClipsforScenImages` for whole pictures."""


def read(settings: Settings) -> PublishedSamples:
    """Both parts. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, CODES, LABELS, OBTAIN)
    video = reader.folder("data.video", settings.video)
    lists = "4_setups/All_scenes/{}_All.csv"
    if settings.scene != "all":
        lists = f"4_setups/22_scenes/{{}}_{settings.scene}.csv"
    splits: dict[str, list[Sample]] = {}
    other = 0
    for split in ("train", "test"):
        path = reader.root / lists.format(split)
        there(path)
        reader.another()
        splits[split] = []
        for place, name, code in list_lines(path):
            if reader.once(name, place):
                scene, *inner = name.split("/")
                other += bool(inner) and inner[0] != code
                sample = reader.sample((name,), None, code=code, place=place, facts={"scene": Fact(scene)})
                splits[split].append(replace(sample, video=video.path / name if video else None))
    if other:
        reader.notes.append(f"{other} clips have another label in the list than in the name of their folder")
    return reader.end(splits)


PIECE = published("ferv39k", Settings, read, LABELS, OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
