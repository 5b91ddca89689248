"""What readers of open emotion words and of descriptions share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from affectkit_plugins.datasets._annotations import string_list, table, words
from affectkit_plugins.datasets._folders import Folder
from affectkit_plugins.datasets._processed import first_there
from affectkit_plugins.datasets._published import SampleReader, has

from affectkit.sample import Fact, Sample


def open_answer(labels: Sequence[str]) -> dict[str, str]:
    """The answer of the task `open_labels`: the words as a list in brackets."""
    return {"open_labels": f"[{', '.join(labels)}]"}


def described(path: Path | None, column: str = "reason") -> dict[str, str]:
    """The description of each clip of a csv; none where there is no file. Raises InputError."""
    if path is None:
        return {}
    columns, key, rows = table(path)
    has(columns, column, path)
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
    columns, key, rows = table(path)
    has(columns, column, path)
    reader.another()
    found = []
    for row in rows:
        name = row.cells[key]
        if reader.once(name, row.place):
            labels = string_list(row.cells[column])
            reason = (reasons or {}).get(name, "")
            answers = {**open_answer(labels), **({"reason": reason} if reason else {})}
            found.append(reader.sample((name,), video, answers=answers, facts={"open_labels": Fact(labels)}))
    if reasons and any("reason" not in s.answers for s in found):
        bare = sum("reason" not in s.answers for s in found)
        reader.notes.append(f"{bare} clips of {path.name} have no description")
    return found


def reason_clips(reader: SampleReader, path: Path, video: Folder | None) -> list[Sample]:
    """The clips of a csv `name, reason`, whose description is the answer of the task `reason`. Raises InputError."""
    columns, key, rows = table(path)
    has(columns, "reason", path)
    reader.another()
    found = []
    for row in rows:
        if reader.once(row.cells[key], row.place):
            reason = words(row.cells["reason"])
            answers = {"reason": reason} if reason else {}
            found.append(reader.sample((row.cells[key],), video, answers=answers))
    return found


def named_clips(reader: SampleReader, path: Path, video: Folder | None) -> list[Sample]:
    """The clips of a csv of names alone: candidates, of which nothing is told. Raises InputError."""
    _, key, rows = table(path)
    reader.another()
    return [reader.sample((r.cells[key],), video) for r in rows if reader.once(r.cells[key], r.place)]


def looked_for(reader: SampleReader, given: str | None, names: Sequence[str]) -> Path:
    """The file that is given, else the first of these that is there, else where the first should be."""
    return reader.root / (given or first_there(reader.root, names) or names[0])


def neutral_for_none(samples: list[Sample]) -> list[Sample]:
    """The clips, those without a word with `neutral`, as the published training code reads them."""
    filled = open_answer(("neutral",))
    return [s if s.answers.get("open_labels") != "[]" else replace(s, answers={**s.answers, **filled}) for s in samples]
