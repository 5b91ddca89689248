"""Open emotion words of MER's clips: OV-MERD and OV-MERD+ (by people), MER-Caption and MER-Caption+ (by models)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from affectkit_plugins._values import leave_some, shares
from affectkit_plugins.datasets._annotations import names_in, there
from affectkit_plugins.datasets._open import described, looked_for, neutral_for_none, open_clips
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, published
from affectkit_plugins.datasets._shares import assign_shares, cut

from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Fact, Sample

OBTAIN = "sign the agreement of the MER challenge (Hugging Face: MERChallenge/MER2025), academic use"
OV_FILES = {
    "ov_merd": ("track2_train_ovmerd.csv", "check-openset.csv"),
    "ov_merd_plus": ("ovlabel.csv",),
}
REASONS = ("track3_train_ovmerd.csv", "final-EMER-reason.csv")
CAPTION_FILES = {
    "plus": ("track2_train_mercaptionplus.csv", "track3_train_mercaptionplus.csv"),
    "full": ("track2_train_mercaption.csv", "track3_train_mercaption.csv"),
}


@dataclass(frozen=True)
class OvMerd(PublishedSettings):
    """OV-MERD (Lian et al. 2024, 332 clips) and OV-MERD+ (2025, 532 clips): emotion words in any number, by people.

    The words are the answer of the task `open_labels` (`[sad, hurt]`) and the fact `open_labels`; descriptions, where a
    file has them, that of `reason`. All of it is the split `test` unless shares say otherwise. Reads MER2025's
    `track2_train_ovmerd.csv` and `track3_train_ovmerd.csv`, MER2024's `check-openset.csv`, and MER-UniBench's
    `ovlabel.csv` with `subtitle_eng.csv`. Columns and counts are known from MER2024's file and the loaders' code; that
    MER2025's 332 clips are the same is known from their names alone.
    """

    version: Literal["ov_merd", "ov_merd_plus"] = "ov_merd"
    """ov_merd: 332 clips; ov_merd_plus: 532, the set of MER-UniBench."""
    annotations: str | None = None
    """The csv of the words; null looks for the names that it has (`track2_train_ovmerd.csv`, `ovlabel.csv` …)."""
    reasons: str | None = None
    """The csv of the descriptions (`reason`, or EMER's `english` and `chinese`); null looks for the usual ones."""
    video: str | None = "video"
    """The folder of the clips, or null where features are enough."""
    train: float = 0.0
    """Share of the clips for the split `train`."""
    val: float = 0.0
    """Share of the clips for the split `val`."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return super().problems() + shares(self, "train") + leave_some(self, "train", ("train", "val"), "test on")


@dataclass(frozen=True)
class MerCaption(PublishedSettings):
    """MER-Caption+ (Lian et al. 2025, 31,327 clips) and MER-Caption (115,595): words and descriptions by models.

    The words are the answer of the task `open_labels` (`[sad, hurt]`), the description that of `reason`; the fact
    `open_labels` is an estimate, since models wrote it (people chose the models). Splits: `train`, `val` and, with a
    share, `test`. Reads MER2025's `track2_train_mercaptionplus.csv` and `track3_train_mercaptionplus.csv`; MER2026 has
    the first of them alone. Columns are known from the loaders' code; the names of the larger set's files are a guess.
    """

    version: Literal["plus", "full"] = "plus"
    """plus: the 31,327 clips that passed all filters; full: the 115,595 before them."""
    annotations: str | None = None
    """The csv of the words, where it has another name."""
    reasons: str | None = None
    """The csv of the descriptions, where it has another name; null takes the usual one if it is there."""
    video: str | None = "video"
    """The folder of the clips, or null where features are enough."""
    empty: Literal["kept", "neutral"] = "kept"
    """Training clips whose list of words is empty: kept so, or read as neutral, as the published training code does."""
    without: tuple[str, ...] = ()
    """Label files whose clips are left out, such as those of a set to test on: all come from one pool of clips."""
    test: float = 0.0
    """Share of the clips for the split `test`, which it has not got."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        return super().problems() + shares(self, "test") + leave_some(self, "test", ("val", "test"), "train on")


def read_ov_merd(settings: OvMerd) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, {}, (), OBTAIN)
    path = looked_for(reader, settings.annotations, OV_FILES[settings.version])
    told = looked_for(reader, settings.reasons, REASONS)
    column = settings.language if told.name == REASONS[1] else "reason"
    reasons = described(told if settings.reasons or told.is_file() else None, column)
    samples = open_clips(reader, path, reader.clips(settings.video), reasons)
    return reader.end(assign_shares(samples, settings.train, settings.val, settings.seed))


def read_mer_caption(settings: MerCaption) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, {}, (), OBTAIN)
    words, descriptions = CAPTION_FILES[settings.version]
    path = reader.root / (settings.annotations or words)
    there(path)
    told = reader.root / (settings.reasons or descriptions)
    reasons = described(told if settings.reasons or told.is_file() else None)
    gone = names_in(reader.root, settings.without)
    samples = [s for s in open_clips(reader, path, reader.clips(settings.video), reasons) if s.id not in gone]
    if gone:
        reader.notes.append(f"clips that {', '.join(settings.without)} name are left out")
    parts = cut([_estimated(s) for s in samples], settings.test, settings.val, settings.seed)
    if settings.empty == "neutral":
        parts = {n: part if n == "test" else neutral_for_none(part) for n, part in parts.items()}
    return reader.end(parts)


def _estimated(sample: Sample) -> Sample:
    """The sample, its words marked as a model's."""
    facts = {name: Fact(fact.value, "estimate") for name, fact in sample.facts.items()}
    return replace(sample, facts=facts)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's pieces."""
    return [
        published("ov_merd", OvMerd, read_ov_merd, (), OBTAIN),
        published("mer_caption", MerCaption, read_mer_caption, (), OBTAIN),
    ]
