"""Files in published formats: challenge submissions as a suite describes them, and labels or sentiment extracted from a
file of answers."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

from affectkit.errors import InputError, Problem
from affectkit.evaluation.prediction import Prediction
from affectkit.files import Json, write_bytes_atomic, write_jsonl_atomic, write_text_atomic
from affectkit.labels.extraction import LabelReader, LabelReading, as_list, lower, mean_agreement, read_offline
from affectkit.labels.sentiment import LEXICON, VALUES, of_labels

CELLS: dict[str, Callable[[Prediction], str]] = {
    "id": lambda p: p.id,
    "label": lambda p: (p.label or "") if p.state != "out_of_vocabulary" else "",
    "truth": lambda p: p.truth or "",
    "text": lambda p: " ".join(p.text.split()),
    "labels": lambda p: as_list(read_offline(p.text or p.label or "").labels),
}
"""What a column may hold: `labels` is the list of labels that an answer in words names, as `[happy, joyful]`."""
FACT = "facts."
"""Before the name of a fact that a column holds."""


@dataclass(frozen=True)
class Submission:
    """The format of a challenge submission: a csv with a header, or an npz of arrays of text (no pickle)."""

    form: Literal["csv", "npz"]
    """The kind of file."""
    columns: dict[str, str]
    """Column (or array) to what it holds: `id`, `label`, `labels`, `text`, `truth`, or a fact of the sample (`facts.clip`)."""
    ending: str = ""
    """How the file's name ends in the published form, such as `-openset.npz`; empty = .csv or .npz."""
    rows: int | None = None
    """The number of rows that the organisers expect; another number gives a note, not an error."""
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
        """The required ending of the file's name."""
        return self.ending or f".{self.form}"


def submission_set(forms: Mapping[str, Submission | None], path: Path) -> str:
    """The data set of a suite whose answers are submitted as `path`: the only one with a submission format.

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


ENDINGS = (".npz", ".csv", ".jsonl")
COLUMNS: dict[str, tuple[str, ...]] = {
    "labels": (),
    "sentiment": ("openset", "labels", "fileitems", "label", "discrete", "text", "answer", "reason"),
}
"""The columns that each reads, the likeliest first; none: columns of texts."""


class Extraction(TypedDict, total=False):
    """The result of extracting labels or sentiment from texts, as `affectkit extract --json` prints it."""

    clips: int
    read: dict[str, Json]
    """How many were read in which way, see `LabelReader.counts`."""
    without: int
    """Clips without any label, or without a sentiment."""
    agreement: dict[str, dict[str, Json]]
    """How far a model and another reading agree, by what is compared."""
    model: dict[str, Json]
    """Who was asked, in which words, and what came of it."""
    by: str
    """Who judged the sentiment."""
    counts: dict[str, int]
    """Clips by sentiment."""
    remarks: tuple[str, ...]
    """What is to be known of the answers: words for nothing and the like, with a count and an example each."""


def extract_labels(texts: Mapping[str, str], reader: LabelReader, out: Path) -> Extraction:
    """Read the labels of every text (by id) and write them; what came of it as `extraction_summary` says.

    Raises ClientError where the model does not reply; nothing is written then, and replies that came are kept.
    """
    reads = reader.read(list(texts.values()))
    write_items(out, "openset", list(texts), [as_list(r.labels) for r in reads], [r.how for r in reads])
    return extraction_summary(texts, reader, reads)


def extract_sentiment(texts: Mapping[str, str], reader: LabelReader, out: Path) -> Extraction:
    """The sentiment of every answer, from its labels: by the model where there is one, else by our lexicon; and write it.

    An answer that is a word of sentiment stays one. Where none can be told the item is empty: scorers count it.
    """
    reads = reader.read(list(texts.values()))
    labels = [lower(r.labels) for r in reads]
    ours = {ls: of_labels(ls) for ls in labels}
    model, theirs = reader.extractor, {}
    fresh = [ls for ls in dict.fromkeys(labels) if ls and not (len(ls) == 1 and ls[0] in VALUES)]
    if model is not None:
        jobs = [lambda ls=ls: model.sentiment(ls) for ls in fresh]
        theirs = dict(zip(fresh, model.client.read_all(jobs, "asking for sentiment"), strict=True))
    words = [(theirs.get(ls) if ls in theirs else ours[ls]) or "" for ls in labels]
    write_items(out, "sentiment", list(texts), words, ["model" if ls in theirs else "lexicon" for ls in labels])
    found = extraction_summary(texts, reader, reads)
    counts = Counter(word or "without" for word in words)
    found["by"], found["counts"] = "a model's second pass" if model else LEXICON, dict(sorted(counts.items()))
    if theirs:
        same = [float(theirs[ls] == ours[ls]) for ls in labels if ls in theirs and theirs[ls] and ours[ls]]
        found["agreement"]["sentiment with our lexicon"] = mean_agreement(same)
    found["without"] = counts["without"]
    return found


def extraction_summary(texts: Mapping[str, str], reader: LabelReader, reads: Sequence[LabelReading]) -> Extraction:
    """`clips`, how they were read, how many have no labels, who was asked, and how far a model and the fixed sentence agree."""
    given = list(texts.values())
    agreement = reader.agreement_with_sentence(given)
    compared = {"labels with the fixed sentence": agreement} if agreement else {}
    without = sum(not r.labels for r in reads)
    found = Extraction(clips=len(texts), read=reader.counts(given), without=without, agreement=compared)
    if reader.extractor is not None:
        found["model"] = reader.extractor.to_dict()
    return found


def write_items(path: Path, column: str, names: Sequence[str], items: Sequence[str], hows: Sequence[str]) -> None:
    """Write one item a clip: npz with `filenames` and `fileitems`, CSV with `name` and `column`, JSONL with `how` besides."""
    if path.suffix == ".npz":
        write_npz(path, {"filenames": names, "fileitems": items})
    elif path.suffix == ".csv":
        write_csv(path, {"name": names, column: items})
    else:
        lines = zip(names, items, hows, strict=True)
        write_jsonl_atomic(path, ({"name": name, column: item, "how": how} for name, item, how in lines))
