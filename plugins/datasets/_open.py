"""What readers of open emotion words and of descriptions share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from affectkit_plugins.datasets._annotations import string_list, table, words
from affectkit_plugins.datasets._folders import Folder
from affectkit_plugins.datasets._processed import first_there
from affectkit_plugins.datasets._published import SampleReader

from affectkit.sample import Fact, Sample


def open_answer(labels: Sequence[str]) -> dict[str, str]:
    """The answer of the task `open_labels`: the words as a list in brackets."""
    return {"open_labels": f"[{', '.join(labels)}]"}


def described(path: Path | None, column: str = "reason") -> dict[str, str]:
    """The description of each clip of a csv; none where there is no file. Raises InputError."""
    if path is None:
        return {}
    _, key, rows = table(path, needs=(column,))
    return {row.cells[key]: words(row.cells[column]) for row in rows}


def open_clips(
    reader: SampleReader,
    path: Path,
    video: Folder | None,
    reasons: dict[str, str] | None = None,
    column: str = "openset",
) -> list[Sample]:
    """The clips of a csv `name, openset`, with their descriptions where these are given.

    A clip gets the answers `open_labels` and `reason`, and the fact `open_labels` (words). Raises InputError.
    """
    found = []
    for name, row in reader.rows(path, (column,)):
        labels = string_list(row.cells[column])
        reason, facts = (reasons or {}).get(name, ""), {"open_labels": Fact(labels)}
        found.append(reader.sample((name,), video, reason=reason, answers=open_answer(labels), facts=facts))
    if reasons and any("reason" not in s.answers for s in found):
        bare = sum("reason" not in s.answers for s in found)
        reader.notes.append(f"{bare} clips of {path.name} have no description")
    return found


def reason_clips(reader: SampleReader, path: Path, video: Folder | None) -> list[Sample]:
    """The clips of a csv `name, reason`, whose description is the answer of the task `reason`. Raises InputError."""
    rows = reader.rows(path, ("reason",))
    return [reader.sample((name,), video, reason=words(row.cells["reason"])) for name, row in rows]


def named_clips(reader: SampleReader, path: Path, video: Folder | None) -> list[Sample]:
    """The clips of a csv of names alone: candidates, of which nothing is told. Raises InputError."""
    return [reader.sample((name,), video) for name, _ in reader.rows(path)]


def looked_for(reader: SampleReader, given: str | None, names: Sequence[str]) -> Path:
    """The file that is given, else the first of these that is there, else where the first should be."""
    return reader.root / (given or first_there(reader.root, names) or names[0])


def neutral_for_none(samples: list[Sample]) -> list[Sample]:
    """The clips, those without a word with `neutral`, as the published training code reads them."""
    filled = open_answer(("neutral",))
    return [s if s.answers.get("open_labels") != "[]" else replace(s, answers={**s.answers, **filled}) for s in samples]
