"""EMER: explained emotions of MER2023's clips."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from affectkit_plugins._values import leave_some, shares
from affectkit_plugins.datasets._annotations import words
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, published
from affectkit_plugins.datasets._shares import assign_shares

from affectkit.pieces import Piece, hookimpl

LABELS = ("angry", "happy", "worried", "sad", "surprise")
CODES = {
    **{name: name for name in LABELS},
    "愤怒": "angry", "生气": "angry", "高兴": "happy", "开心": "happy", "快乐": "happy", "担心": "worried",
    "担忧": "worried", "悲伤": "sad", "伤心": "sad", "难过": "sad", "惊讶": "surprise", "吃惊": "surprise",
    "惊喜": "surprise",
}  # fmt: skip
FILES = {("v1", "english"): "gt-eng.csv", ("v1", "chinese"): "gt-chi.csv"}
V2 = "final-EMER-reason.csv"
OBTAIN = "the clips come with MER2023 (sign its agreement), the csv with the code of AffectGPT; academic use"


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """EMER (Lian et al. 2023): clips of MER2023 with an explanation of the emotion, to judge a model's reasons by.

    Version 1 is 100 clips (`names, emotions, subtitles, reasons` in `gt-eng.csv` and `gt-chi.csv`), version 2 is 332
    (`name, chinese, english`, both explanations; no label). The explanation is the answer of the task `reason`, the
    main emotion of version 1 the label, and the fact `published_label` keeps it as it is written. All of it is the
    split `test` unless shares say otherwise. Columns and counts are known from the files; which Chinese words they
    use for the emotions is general knowledge (see `rename`), and so is where the clips lie.
    """

    version: Literal["v1", "v2"] = "v1"
    """v1: 100 clips with a main emotion; v2: 332 clips without."""
    language: Literal["english", "chinese"] = "english"
    """The language of the explanations (v1: of the subtitles too)."""
    annotations: str | None = None
    """The csv, where it has another name than the published one."""
    video: str | None = "video"
    """The folder of the clips, or null where features are enough."""
    rename: dict[str, str] = field(default_factory=dict)
    """A word for an emotion in your copy to the label it stands for (`{惊奇: surprise}`)."""
    train: float = 0.0
    """Share of the clips for the split `train`."""
    val: float = 0.0
    """Share of the clips for the split `val`."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return super().problems() + shares(self, "train") + leave_some(self, "train", ("train", "val"), "test on")


def read(settings: Settings) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    first = settings.version == "v1"
    own = LABELS if first else ()
    reader = SampleReader(settings, {**CODES, **{k.lower(): v for k, v in settings.rename.items()}}, own, OBTAIN)
    video = reader.clips(settings.video)
    path = reader.root / (settings.annotations or FILES.get((settings.version, settings.language), V2))
    reasons = "reasons" if first else settings.language
    samples = []
    for name, row in reader.rows(path, ("emotions", "reasons") if first else (reasons,), ("names", "name")):
        code, said = words(row.cells.get("emotions")), words(row.cells.get("subtitles"))
        place = row.place if first else None
        samples.append(reader.sample((name,), video, said, code, place, words(row.cells[reasons])))
    return reader.end(assign_shares(samples, settings.train, settings.val, settings.seed))


PIECE = published("emer", Settings, read, lambda settings: LABELS if settings.version == "v1" else (), OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
