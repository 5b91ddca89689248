"""What readers of facial expression share: names of expressions, lists without a header, and stills."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from affectkit_plugins.datasets._annotations import text_of
from affectkit_plugins.datasets._published import SampleReader

from affectkit.errors import InputError, Problem, unknown
from affectkit.tables import text_lines

OURS = {
    "anger": "angry", "angry": "angry", "disgust": "disgust", "fear": "fear", "happiness": "happy", "happy": "happy",
    "joy": "happy", "neutral": "neutral", "sadness": "sad", "sad": "sad", "surprise": "surprise",
    "contempt": "contempt", "anxiety": "anxiety", "helplessness": "helplessness", "disappointment": "disappointment",
}  # fmt: skip
"""The words of face data sets, in lower case, and ours: the names that all our data sets share."""


def list_lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """(place, name, label) of a list without a header, a blank between the two. Raises InputError by line."""
    for number, line in enumerate(text_lines(text_of(path)), 1):
        name, _, label = line.strip().rpartition(" ")
        if name:
            yield f"{path}:{number}", name.strip(), label
        elif label:
            raise InputError(Problem(f"{path}:{number}", "is no line of a name, a blank and a label"))


def csv_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(place, cells) of every line of a csv, its header too. Raises InputError by line."""
    reader = csv.reader(io.StringIO(text_of(path), newline=""))
    try:
        for cells in reader:
            if any(cells):
                yield f"{path}:{reader.line_num}", [c.strip() for c in cells]
    except csv.Error as error:
        raise InputError(Problem(f"{path}:{reader.line_num}", f"broken line ({error})")) from error


def at(root: Path, *tries: str) -> Path:
    """The first of these folders or files below the root that is there, else the first one."""
    return next((root / t for t in tries if (root / t).exists()), root / tries[0])


def coded(reader: SampleReader, code: str, place: str, wide: dict[str, str]) -> str | None:
    """The name of a published label of `wide`; None with a problem for one that is not in it.

    For sets of which some labels are left out on purpose: None without a problem for a label outside `reader.codes`.
    """
    if code.lower() in reader.codes:
        return reader.label(code, place)
    if code.lower() not in wide:
        reader.problems.append(unknown(place, "published label", code, wide))
    return None
