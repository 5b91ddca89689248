"""Ratings and their truths from tables and predictions of runs: a column a rating."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from affectkit.errors import InputError, Problem, unknown
from affectkit.evaluation.prediction import Prediction, State
from affectkit.labels.answers import IDS, TEXTS, AnswerRow, Source, cell, pair_rows, wrong
from affectkit.reading import NOTHING
from affectkit.sample import NUMBERS

ANSWERED = ("pred_", "predicted_", "answer_")
"""What may stand before a rating's name where a column holds answers."""
TRUE = ("true_", "truth_", "gold_")
"""What may stand before it where one holds truths."""

Numbers = Mapping[str, float]


def read_numbers(source: Source, names: Sequence[str] = ()) -> list[Prediction]:
    """Predictions with numbers; each id of either file is one.

    A run's own predictions hold `numbers` and `true_numbers`. A table has a column a rating: `valence` or `pred_valence` for
    answers, `valence` or `true_valence` for truths; with `source.rates` a column of texts is read instead of those of answers.
    Without `names` ratings are all that both sides have. An answer that is empty or no number is unreadable, one that is not
    finite invalid; a truth that is empty or NaN is none. Numbers outside `source.ranges` are noted. Raises InputError for a
    rating without a column, and for a truth that is no number.
    """
    answers, rows = source.read(NUMBERS)
    held = answers if rows is None else rows
    answers = _rated(source, answers, held, names) if source.rates else answers
    columns = _columns(source, answers, held, names, rows is None)
    truths: dict[str, Numbers] = {}
    for i, row in held.items():
        values = {n: _true(source, row, n, value) for n, value in _values(row, "true_numbers", columns, 1).items()}
        truths[i] = {n: v for n, v in values.items() if v is not None}
    if not any(truths.values()):
        fix = "give --labels FILE with a column a rating, or columns true_NAME beside NAME"
        wrong(str(source.labels or source.predictions), "holds no true numbers", fix)
    found = []
    for i, row, truth, error in pair_rows(source, answers, truths):
        given = {n: _as_number(v) for n, v in _values(row, "numbers", columns, 0).items() if not _is_empty(v)}
        read = {n: v for n, v in given.items() if v is not None and math.isfinite(v)}
        endless = any(v is not None and not math.isfinite(v) for v in given.values())
        state: State = "skipped" if not truth else "scored" if read else "invalid" if endless else "unparsed"
        if row.get("state") and truth:
            state = row["state"]  # type: ignore[assignment]  # of a run, and one of STATES
        made = Prediction(i, NUMBERS, state, error=error, true_numbers=truth or {}, numbers=read)
        found.append(replace(made, text=cell(row.get("text"))))
        if i in answers and truth:
            _remark(source, found[-1], _values(row, "numbers", columns, 0))
    _remark_ranges(source, found)
    return found


def _rated(
    source: Source, answers: dict[str, AnswerRow], held: Mapping[str, AnswerRow], names: Sequence[str]
) -> dict[str, AnswerRow]:
    """The answers with the numbers that the reader finds in their texts; as they are where no column holds texts."""
    column = next((c for c in TEXTS if any(row.get(c) for row in answers.values()) and not _numeric(answers, c)), "")
    if not column:
        source.remarks.notes += [
            "the reader is not used: the ratings stand in columns of their own, and no text beside them"
        ]
        return answers
    columns = tuple(dict.fromkeys(c for row in held.values() for c in row if c))
    there = [_bare(c, TRUE) for c in columns if _numeric(held, c)]
    known = (row.get("true_numbers") for row in held.values())
    there += [str(n) for own in known if isinstance(own, Mapping) for n in own]
    asked = {n: source.ranges.get(n, (-math.inf, math.inf)) for n in names or dict.fromkeys(there)}
    assert source.rates is not None
    return {
        i: {**row, "numbers": dict(source.rates(cell(row.get(column)), asked).numbers)} for i, row in answers.items()
    }


def _columns(
    source: Source, answers: Mapping[str, AnswerRow], held: Mapping[str, AnswerRow], names: Sequence[str], one: bool
) -> dict[str, tuple[str, str]]:
    """By rating, the columns of answers and of truths. Raises InputError for a rating that is asked for and has none."""
    mine, theirs = (tuple(dict.fromkeys(c for row in side.values() for c in row if c)) for side in (answers, held))
    if "numbers" in mine and "true_numbers" in theirs:
        return {name: (name, name) for name in names}
    if source.answer_column or source.truth_column:
        return {_only(names): (_there(source.predictions, source.answer_column, mine),
                               _there(source.labels, source.truth_column, theirs))}  # fmt: skip
    plain = [_bare(c, TRUE) for c in theirs]
    found, lacking = {}, []
    for name in names or dict.fromkeys(plain):
        answer = "numbers" if "numbers" in mine else _first(mine, ANSWERED, name)
        truth = _first([c for c in theirs if not one or c != answer], TRUE, name)
        if answer and truth and (names or _numeric(held, truth)):
            found[name] = (name if answer == "numbers" else answer, truth)
        elif names:
            lacking.append((name, answer, truth))
    if lacking:
        name, answer, truth = lacking[0]
        where, what = (source.predictions, "answers") if not answer else (source.labels or source.predictions, "truths")
        wanted = f"pred_{name}" if not answer else f"true_{name}"
        raise InputError(Problem(str(where), f"has no column of {what} for the rating {name!r}", f"call it {name} or {wanted}",
                                 mine if not answer else theirs))  # fmt: skip
    if not found:
        fix = "call a rating's columns alike in both files, or NAME and true_NAME in one"
        raise InputError(Problem(str(source.predictions), "has no rating with answers and truths", fix, mine))
    return found


def _only(names: Sequence[str]) -> str:
    if len(names) > 1:
        what = f"names one column, and these metrics score several ratings: {', '.join(names)}"
        raise InputError(Problem("--answer-column", what, "call the columns as the ratings"))
    return names[0] if names else "number"


def _there(path: object, column: str | None, columns: Sequence[str]) -> str:
    if column not in columns:
        raise InputError(unknown(str(path), "column", str(column), columns))
    return str(column)


def _bare(column: str, prefixes: Sequence[str]) -> str:
    """A column's name without what says whose numbers it holds."""
    return next((column.removeprefix(p) for p in prefixes if column.startswith(p)), column)


def _first(columns: Sequence[str], prefixes: Sequence[str], name: str) -> str:
    """The column of a rating: with one of these prefixes, or plain; empty where there is none."""
    return next((c for c in (*(p + name for p in prefixes), name) if c in columns), "")


def _numeric(rows: Mapping[str, AnswerRow], column: str) -> bool:
    """Whether a column is of numbers, as half of its cells are or more; ids are not."""
    known = [v for row in rows.values() if not _is_empty(v := row.get(column))]
    numbers = sum(_as_number(v) is not None for v in known)
    return column not in (*IDS, "split") and 0 < len(known) <= 2 * numbers


def _values(row: AnswerRow, own: str, columns: Mapping[str, tuple[str, str]], side: int) -> dict[str, Any]:
    """By rating, what a row holds: a run's own mapping, or its columns."""
    held = row.get(own)
    if isinstance(held, Mapping):
        return {n: held.get(n) for n in columns or held}
    return {name: row.get(both[side]) for name, both in columns.items()}


def _is_empty(value: object) -> bool:
    return value is None or (
        isinstance(value, str) and value.strip() in ("", *(n for n in NOTHING if n.lower() != "nan"))
    )


def _as_number(value: object) -> float | None:
    """A value as a number, which may not be finite; None for what is none."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _true(source: Source, row: AnswerRow, name: str, value: object) -> float | None:
    """A true number; None for an empty one or NaN. Raises InputError for anything else."""
    if _is_empty(value):
        return None
    found = _as_number(value)
    if found is None:
        raise InputError(Problem(str(row[""]), f"the true {name} {value!r} is no number", "write it as 0.5"))
    if not math.isfinite(found):
        source.remarks.add(f"truths of {name} that are not finite and count as missing", f"{value!r} at {row['']}")
        return None
    return found


def _remark(source: Source, made: Prediction, given: Mapping[str, object]) -> None:
    """Add what of an answer is no number."""
    for name in made.true_numbers:
        value = given.get(name)
        if name in made.numbers:
            continue
        said = "an empty one" if _is_empty(value) else repr(value)
        source.remarks.add(f"answers without a number for {name}, never taken for 0", f"{said} ({made.id})")


def _remark_ranges(source: Source, found: Sequence[Prediction]) -> None:
    """Add numbers that lie outside their scale. Raises InputError for a scale of no rating."""
    there = sorted({name for p in found for name in p.true_numbers})
    for name, (low, high) in source.ranges.items():
        if name not in there:
            raise InputError(unknown("--range", "rating", name, there))
        for p in found:
            for what, side in (("truths", p.true_numbers), ("answers", p.numbers)):
                if name in side and not low <= side[name] <= high:
                    about = f"{what} of {name} outside its range, {low:g} to {high:g}; they count as they are"
                    source.remarks.add(about, f"{side[name]:g} ({p.id})")
