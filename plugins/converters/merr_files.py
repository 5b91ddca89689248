"""Instruction data as MERR's json and txt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from affectkit.annotators import ExportRow
from affectkit.errors import InputError, Problem
from affectkit.files import write_text_atomic
from affectkit.pieces import Piece, Port, hookimpl

CAPTIONS = {"coarse": "caption", "fine": "smp_reason_caption"}
NO_VALENCE = -10


@dataclass(frozen=True)
class Settings:
    """MERR's files (Emotion-LLaMA, Cheng et al. 2024): a json of clues and a caption by clip, and a list `name frames emotion
    valence`; the data set `merr` reads them. Findings that are not there are empty. Valence is -10, MERR's word for none.
    """

    kind: Literal["coarse", "fine"] = "coarse"
    """Which of the two sets: their captions stand under other keys."""

    def files(self) -> tuple[str, str]:
        """The names of json and txt."""
        return f"MERR_{self.kind}_grained.json", f"MERR_{self.kind}_grained.txt"


@dataclass(frozen=True)
class MerrFiles:
    """See `Settings`."""

    settings: Settings

    def write(self, rows: Sequence[ExportRow], folder: Path) -> list[Path]:
        """The json and the list, by name. Raises InputError for names with blanks, and for one that comes twice."""
        names = [row.id for row in rows]
        wrong = [name for name in names if len(name.split()) != 1 or names.count(name) > 1]
        if wrong:
            what = "has blanks in it, or comes twice: MERR's list separates by blanks"
            raise InputError(Problem(f"exports: clip {wrong[0]!r}", what))
        paths = [folder / name for name in self.settings.files()]
        entries = {row.id: self._entry(row) for row in rows}
        write_text_atomic(paths[0], json.dumps(entries, ensure_ascii=False, indent=1) + "\n")
        lines = [f"{row.id} {_frames(row)} {_emotion(row)} {NO_VALENCE}\n" for row in rows]
        write_text_atomic(paths[1], "".join(lines))
        return paths

    def _entry(self, row: ExportRow) -> dict[str, Any]:
        value = row.values
        units, phrases = list(value["units"] or ()), value["phrases"] or []
        return {
            "AU_list": [_unit(name) for name in units],
            "visual_prior_list": list(phrases) if isinstance(phrases, list) else [phrases],
            "audio_prior_list": value["tone"] or "",
            "peak_index": str(value["peak"] if value["peak"] is not None else 0),
            "peak_AU_list": [_unit(name) for name in (value["peak_units"] or units)],
            "pseu_emotion": _emotion(row),
            "text": value["words"] or "",
            CAPTIONS[self.settings.kind]: value["caption"],
        }

    def example(self) -> list[ExportRow]:
        """Two clips."""
        empty = dict.fromkeys(port.name for port in PORTS)
        full = {"label": "sad", "caption": "She looks down.", "units": ["AU1", "AU15"], "phrases": ["a raised brow", "a low lip"],
                "tone": "slow", "peak": 12, "peak_units": ["AU1", "AU15", "AU25"], "words": "No."}  # fmt: skip
        return [ExportRow("sample_1", "train", {}, {**empty, **full}),
                ExportRow("sample_2", "train", {}, {**empty, "label": "happy", "caption": "He smiles."})]  # fmt: skip


def _unit(name: str) -> str:
    """`AU5` as `AU05`."""
    digits = name.removeprefix("AU")
    return f"AU{int(digits):02d}" if digits.isdigit() else name


def _emotion(row: ExportRow) -> str:
    label = str(row.values["label"])
    if len(label.split()) != 1:
        raise InputError(Problem(f"exports: clip {row.id!r}", f"the label {label!r} is more than one word"))
    return label


def _frames(row: ExportRow) -> int:
    """How many frames the clip's file has; 0 where it has none."""
    import av

    path = row.media.get("video")
    if path is None or path.is_dir():
        return sum(1 for _ in path.iterdir()) if path else 0
    try:
        with av.open(str(path)) as container:
            stream = next(iter(container.streams.video), None)
            return stream.frames or sum(p.size > 0 for p in container.demux(stream)) if stream else 0
    except (av.FFmpegError, OSError):
        return 0


def build(settings: Settings) -> MerrFiles:
    """The writer."""
    return MerrFiles(settings)


PORTS = (
    Port("label", "finding", "the pseudo label"),
    Port("caption", "finding", "the caption, or reason"),
    Port("units", "finding", "names of the action units that were kept", optional=True),
    Port("phrases", "finding", "a phrase for each of them", optional=True),
    Port("tone", "finding", "how the voice sounds", optional=True),
    Port("peak", "finding", "the peak frame", optional=True),
    Port("peak_units", "finding", "names of all action units of the peak frame", optional=True),
    Port("words", "finding", "what is said", optional=True),
)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("converter", "merr_files", Settings, build, ports=PORTS)]
