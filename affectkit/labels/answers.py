"""Predictions and ground truth of any system from tables and npz files, whatever their columns are called."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from affectkit.errors import InputError, Problem, unknown
from affectkit.evaluation.prediction import STATES, Prediction, State
from affectkit.labels.extraction import read_offline
from affectkit.labels.npz import PICKLED, read_rows
from affectkit.labels.pairing import SHOWN, Remarks, likely_same, meant, remark_partners, remark_states
from affectkit.labels.wheels import string_to_list
from affectkit.reading import NOTHING, alike, as_label, differ_in, fold, is_like_a_label, lookalike, nearly, read_plain
from affectkit.sample import LABEL
from affectkit.tables import HALF, fail, read_entries, text_lines

LABELS = ("label", "labels", "discrete", "openset", "emo", "fileitems")
"""Columns that hold a label, or a list of them."""

ANSWERS = ("prediction", "predicted", "pred", "predicted_label", "emotion")
"""More columns that may be the answers: named where they are there and not read."""

TEXTS = (
    "text", "answer", "reference", "reason", "reasons", "chi_reasons", "caption", "description", "english", "chinese",
)  # fmt: skip
"""Columns that hold a text."""

FREE = ("reason", "reasons")
"""Columns of explanations: labels are read from them where no column holds labels."""

AnswerRow = dict[str, object]
Truth = TypeVar("Truth", str, Mapping[str, float])


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
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The ends of the scales of ratings, by name: numbers outside are noted."""
    remarks: Remarks = field(default_factory=Remarks, compare=False)
    """What is to be known of them, as it is found."""
    reader: Callable[[str, Sequence[str]], Any] = field(default=read_plain, compare=False)
    """Gives the `affectkit.reading.Reading` of an answer to one of these labels."""
    rates: Callable[[str, Mapping[str, tuple[float, float]]], Any] | None = field(default=None, compare=False)
    """The same of a text to these ratings (ends of their scales); None where they stand in columns."""

    def read(self, task: str) -> tuple[dict[str, AnswerRow], dict[str, AnswerRow] | None]:
        """Answers and truths by id; truths are None where the predictions hold them.

        A split is a column of either file, or a corpus of an npz of truths.
        """
        truths = None
        if self.labels is not None:
            truths = self._rows(self.labels, task)
        must = not any("split" in row for row in (truths or {}).values())
        return self._rows(self.predictions, task, must), truths

    def answers(self, task: str) -> dict[str, AnswerRow]:
        """The answers alone, by id."""
        return self._rows(self.predictions, task, True)

    def _rows(self, path: RowSource, task: str, must: bool = False) -> dict[str, AnswerRow]:
        rows, notes = read_rows_of(path, self.split, self.classes)
        self.remarks.notes += notes
        named = (self.answer_column, self.truth_column)
        rows = [(place, dict(zip(_usual(tuple(row), named), row.values(), strict=True))) for place, row in rows]
        return by_id(path, rows, self.split, task, must)


@lru_cache(maxsize=64)
def _usual(columns: tuple[str, ...], named: tuple[str | None, ...]) -> tuple[str, ...]:
    """Columns by their usual names where these differ in case and blanks only (`ID`), unless a user named one or several are
    written so."""
    plain = [column.strip().lower() for column in columns]
    return tuple(
        one
        if one in (*IDS, *LABELS, *TEXTS, "split", "truth") and plain.count(one) == 1 and column not in named
        else column
        for column, one in zip(columns, plain, strict=True)
    )


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

    Cells are read as an evaluation reads answers (`affectkit.reading.read_plain`), truths too. Without `classes` the label
    set is every label that occurs. An answer outside the set is `out_of_vocabulary`; one that is empty, says a word for
    nothing, names several or has no form of a label is `unparsed`; one that will not say is `refused`. Raises InputError
    where a truth has several labels or is outside `classes`, and for truths that only look alike.
    """
    answers, rows = source.read(LABEL)
    column = column_of(source.predictions, answers, source.answer_column, LABELS, "answers")
    where, held = (source.predictions, answers) if rows is None else (source.labels or source.predictions, rows)
    own = not source.truth_column and any("truth" in row for row in held.values())
    if rows is None and not own and not source.truth_column:
        wrong(str(where), "holds no truths", "give --labels FILE with the columns id and label")
    name = "truth" if own else column_of(where, held, source.truth_column, LABELS, "truths")
    spare = () if own or source.truth_column else LABELS
    for path, some, chosen, asked in (
        (source.predictions, answers, column, source.answer_column), (where, held, name, None if spare else name)
    ):  # fmt: skip
        _remark_columns(source.remarks, path, some, chosen, asked)
    cells = {i: _truth(where, i, _under(row, name, spare)) for i, row in held.items()}
    truths, names = _true_labels(source, where, held, cells, classes)
    if not any(truths.values()):
        wrong(str(where), "holds no truth", f"fill the column {name}")
    found = []
    for i, row, truth, error in pair_rows(source, answers, truths):
        answer = _under(row, column, () if source.answer_column else LABELS)
        found.append(_read_answer(source, _unread(i, truth, error, row), row, answer, names))
    if classes is None:
        read = {i for i, row in answers.items() if not row.get("state")}
        found, names = _with_new_labels(source.remarks, found, names, read)
    strange = [p.state == "scored" and p.label not in names for p in found]
    found = [replace(p, state="out_of_vocabulary") if s else p for p, s in zip(found, strange, strict=True)]
    remark_states(source.remarks, [p for p in found if p.id in answers], names)
    return found, names


def _unread(name: str, truth: str | None, error: str, row: AnswerRow) -> Prediction:
    """A prediction before its answer is read; a run's own has probabilities."""
    odds = row.get("probabilities")
    return Prediction(
        name, LABEL, "scored", truth or None, error=error, probabilities=odds if isinstance(odds, Mapping) else {}
    )


def _true_labels(
    source: Source,
    where: RowSource,
    rows: Mapping[str, AnswerRow],
    cells: Mapping[str, str],
    classes: Sequence[str] | None,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The true label of each id, and the label set: `classes`, or the labels that occur, as they are written most often.

    Raises InputError for truths that are none of `classes`, and for labels of which nobody can tell whether they are one.
    """
    said = {i: _content(source.remarks, "truths", i, text, classes or ()) for i, text in cells.items()}
    names = tuple(classes) if classes else _label_set(where, Counter(text for text in said.values() if text))
    found, problems = {}, []
    for i, text in said.items():
        label = read_plain(text, names).label if text else ""
        if label is None:
            also = lookalike(text, names)
            also = f"it only looks like {also!r}: letters of another alphabet" if also else ""
            problems.append(unknown(str(rows[i][""]), "truth", text, names, also))
            continue
        if label != text:
            source.remarks.add(
                f"truths that are a label but for {_apart(text, label)}", f"{text!r} read as {label!r} ({i})"
            )
        found[i] = label
    fail(problems)
    for one, other in nearly(names if classes is None else ()):
        source.remarks.add(
            "labels of truths that are nearly the same, each a class of its own", f"{one!r} and {other!r}"
        )
    return found, names


def _label_set(where: RowSource, counts: Mapping[str, int]) -> tuple[str, ...]:
    """The labels that occur, of those that fold to one the commonest. Raises InputError where labels look like one in letters
    of several alphabets, and where they differ in a plus or minus."""
    problems = []
    rare = {name: group for group in alike(counts) for name in group[1:]}
    for group in dict.fromkeys(rare.values()):
        if len({fold(name) for name in group}) == 1 and len({name.count("+") + name.count("-") for name in group}) == 1:
            continue
        shown = ", ".join(f"{name!r} ({counts[name]})" for name in group)
        what = f"holds labels that differ in {differ_in(group)}: {shown}"
        fix = f"write them alike; if they are different labels name the set: --classes {','.join(group)}"
        problems.append(Problem(str(where), what, fix))
    fail(problems)
    return tuple(sorted(name for name in counts if name not in rare))


def _read_answer(source: Source, made: Prediction, row: AnswerRow, answer: object, names: Sequence[str]) -> Prediction:
    """An answer as a prediction: with the label that it is or, outside the set, that it says."""
    several = parse_labels(answer)
    said = several[0] if len(several) == 1 else ""
    error = f"names {len(several)} labels where one is wanted" if len(several) > 1 else made.error
    made = replace(made, text=cell(row.get("text")) or cell(answer), label=said or None, error=error)
    if row.get("state"):  # a run's own prediction has been read
        return replace(made, state=_state(row, said, made.truth or ""))
    said = _content(source.remarks, "answers", made.id, said, names)
    made = replace(made, label=said or None, state=_state(row, said, made.truth or ""))
    if made.state != "scored":
        return made
    reading = source.reader(said, names)
    if reading.refused:
        return replace(made, state="refused", label=None, error="the model says that it will not or cannot answer")
    said = said if reading.answer is None else reading.answer
    if reading.label is None and (reading.error or not is_like_a_label(said, names)):
        why = reading.error or "no label can be read from the answer"
        return replace(made, state="unparsed", label=None, error=why)
    if reading.label is None:
        return replace(made, label=said, state="out_of_vocabulary", error=f"{said!r} is no label of the set")
    if reading.label != said:
        shown = f"{said!r} read as {reading.label!r} ({made.id})"
        source.remarks.add(f"answers that are a label but for {_apart(said, reading.label)}", shown)
    return replace(made, label=reading.label)


def _apart(one: str, other: str) -> str:
    return "case" if one.casefold() == other.casefold() else "case, width or marks around it"


def _with_new_labels(
    remarks: Remarks, found: list[Prediction], names: tuple[str, ...], read: Collection[str]
) -> tuple[list[Prediction], tuple[str, ...]]:
    """Where no label set is given, what answers alone name are labels as well; not what only looks like a true one, nor what
    a run itself found to be none (`read` are the ids of the others)."""
    outside = [p.label for p in found if p.state == "out_of_vocabulary" and p.id in read and p.label]
    counts = Counter(label for label in outside if not lookalike(label, names))
    one = {name: group[0] for group in alike(counts) for name in group}
    out, more = [], {p.label for p in found if p.state == "scored" and p.label}
    for p in found:
        said = p.label or ""
        if p.state == "out_of_vocabulary" and p.id in read and said in counts:
            remarks.add("answers with a label that no truth has, each of these a class of its own; --classes names the set",
                        f"{said!r}{meant(said, names)} ({p.id})")  # fmt: skip
            p = replace(p, state="scored", label=one.get(said, said), error="")
            more.add(one.get(said, said))
        out.append(p)
    return out, tuple(sorted({*names, *more}))


def _content(remarks: Remarks, what: str, name: str, text: str, known: Iterable[str]) -> str:
    """A cell as a label; a word for nothing is none, with a remark."""
    label = as_label(text, tuple(known))
    if text and not label and text in NOTHING:
        remarks.add(f"{what} that say a word for nothing and count as empty", f"{text!r} ({name})")
    return label


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
    truths = {i: _content_of_text(source.remarks, "truths", i, text) for i, text in truths.items()}
    if not any(truths.values()):
        wrong(str(where), "holds no texts to compare answers with", "give --labels FILE with the texts to compare with")
    found = []
    for i, row, truth, error in pair_rows(source, answers, truths):
        text = _content_of_text(source.remarks, "answers", i, cell(row.get(column)))
        compared = {"reference": truth} if truth else {}
        state = _state(row, text, truth or "")
        found.append(Prediction(i, task, state, truth or None, text=text, error=error, facts=compared))
    remark_states(source.remarks, [p for p in found if p.id in answers])
    return found


def _content_of_text(remarks: Remarks, what: str, name: str, text: str) -> str:
    """A text; a word for nothing is none, with a remark."""
    return _content(remarks, what, name, text, ()) if text in NOTHING else text


def read_answers(source: Source, task: str, columns: tuple[str, ...] = ()) -> dict[str, str]:
    """The texts of `source.predictions` by id, truths left aside; a list as JSON. `columns` as for `read_texts`."""
    rows = source.answers(task)
    column = _text_column(source.predictions, rows, source.answer_column, columns, "answers")
    texts = {i: cell(row.get(column)) for i, row in rows.items()}
    return {i: _content_of_text(source.remarks, "answers", i, text) for i, text in texts.items()}


def column_of(
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
        option = "--truth-column" if what == "truths" else "--answer-column"
        fix = f"a row needs the columns id and {known[0]}; name another: {option} {_likeliest(columns)}"
        raise InputError(Problem(place, f"has no {'text' if what == 'texts' else 'label'}", fix, columns))
    return there[0]


def _likeliest(columns: Sequence[str]) -> str:
    """The column that may hold labels: the only one beside the ids."""
    others = [c for c in columns if c not in IDS]
    return others[0] if len(others) == 1 else "NAME"


def _remark_columns(
    remarks: Remarks, path: RowSource, rows: Mapping[str, AnswerRow], chosen: str, asked: str | None
) -> None:
    """Add which column is read where a row has labels in several."""
    filled = [
        [c for c in row if c and c != chosen and c.strip().lower() in (*LABELS, *ANSWERS) and row[c] and cell(row[c])]
        for row in rows.values()
        if cell(row.get(chosen))
    ]
    others = dict.fromkeys(c for columns in filled for c in columns)
    if others and asked is None and chosen in LABELS:
        remarks.notes.append(f"{path}: read is the column {chosen!r}, not {', '.join(map(repr, others))}")


def _text_column(
    path: RowSource, rows: Mapping[str, AnswerRow], asked: str | None, columns: tuple[str, ...], what: str
) -> str:
    """The column of texts to read. A run's own predictions have empty columns of labels beside their texts."""
    if not columns:
        return column_of(path, rows, asked, TEXTS, "texts", LABELS)
    own = any("state" in row and "task" in row for row in rows.values())
    known = [c for c in (("text", *columns) if own else columns) if c not in FREE]
    found = column_of(path, rows, asked, known, what, FREE if what == "answers" else ())
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
    own = cell(row.get("truth")) or cell(facts.get("reference"))  # the fact held it before version 0.3
    return cell(reference(Prediction("", task, "scored", own or None, truths=truths), references or (task,)))


def _truth(path: RowSource, name: str, value: object) -> str:
    labels = parse_labels(value)
    if len(labels) > 1:
        what = f"has {len(labels)} labels, and these metrics score one a sample: {', '.join(labels)}"
        wrong(f"{path}: {name}", what)
    if labels and len(text_lines(labels[0])) > 1:
        what = f"the true label goes on in another line: {labels[0][:SHOWN]!r}"
        wrong(f"{path}: {name}", what, "close the quote of this row")
    return labels[0] if labels else ""


def pair_rows(
    source: Source, answers: Mapping[str, AnswerRow], truths: Mapping[str, Truth]
) -> Iterator[tuple[str, AnswerRow, Truth | None, str]]:
    """(id, row of the answer, truth, what is wrong) for each id of either file. Refuses files that cannot belong together."""
    known = [i for i, truth in truths.items() if truth]
    if not any(truths.get(i) for i in answers):
        what = f"no id of it is among the ids of {source.labels or source.predictions} that have a truth"
        likely = likely_same(answers, known)
        fix = f"the first ids are {next(iter(answers))!r} and {known[0]!r}: name the samples alike in both"
        wrong(str(source.predictions), what, f"{likely}: write them alike" if likely else fix)
    remark_partners(source.remarks, list(answers), known)
    for i in dict.fromkeys([*truths, *answers]):
        yield i, answers.get(i, {}), truths.get(i), "" if i in answers else f"no answer in {source.predictions}"


def _state(row: AnswerRow, answer: str, truth: str) -> State:
    if not truth:
        return "skipped"
    return next((s for s in STATES if s == row.get("state")), "scored" if answer else "unparsed")


IDS = ("id", "name", "names")
"""Columns that name a sample; the first that is there counts."""


def by_id(
    path: RowSource, rows: list[tuple[str, AnswerRow]], split: str | None, task: str, must: bool = False
) -> dict[str, AnswerRow]:
    """Rows by id; of a run's own predictions those of one task. `must`: a split that is asked for is there."""
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
        name = next((t for t in (cell(row.get(key)) for key in IDS) if t and t not in NOTHING), "")
        if not name:
            raise InputError(Problem(place, "has no id", "a row needs the columns id and label", tuple(map(str, row))))
        if name in found:
            wrong(place, f"the id {name!r} occurs twice", "one row a sample")
        if row.get("state", "scored") not in (*STATES, ""):
            raise InputError(unknown(place, "state", str(row["state"]), STATES))
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


def read_rows_of(
    path: RowSource, split: str | None, classes: tuple[str, ...] | None
) -> tuple[list[tuple[str, AnswerRow]], tuple[str, ...]]:
    """(place, row) of every row of a file, or of rows in memory, and notes on what was mended."""
    if isinstance(path, MemoryRows):
        return list(path.rows), ()
    if path.suffix.lower() in PICKLED:
        return read_rows(path, split, classes), ()
    return read_entries(path)


def cell(value: object) -> str:
    """A value as text: a list or mapping as JSON, nothing and NaN as the empty string."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value).strip()
    return HALF.sub("\N{REPLACEMENT CHARACTER}", text)


def wrong(place: str, what: str, fix: str = "") -> NoReturn:
    """Raises InputError."""
    raise InputError(Problem(place, what, fix))
