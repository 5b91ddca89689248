"""Instruction data as MER-Caption's csv files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from affectkit.annotators import ExportRow
from affectkit.files import write_text_atomic
from affectkit.pieces import Piece, Port, hookimpl


@dataclass(frozen=True)
class Settings:
    """Emotion words and descriptions in the files of MER-Caption+ (AffectGPT, Lian et al. 2025), as the challenge MER2025 gives
    them out: `name, openset` with a list of words, and `name, reason`. The data set `mer_caption` reads them.
    """

    words: str = "track2_train_mercaptionplus.csv"
    """Name of the file of words."""
    reasons: str = "track3_train_mercaptionplus.csv"
    """Name of the file of descriptions."""


@dataclass(frozen=True)
class CaptionCsv:
    """See `Settings`."""

    settings: Settings

    def write(self, rows: Sequence[ExportRow], folder: Path) -> list[Path]:
        """The two files."""
        words = [(row.id, f"[{', '.join(_listed(row.values['labels']))}]") for row in rows]
        reasons = [(row.id, str(row.values["caption"])) for row in rows]
        paths = [folder / self.settings.words, folder / self.settings.reasons]
        for path, column, lines in zip(paths, ("openset", "reason"), (words, reasons), strict=True):
            out = io.StringIO()
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(("name", column))
            writer.writerows(lines)
            write_text_atomic(path, out.getvalue())
        return paths

    def example(self) -> list[ExportRow]:
        """Two clips."""
        first = {"labels": ["sad", "hurt"], "caption": 'She says "no", and looks down.'}
        return [ExportRow("a", "train", {}, first),
                ExportRow("b", "train", {}, {"labels": "happy", "caption": "He smiles."})]  # fmt: skip


def _listed(value: object) -> list[str]:
    """Words, or one word, without the marks that part a list."""
    found = value if isinstance(value, list | tuple) else [value]
    return [str(word).replace(",", " ").replace("[", " ").replace("]", " ").strip() for word in found]


def build(settings: Settings) -> CaptionCsv:
    """The writer."""
    return CaptionCsv(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("labels", "finding", "the emotion words"), Port("caption", "finding", "the description"))
    return [Piece("converter", "caption_csv", Settings, build, ports=ports)]
