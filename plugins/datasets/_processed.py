"""MERBench's processed copies of corpora, which MER-UniBench hands out too: folders `<corpus>-process` with labels in an
npz, transcripts and cut clips. Dictionaries in the npz are pickles; they are read by a reader that runs none of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from affectkit_plugins.datasets._annotations import there
from affectkit_plugins.datasets._folders import SOUND, Folder
from affectkit_plugins.datasets._published import SampleReader, labelled

from affectkit.labels.npz import read_corpora
from affectkit.sample import Sample

Cells = tuple[str, str, str, float | None]
"""Name, place, published label, value."""
SESSION = re.compile(r"Ses0([1-5])")
OBTAIN = (
    "ask the owners of the data set, then MERBench's or MER-UniBench's authors for the processed copy (academic use)"
)


def first_there(root: Path, names: Sequence[str]) -> str | None:
    """The first of these names that is there, file or folder."""
    return next((name for name in names if (root / name).exists()), None)


def corpora(path: Path) -> dict[str, list[Cells]]:
    """The rows of each corpus of labels in an npz. Raises InputError."""
    there(path)
    return {
        split: [(str(row["name"]), place, str(row.get("emo", "")), _number(row.get("val"))) for place, row in rows]
        for split, rows in read_corpora(path).items()
    }


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def session_of(name: str) -> str:
    """The session of IEMOCAP that a clip's name tells (`Ses05F_impro01_M000`: 5); empty for other names."""
    match = SESSION.match(name)
    return match[1] if match else ""


def sentiment(value: str | float) -> dict[str, str]:
    """The answer of the task `sentiment`: the value as a number."""
    return {"sentiment": f"{float(value):.6g}"}


def emotions(
    reader: SampleReader, path: Path, video: Folder | None, names: Mapping[str, str] | None = None
) -> dict[str, list[Sample]]:
    """The samples of each corpus, under `names` where it is to have another name.

    Where every clip of a corpus that is not for training has the same label, that is a placeholder for labels that were
    kept back: it is left out, and noted.
    """
    found = {}
    for corpus, rows in corpora(path).items():
        split = (names or {}).get(corpus, corpus)
        codes = {code for _, _, code, _ in rows}
        if len(rows) > 1 and len(codes) == 1 and corpus not in ("train", "whole"):
            reader.notes.append(f"all {len(rows)} clips of {corpus} hold {codes.pop()!r}: a placeholder, not a label")
            rows = [(name, place, "", value) for name, place, _, value in rows]
        found[split] = labelled(reader, rows, video)
    return found


def clips_in(reader: SampleReader, given: str | None, names: Sequence[str]) -> Folder | None:
    """The folder of clips: the one that is given, else the first of these that is there."""
    return reader.clips(given or first_there(reader.root, names) or names[0])


def sound_in(reader: SampleReader, names: Sequence[str]) -> None:
    """Where no folder of sound is given, take the first of these that is there: cut pictures may come without sound."""
    name = first_there(reader.root, names)
    if reader.settings.audio is None and name is not None:
        reader.audio = reader.folder("data.audio", name, SOUND)
