"""Predictions and ground truth of any system from CSV, TSV, JSON lines and npz files, whatever their columns are called."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from affectkit.errors import InputError, Problem, unknown
from affectkit.evaluation.prediction import STATES, Prediction, State
from affectkit.files import read_json, read_jsonl
from affectkit.labels.extraction import read_offline
from affectkit.labels.npz import read_rows
from affectkit.labels.wheels import string_to_list
from affectkit.plan.metrics import LABEL

if TYPE_CHECKING:
    import numpy as np

LABELS = ("label", "labels", "discrete", "openset", "emo", "fileitems")
"""Columns that hold a label, or a list of them."""

TEXTS = (
    "text", "answer", "reference", "reason", "reasons", "chi_reasons", "caption", "description", "english", "chinese",
)  # fmt: skip
"""Columns that hold a text."""

FREE = ("reason", "reasons")
"""Columns of explanations: labels are read from them where no column holds labels."""


AnswerRow = dict[str, object]


@dataclass(frozen=True)
class MemoryRows:
    """Rows in memory, under the name by which error messages refer to them."""

    name: str
    rows: tuple[tuple[str, AnswerRow], ...]
    """(place, row) of each."""

    def __str__(self) -> str:
        return self.name


RowSource = Path | MemoryRows
"""Where rows are: a file, or memory."""


@dataclass(frozen=True)
class Source:
    """The files, or rows in memory, with a system's answers and the ground truth, and the columns to read."""

    predictions: RowSource
    labels: RowSource | None = None
    """Truths; without it the predictions hold them."""
    split: str | None = None
    answer_column: str | None = None
    truth_column: str | None = None
    classes: tuple[str, ...] | None = None
    """What labels mean that stand as whole numbers in an npz."""

    def read(self, task: str) -> tuple[dict[str, AnswerRow], dict[str, AnswerRow] | None]:
        """Answers and truths by id; truths are None where the predictions hold them.

        A split is a column of either file, or a corpus of an npz of truths.
        """
        truths = None
        if self.labels is not None:
            truths = rows_by_id(self.labels, self.split, task, classes=self.classes)
        must = not any("split" in row for row in (truths or {}).values())
        return rows_by_id(self.predictions, self.split, task, must, self.classes), truths


def parse_labels(value: object) -> tuple[str, ...]:
    """A list of labels, or a text that looks like one (`['sad', 'angry']`, `[sad,angry]`), as published files have it.

    A text without brackets is one label. Nothing is evaluated.
    """
    if isinstance(value, list | tuple):
        return tuple(t for t in (str(v).strip() for v in value) if t)
    text = "" if value is None else str(value).strip()
    if text.startswith("[") and text.endswith("]"):
        return tuple(string_to_list(text))
    return (text,) if text else ()


def read_labelled(source: Source, classes: tuple[str, ...] | None) -> tuple[list[Prediction], tuple[str, ...]]:
    """(predictions, label set); each id of either file is one prediction.

    A cell is a label whatever it says: outside the set it is `out_of_vocabulary`; one that is empty, or names several, is
    `unparsed`. Raises InputError where a truth has several labels.
    """
    answers, rows = source.read(LABEL)
    column = _column(source.predictions, answers, source.answer_column, LABELS, "answers")
    where, held = (source.predictions, answers) if rows is None else (source.labels or source.predictions, rows)
    own = not source.truth_column and any("truth" in row for row in held.values())
    if rows is None and not own and not source.truth_column:
        wrong(str(where), "holds no truths", "give --labels FILE with the columns id and label")
    name = "truth" if own else _column(where, held, source.truth_column, LABELS, "truths")
    spare = () if own or source.truth_column else LABELS
    truths = {i: _truth(where, i, _under(row, name, spare)) for i, row in held.items()}
    if not any(truths.values()):
        wrong(str(where), "holds no truth", f"fill the column {name}")
    found = []
    for i, row, truth, error in _paired(source, answers, truths):
        answer = _under(row, column, () if source.answer_column else LABELS)
        several = parse_labels(answer)
        label = several[0] if len(several) == 1 else ""
        state = _state(row, label, truth)
        error = f"names {len(several)} labels where one is wanted" if len(several) > 1 else error
        text = cell(row.get("text")) or cell(answer)
        found.append(Prediction(i, LABEL, state, truth or None, label or None, text=text, error=error))
    names = classes or tuple(
        sorted({t for t in truths.values() if t} | {p.label for p in found if p.label and p.state == "scored"})
    )
    strange = [p.state == "scored" and p.label not in names for p in found]
    return [replace(p, state="out_of_vocabulary") if s else p for p, s in zip(found, strange, strict=True)], names


def read_texts(
    source: Source, task: str, columns: tuple[str, ...] = (), references: tuple[str, ...] = ()
) -> list[Prediction]:
    """Answers in words with what they are compared with, as a run's own predictions hold them; each id is one.

    `columns` are those that a metric reads, the likeliest first; without them columns of texts. Where it reads labels and no
    column holds them, explanations serve if some of them say labels, or if `columns` has `reason`. `references` names the tasks
    whose true text it compares with, where a run's own predictions hold that; the first that a sample has.
    """
    answers, rows = source.read(task)
    column = _text_column(source.predictions, answers, source.answer_column, columns, "answers")
    where, held = (source.predictions, answers) if rows is None else (source.labels or source.predictions, rows)
    if rows is None and not source.truth_column:
        truths = {i: _held(row, task, references) for i, row in answers.items()}
    else:
        name = _text_column(where, held, source.truth_column, columns, "truths")
        truths = {i: cell(row.get(name)) for i, row in held.items()}
    if not any(truths.values()):
        wrong(str(where), "holds no texts to compare answers with", "give --labels FILE with the texts to compare with")
    found = []
    for i, row, truth, error in _paired(source, answers, truths):
        text = cell(row.get(column))
        compared = {"reference": truth} if truth else {}
        found.append(Prediction(i, task, _state(row, text, truth), text=text, error=error, facts=compared))
    return found


def read_answers(source: Source, task: str, columns: tuple[str, ...] = ()) -> dict[str, str]:
    """The texts of `source.predictions` by id, truths left aside; a list as JSON. `columns` as for `read_texts`."""
    rows = rows_by_id(source.predictions, source.split, task, True, source.classes)
    column = _text_column(source.predictions, rows, source.answer_column, columns, "answers")
    return {i: cell(row.get(column)) for i, row in rows.items()}


def _column(
    path: RowSource,
    rows: Mapping[str, AnswerRow],
    asked: str | None,
    known: Sequence[str],
    what: str,
    also: Sequence[str] = (),
) -> str:
    """The column to read: the one that is asked for, or the only one of the usual names."""
    columns = tuple(dict.fromkeys(c for row in rows.values() for c in row if c))
    if asked is not None:
        if asked not in columns:
            raise InputError(unknown(str(path), "column", asked, columns))
        return asked
    there = [c for c in known if c in columns] or [c for c in also if c in columns]
    if len(there) > 1 and what == "texts":
        fix = "say which: --answer-column or --truth-column"
        raise InputError(Problem(str(path), f"has several columns of {what}", fix, tuple(there)))
    if not there and what == "answers" and "truth" in columns:
        raise InputError(Problem(str(path), "holds no answers", f"give them in the column {known[0]}", columns))
    if not there:
        place = str(next(iter(rows.values()))[""])
        fix = f"a row needs the columns id and {known[0]}"
        raise InputError(Problem(place, f"has no {'text' if what == 'texts' else 'label'}", fix, columns))
    return there[0]


def _text_column(
    path: RowSource, rows: Mapping[str, AnswerRow], asked: str | None, columns: tuple[str, ...], what: str
) -> str:
    """The column of texts to read. A run's own predictions have empty columns of labels beside their texts."""
    if not columns:
        return _column(path, rows, asked, TEXTS, "texts", LABELS)
    own = any("state" in row and "task" in row for row in rows.values())
    known = [c for c in (("text", *columns) if own else columns) if c not in FREE]
    found = _column(path, rows, asked, known, what, FREE if what == "answers" else ())
    explained = asked is None and found in FREE and found not in columns
    if explained and not any(read_offline(cell(row.get(found))).how in ("list", "sentence") for row in rows.values()):
        # nobody has read labels from the explanations, and cut at commas they would be none
        what = "holds explanations, and none of them is a list of labels or has the fixed sentence that names some"
        fix = "read labels from them: affectkit extract labels, or METRIC.read=client with a --client"
        wrong(str(path), what, fix)
    return found


def _under(row: AnswerRow, column: str, also: Sequence[str]) -> object:
    """The value of a column; for a row of JSON lines without that key, of the first key of `also` that it has."""
    return row.get(column) if column in row else next((row[c] for c in also if c in row), None)


def _held(row: AnswerRow, task: str, references: tuple[str, ...]) -> str:
    """The reference text of a run's own prediction."""
    from affectkit.evaluation.protocol import reference

    facts, truths = (v if isinstance(v := row.get(key), Mapping) else {} for key in ("facts", "truths"))
    return cell(reference(Prediction("", task, "scored", facts=facts, truths=truths), references or (task,)))


def _truth(path: RowSource, name: str, value: object) -> str:
    labels = parse_labels(value)
    if len(labels) > 1:
        what = f"has {len(labels)} labels, and these metrics score one a sample: {', '.join(labels)}"
        wrong(f"{path}: {name}", what)
    return labels[0] if labels else ""


def _paired(
    source: Source, answers: Mapping[str, AnswerRow], truths: Mapping[str, str]
) -> Iterator[tuple[str, AnswerRow, str, str]]:
    """(id, row of the answer, truth, what is wrong) for each id of either file. Refuses files that cannot belong together."""
    if not any(truths.get(i) for i in answers):
        what = f"no id of it is among the ids of {source.labels or source.predictions} that have a truth"
        mine, theirs = next(iter(answers)), next(i for i, t in truths.items() if t)
        fix = f"the first ids are {mine!r} and {theirs!r}: name the samples alike in both"
        wrong(str(source.predictions), what, fix)
    for i in dict.fromkeys([*truths, *answers]):
        yield i, answers.get(i, {}), truths.get(i, ""), "" if i in answers else f"no answer in {source.predictions}"


def _state(row: AnswerRow, answer: str, truth: str) -> State:
    if not truth:
        return "skipped"
    return next((s for s in STATES if s == row.get("state")), "scored" if answer else "unparsed")


IDS = ("id", "name", "names")
"""Columns that name a sample; the first that is there counts."""


def rows_by_id(
    path: RowSource, split: str | None, task: str, must: bool = False, classes: tuple[str, ...] | None = None
) -> dict[str, AnswerRow]:
    """Rows of a file by id; of a run's own predictions those of one task. `must`: a split that is asked for is there."""
    rows = _rows(path, split, classes)
    if not rows:
        wrong(str(path), "holds no rows", "one row a sample, with the columns id and label")
    if any("state" in row and "task" in row for _, row in rows):
        tasks = sorted({str(row.get("task")) for _, row in rows})
        rows = [(place, row) for place, row in rows if row.get("task") == task]
        if not rows:
            raise InputError(Problem(str(path), f"holds no answers to the task {task!r}", known=tuple(tasks)))
    rows = _of_split(path, rows, split, must)
    found: dict[str, AnswerRow] = {}
    for place, row in rows:
        name = next((t for t in (cell(row.get(key)) for key in IDS) if t), "")
        if not name:
            raise InputError(Problem(place, "has no id", "a row needs the columns id and label", tuple(map(str, row))))
        if name in found:
            wrong(place, f"the id {name!r} occurs twice", "one row a sample")
        if row.get("state", "scored") not in (*STATES, ""):
            raise InputError(unknown(place, "state", str(row["state"]), STATES))
        if None in row:
            what = f"has more cells than the header, which names {len(row) - 1}"
            wrong(place, what, "quote cells that hold a comma")
        found[name] = {**row, "": place}
    return found


def _of_split(
    path: RowSource, rows: list[tuple[str, AnswerRow]], split: str | None, must: bool
) -> list[tuple[str, AnswerRow]]:
    splits = sorted({str(row["split"]) for _, row in rows if row.get("split")})
    if split is not None and splits and split not in splits:
        raise InputError(unknown(str(path), "split", split, splits))
    if split is not None and not splits and must:
        wrong(str(path), f"has no column `split` to find {split!r} in", "leave --split out")
    if split is None and len(splits) > 1 and any("state" in row for _, row in rows):
        raise InputError(Problem(str(path), "holds several splits", f"choose one: --split {splits[0]}", tuple(splits)))
    return [(p, row) for p, row in rows if row.get("split") == split] if split is not None and splits else rows


def _rows(path: RowSource, split: str | None, classes: tuple[str, ...] | None) -> list[tuple[str, AnswerRow]]:
    """(place, row) of every row of a file, or of rows in memory."""
    if isinstance(path, MemoryRows):
        return list(path.rows)
    if path.suffix == ".npz":
        return read_rows(path, split, classes)
    return list(read_jsonl(path)) if path.suffix in (".jsonl", ".json", ".ndjson") else _csv(path)


def _csv(path: Path) -> list[tuple[str, AnswerRow]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            return [(f"{path}:{reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        why = f"it is no CSV ({error})" if isinstance(error, csv.Error) else why
        wrong(str(path), f"cannot be read: {why}", "give the path of a CSV or JSONL file")


def cell(value: object) -> str:
    """A value as text: a list or mapping as JSON, nothing and NaN as the empty string."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value).strip()


def wrong(place: str, what: str, fix: str = "") -> NoReturn:
    """Raises InputError."""
    raise InputError(Problem(place, what, fix))


MOST = 2**53
"""No count is as large as this."""


def read_confusion(path: Path, classes: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """(counts int64 [k, k + 1], labels) from a JSON list of rows, or an object with `rows` and `labels`."""
    import numpy as np

    value = read_json(path)
    rows = value.get("rows") if isinstance(value, Mapping) else value
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        wrong(str(path), "a confusion matrix is a list of rows of counts", "for example [[10, 2], [1, 7]]")
    for i, row in enumerate(rows):
        if len(row) not in (len(rows), len(rows) + 1) or len(row) != len(rows[0]):
            wrong(f"{path}: row {i}", f"has {len(row)} counts beside {len(rows)} rows", "one column a class")
        strange = [n for n in row if not _is_count(n)]
        if strange:
            wrong(f"{path}: row {i}", f"holds {strange[0]!r}, which is no count", "a count is a whole number from 0")
    counts = np.array(rows, dtype=np.int64)
    if not counts.any():
        wrong(str(path), "counts no sample", "a confusion matrix is a list of rows of counts")
    if counts.shape[1] == counts.shape[0]:
        counts = np.pad(counts, ((0, 0), (0, 1)))
    told = value.get("labels") if isinstance(value, Mapping) else None
    if told is not None and not isinstance(told, list):
        wrong(f"{path}: labels", f"is no list of labels: {told!r}", "one label a row")
    names = classes or (tuple(map(str, told)) if told else tuple(f"class {i}" for i in range(len(rows))))
    if len(names) != len(rows):
        wrong(str(path), f"has {len(rows)} rows, and there are {len(names)} classes: {', '.join(names)}")
    return counts, names


def _is_count(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < MOST and value == int(value)
