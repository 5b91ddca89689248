"""MERR: clips of MER2023 with emotion clues and reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affectkit_plugins._values import leave_some, shares
from affectkit_plugins.datasets._annotations import (
    NcevLine,
    first_of,
    lenient_json,
    names_in,
    ncev,
    units,
    words,
)
from affectkit_plugins.datasets._folders import Folder
from affectkit_plugins.datasets._published import (
    MER6,
    PublishedSamples,
    PublishedSettings,
    SampleReader,
    published,
    published_label,
    valence,
)
from affectkit_plugins.datasets._shares import cut

from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Fact, Sample

LABELS = (*MER6, "fear", "contempt", "doubt")
CODES = {name: name for name in LABELS}
REASONS = ("smp_reason_caption", "reason_caption", "caption")
"""Where the reason stands: fine-grained, its older releases, coarse-grained."""
OBTAIN = "ask the organisers of the MER challenge for MER2023 and the authors of Emotion-LLaMA for MERR (academic use)"


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """MERR (Cheng et al. 2024, Emotion-LLaMA): clips of MER2023 with a pseudo label, clues and a reason to give.

    Reads the coarse or fine-grained json (trailing commas of a public copy forgiven), a list `name frames emotion
    valence` a line (also of pseudo labels for MER2023's unlabelled clips), or both. Facts: `published_label` (an
    estimate: a model's, checked by action units), `peak_frame`, `action_unit_names`, `peak_action_units`,
    `visual_clues`, `audio_clues`, `frame_count`, `valence`. The reason is the answer of the task `reason`.
    Keys, columns and folders are known from the released code and a copy of the fine-grained json; that the
    coarse-grained one has the same types is general knowledge. Whether `peak_index` counts from 0 is deduced (344
    of 4,487 are 0).
    """

    annotations: str | None = "MERR_fine_grained.json"
    """The json with the clues (`MERR_coarse_grained.json`, `MERR_fine_grained.json`), or null."""
    index: str | None = None
    """A list of the clips to take and their labels (`MERR_coarse_grained.txt`); null takes all of the json."""
    video: str | None = "video"
    """The folder of the clips (`.mp4`, then `.avi`), or null where features are enough."""
    transcripts: str | None = None
    """A csv of what is said (`transcription_en_all.csv`); null takes the json's words, or MERBench's file beside it."""
    leave_out: tuple[str, ...] = ()
    """Labels to leave out (`[neutral]`, as for the published model that was tried on EMER)."""
    without: tuple[str, ...] = ()
    """Label files (csv or lists) whose clips are left out: MERR's clips come from the pool that MER2023 tests on."""
    test: float = 0.0
    """Share of the clips for the split `test`, which MERR has not got."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = super().problems() + shares(self, "test")
        if self.annotations is None and self.index is None:
            found.append(("annotations", "give `annotations`, `index` or both"))
        found += leave_some(self, "test", ("val", "test"), "train on")
        found += [("leave_out", f"{name!r} is no label of MERR") for name in self.leave_out if name not in CODES]
        return found


def read(settings: Settings) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, CODES, LABELS, OBTAIN)
    video = reader.clips(settings.video)
    clues = lenient_json(reader.root / settings.annotations) if settings.annotations else {}
    gone = names_in(reader.root, settings.without)
    if settings.index:
        lines = ncev(reader.root / settings.index)
    else:
        lines = [NcevLine(f"{settings.annotations}: {n}", n, words(e.get("pseu_emotion"))) for n, e in clues.items()]
    samples, bare, other = [], 0, 0
    for line in lines:
        if not reader.once(line.name, line.place) or line.name in gone:
            continue
        label = reader.label(line.emotion, line.place)
        if label is not None and label in settings.leave_out:
            continue
        entry = clues.get(line.name, {})
        bare += bool(clues) and not entry
        other += line.emotion.lower() != (words(entry.get("pseu_emotion")) or line.emotion).lower()
        samples.append(_sample(reader, video, line, label, entry))
    if bare:
        reader.notes.append(f"{bare} clips of {settings.index} have no entry in {settings.annotations}")
    if other:
        reader.notes.append(f"{other} clips have another label in {settings.annotations} than in {settings.index}")
    return reader.end(cut(samples, settings.test, settings.val, settings.seed))


def _sample(
    reader: SampleReader, video: Folder | None, line: NcevLine, label: str | None, entry: Mapping[str, Any]
) -> Sample:
    facts = {**published_label(line.emotion, "estimate"), **_clues(entry)}
    if line.frames is not None:
        facts |= {"frame_count": Fact(line.frames, "estimate"), **valence(line.valence)}
    said, reason = words(entry.get("text")), first_of(entry, REASONS)
    return reader.sample((line.name,), video, said, reason=reason, label=label, facts=facts)


def _clues(entry: Mapping[str, Any]) -> dict[str, Fact]:
    """What OpenFace and the describing models said of the clip."""
    found: dict[str, Any] = {
        "action_unit_names": units(entry.get("AU_list")),
        "peak_action_units": units(entry.get("peak_AU_list")),
        "visual_clues": tuple(entry.get("visual_prior_list") or ()),
        "audio_clues": words(entry.get("audio_prior_list")),
    }
    peak = words(entry.get("peak_index"))
    if peak.isdigit():
        found["peak_frame"] = int(peak)
    return {name: Fact(value, "estimate") for name, value in found.items() if value not in ("", ())}


PIECE = published("merr", Settings, read, LABELS, OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
