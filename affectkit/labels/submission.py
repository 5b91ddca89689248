"""Files to hand in to a challenge: one row a sample, in the form that a suite describes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from affectkit.errors import InputError, Problem
from affectkit.evaluation.prediction import Prediction
from affectkit.files import Json, write_bytes_atomic, write_text_atomic
from affectkit.labels.extraction import as_list, read_offline

CELLS: dict[str, Callable[[Prediction], str]] = {
    "id": lambda p: p.id,
    "label": lambda p: (p.label or "") if p.state != "out_of_vocabulary" else "",
    "truth": lambda p: p.truth or p.facts.get("reference", ""),
    "text": lambda p: " ".join(p.text.split()),
    "labels": lambda p: as_list(read_offline(p.text or p.label or "").labels),
}
"""What a column may hold: `labels` is the list of labels that an answer in words names, as `[happy, joyful]`."""
FACT = "facts."
"""Before the name of a fact that a column holds."""


@dataclass(frozen=True)
class Submission:
    """The form of a file to hand in: a csv with a header, or an npz of arrays of text (no pickle)."""

    form: Literal["csv", "npz"]
    """The kind of file."""
    columns: dict[str, str]
    """Column (or array) to what it holds: `id`, `label`, `labels`, `text`, `truth`, or a fact of the sample (`facts.clip`)."""
    ending: str = ""
    """How the file's name ends in the published form, such as `-openset.npz`; empty = .csv or .npz."""
    rows: int | None = None
    """How many rows the organisers want; another number is told and not refused."""
    split: str = ""
    """The split that is handed in, where it is another than the evaluated one (candidates without truths)."""
    about: str = ""
    """What is known of the form."""
    empty: dict[str, str] = field(default_factory=dict)
    """Column to what stands there for a sample without an answer."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        strange = [w for w in self.columns.values() if w not in CELLS and not w.startswith(FACT)]
        known = f"known: {', '.join(CELLS)}, {FACT}NAME"
        found = [("columns", f"{what!r} is nothing that a column may hold; {known}") for what in strange]
        return found if self.columns else [("columns", "names no column")]

    @property
    def suffix(self) -> str:
        """How the file's name has to end."""
        return self.ending or f".{self.form}"


def submission_set(forms: Mapping[str, Submission | None], path: Path) -> str:
    """The set of a suite that is handed in as `path`: the only one with a form.

    Raises InputError where the suite has none or several, and for a file whose name ends otherwise.
    """
    having = [name for name, form in forms.items() if form is not None]
    if not having:
        what = "no data set of the suite that is there has a form to hand in"
        raise InputError(
            Problem("--submission", what, "add `submission: {form: csv, columns: …}` to one", tuple(forms))
        )
    if len(having) > 1:
        what = "several data sets have a form to hand in"
        raise InputError(Problem("--submission", what, "take the others out: sets.NAME=null", tuple(having)))
    form = forms[having[0]]
    assert form is not None
    if not path.name.endswith(form.suffix):
        raise InputError(Problem(f"--submission {path}", f"the published form ends in {form.suffix!r}", "rename it"))
    return having[0]


def write_submission(form: Submission, predictions: Sequence[Prediction], path: Path) -> dict[str, Json]:
    """Write the file; returns `file`, `rows` and `notes` (what to know before handing it in)."""
    columns = {name: [_cell(form, name, what, p) for p in predictions] for name, what in form.columns.items()}
    (write_csv if form.form == "csv" else write_npz)(path, columns)
    return {"file": str(path), "rows": len(predictions), "notes": _notes(form, predictions, columns)}


def write_csv(path: Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Write columns of text with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_text_atomic(path, text.getvalue())


def write_npz(path: Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Write each column as an array of text (no pickle)."""
    import numpy as np

    file = io.BytesIO()
    arrays: dict[str, Any] = {name: np.array(cells, dtype=np.str_) for name, cells in columns.items()}
    np.savez_compressed(file, **arrays)
    write_bytes_atomic(path, file.getvalue())


def _cell(form: Submission, column: str, what: str, prediction: Prediction) -> str:
    if what.startswith(FACT):
        return prediction.facts.get(what.removeprefix(FACT), "")
    cell = CELLS[what](prediction) if prediction.state != "undecodable" or what in ("id", "truth") else ""
    return cell or form.empty.get(column, "[]" if what == "labels" else "")


def _notes(form: Submission, predictions: Sequence[Prediction], columns: Mapping[str, Sequence[str]]) -> list[str]:
    notes = [form.about] if form.about else []
    if form.rows is not None and len(predictions) != form.rows:
        notes.append(f"the organisers want {form.rows:,} rows, these are {len(predictions):,}")
    for column, cells in columns.items():
        empty = sum(cell in ("", "[]") for cell in cells)
        if empty:
            notes.append(f"{empty} of {len(cells)} rows have nothing in {column!r}")
    return notes
