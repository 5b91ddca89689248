"""Several labels a sample, and their truths, from tables and predictions of runs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from affectkit.errors import InputError, Problem, unknown
from affectkit.evaluation.prediction import Prediction, State
from affectkit.labels.answers import LABELS as LABEL_COLUMNS
from affectkit.labels.answers import AnswerRow, RowSource, Source, cell, column_of, pair_rows, parse_labels, wrong
from affectkit.reading import NOTHING, read_plain
from affectkit.sample import LABELS

COLUMNS = ("labels", *LABEL_COLUMNS)
"""Columns that hold labels, the likeliest first."""
SEPARATORS = "|;,/"
"""What may stand between the labels of a cell; none that a label of the set has in it."""
HALF_SURE = 0.5
"""From so large a probability a label counts as answered, where a cell holds probabilities."""


def read_label_sets(source: Source, classes: Sequence[str] | None) -> tuple[list[Prediction], tuple[str, ...]]:
    """(predictions, label set); each id of either file is one prediction.

    A cell is a list, a JSON list, labels with one of `SEPARATORS` between them, or a JSON object of labels and weights:
    votes as truths, probabilities as answers. `[]` is the empty set, an empty cell no truth and no answer. Without `classes`
    the label set is every true label; other labels that are answered stay, and are counted. Raises InputError for a truth
    outside `classes`.
    """
    answers, rows = source.read(LABELS)
    where: RowSource = source.predictions if rows is None else source.labels or source.predictions
    held = answers if rows is None else rows
    column = column_of(source.predictions, answers, source.answer_column, COLUMNS, "answers")
    name = _truth_column(source, where, held, rows is None)
    true = {i: _weights(row.get(name), classes or (), str(row[""])) for i, row in held.items()}
    if not any(value is not None for value in true.values()):
        wrong(str(where), "holds no true labels", f"fill the column {name}")
    names = tuple(classes or sorted({label for own in true.values() for label in own or ()}))
    if not names:
        wrong(
            str(where),
            "has no true label: every set is empty, and nothing says which labels there are",
            "name them: --classes A,B",
        )
    truths = {i: _known(str(held[i][""]), own, names) for i, own in true.items() if own is not None}
    found = [
        _read(source, Prediction(i, LABELS, "scored", error=error, true_labels=truth or {}), row, column, names)
        for i, row, truth, error in pair_rows(source, answers, truths)
    ]
    for p in found:
        for label in p.labels if p.true_labels else ():
            if label not in names:
                source.remarks.add("answered labels that are none of the set", f"{label!r} ({p.id})")
        if p.id in answers and p.state in ("unparsed", "refused", "invalid"):
            source.remarks.add("answers without a label", f"{p.text!r} ({p.id})")
    return found, names


def _truth_column(source: Source, where: RowSource, held: Mapping[str, AnswerRow], one: bool) -> str:
    """The column of truths; beside answers in one file it is `true_labels` or `truth`."""
    own = ("true_labels", "truths", "truth")
    if source.truth_column or not one:
        return column_of(where, held, source.truth_column, (*own, *COLUMNS), "truths")
    there = next((c for c in own if any(row.get(c) for row in held.values())), "")
    if not there:
        wrong(str(where), "holds no truths", "give --labels FILE with the columns id and labels")
    return there


def _weights(value: object, names: Sequence[str], place: str) -> dict[str, float] | None:
    """Labels with their weights, 1 for each of a list; None for an empty cell. Raises InputError for a weight that is none."""
    value = _as_json(value)
    if isinstance(value, Mapping):
        for label, weight in value.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                raise InputError(
                    Problem(place, f"the weight of {label!r} is {weight!r}", "a weight is a number from 0")
                )
        return {_label(str(label), names): float(weight) for label, weight in value.items()}
    labels = _split(value, names)
    return None if labels is None else dict.fromkeys(labels, 1.0)


def _as_json(value: object) -> object:
    """A text that looks like a JSON object as that object."""
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _split(value: object, names: Sequence[str]) -> tuple[str, ...] | None:
    """The labels of a cell, each once; None for an empty one."""
    if isinstance(value, list | tuple) or (isinstance(value, str) and value.strip().startswith("[")):
        words: Sequence[str] = parse_labels(value)
    else:
        text = cell(value)
        if not text or (text in NOTHING and text not in names):
            return None
        free = [s for s in SEPARATORS if not any(s in name for name in names)]
        words = re.split(f"[{re.escape(''.join(free))}]", text) if free and text not in names else [text]
    return tuple(dict.fromkeys(_label(word.strip(), names) for word in words if word.strip()))


def _label(word: str, names: Sequence[str]) -> str:
    """The label of the set that a word is, or the word itself."""
    return read_plain(word, names).label or word


def _known(place: str, weights: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """True weights of every label of the set. Raises InputError for one outside."""
    for label in weights:
        if label not in names:
            raise InputError(unknown(place, "true label", label, names))
    return {name: weights.get(name, 0.0) for name in names}


def _read(source: Source, made: Prediction, row: AnswerRow, column: str, names: Sequence[str]) -> Prediction:
    """An answer as a prediction."""
    value: Any = _as_json(row.get(column))
    odds = row.get("probabilities")
    if isinstance(value, Mapping):
        odds, value = value, [label for label, v in value.items() if isinstance(v, int | float) and v >= HALF_SURE]
    known = {_label(str(n), names): v for n, v in odds.items()} if isinstance(odds, Mapping) else {}
    finite = all(isinstance(v, int | float) and 0 <= v < math.inf for v in known.values())
    labels = _split(value, names)
    made = replace(made, text=cell(row.get("text")) or cell(row.get(column)))
    state: State = "invalid" if not finite else "scored" if labels is not None else "unparsed"
    if state == "scored" and labels and len(labels) == 1 and read_plain(labels[0], names).refused:
        state = "refused"
    if row.get("state"):
        state = row["state"]  # type: ignore[assignment]  # of a run, and one of STATES
    state = state if made.true_labels else "skipped"
    return replace(
        made, state=state, labels=labels or () if state == "scored" else (), probabilities=known if finite else {}
    )
