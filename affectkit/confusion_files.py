"""A confusion matrix from a file. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from affectkit.errors import InputError, Problem

if TYPE_CHECKING:
    import numpy as np

MOST = 2**53
"""No count is as large as this."""


def read_confusion(path: Path, classes: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """(counts int64 [k, k + 1], labels) from a JSON list of rows, or an object with `rows` and `labels`."""
    import numpy as np

    from affectkit.files import read_json

    value = read_json(path)
    rows = value.get("rows") if isinstance(value, Mapping) else value
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        _wrong(str(path), "a confusion matrix is a list of rows of counts", "for example [[10, 2], [1, 7]]")
    for i, row in enumerate(rows):
        if len(row) not in (len(rows), len(rows) + 1) or len(row) != len(rows[0]):
            _wrong(f"{path}: row {i}", f"has {len(row)} counts beside {len(rows)} rows", "one column a class")
        wrong = [n for n in row if not _is_count(n)]
        if wrong:
            _wrong(f"{path}: row {i}", f"holds {wrong[0]!r}, which is no count", "a count is a whole number from 0")
    counts = np.array(rows, dtype=np.int64)
    if not counts.any():
        _wrong(str(path), "counts no sample", "a confusion matrix is a list of rows of counts")
    if counts.shape[1] == counts.shape[0]:
        counts = np.pad(counts, ((0, 0), (0, 1)))
    told = value.get("labels") if isinstance(value, Mapping) else None
    if told is not None and not isinstance(told, list):
        _wrong(f"{path}: labels", f"is no list of labels: {told!r}", "one label a row")
    names = classes or (tuple(map(str, told)) if told else tuple(f"class {i}" for i in range(len(rows))))
    if len(names) != len(rows):
        _wrong(str(path), f"has {len(rows)} rows, and there are {len(names)} classes: {', '.join(names)}")
    return counts, names


def _is_count(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer() and 0 <= value < MOST
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST


def _wrong(place: str, what: str, fix: str = "") -> NoReturn:
    raise InputError(Problem(place, what, fix))
