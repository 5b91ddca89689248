"""Labels and ratings in the columns of a table: one label, several with their weights, numbers on a scale."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from affectkit_plugins.datasets._annotations import string_list

from affectkit.errors import Problem, nearest, unknown
from affectkit.reading import NOTHING, alike, as_label, differ_in
from affectkit.sample import Sample
from affectkit.tables import TableRow

if TYPE_CHECKING:
    from affectkit_plugins.datasets.table import Settings

DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


SEPARATORS = (";", ",", "|", "/")
"""What usually stands between labels in a cell."""
FEW = 0.05
"""Share of the cells below which such a sign is taken for a part of a label."""


class RowProblems:
    """What is wrong with rows: one mistake in many of them is told once, at the first, with how many there are."""

    def __init__(self) -> None:
        self._first: dict[object, Problem] = {}
        self._rows: Counter[object] = Counter()

    def append(self, problem: Problem, mistake: object = None) -> None:
        """A problem of one row; those of one `mistake` are one."""
        key = (len(self._first),) if mistake is None else mistake
        self._first.setdefault(key, problem)
        self._rows[key] += 1

    def __len__(self) -> int:
        """How many there are, each row counted."""
        return self._rows.total()

    def joined(self) -> list[Problem]:
        """Each mistake once."""
        return [
            replace(p, what=f"{p.what} ({self._rows[key]:,} rows, this one first)") if self._rows[key] > 1 else p
            for key, p in self._first.items()
        ]


class TargetReader:
    """Reads the targets of rows; collects what is wrong, and counts what is not there."""

    def __init__(self, settings: Settings, columns: Sequence[str], table: str) -> None:
        self.settings = settings
        self.several = settings.several
        self.scales = settings.scales
        self.columns = {name: settings.columns.get(name) or name for name in self.scales}
        """Name of a rating to its column."""
        self.problems = RowProblems()
        self.without: Counter[str] = Counter()
        """Ratings, and `labels`, to how many rows lack them."""
        named = [(f"data.{self._at(name)}", column) for name, column in self.columns.items()]
        if self.several is not None:
            one = [("data.labels.column", self.several.column)] if self.several.column else []
            named += one + [("data.labels.columns", column) for column in self.several.columns]
        for at, column in named:
            if column not in columns:
                self.problems.append(unknown(at, f"column of {table}:", column, columns))
        self.separated: Counter[str] = Counter()
        """Signs that stand between labels, or may, to how many cells have them; and all cells that are no list."""

    def _at(self, name: str) -> str:
        return f"columns.{name}" if name in self.settings.columns else "numbers"

    @property
    def taken(self) -> set[str]:
        """The columns that hold targets, and serve nothing else."""
        several = self.several
        return {*self.columns.values(), *((several.column, *several.columns) if several else ())}

    def label(self, cell: str) -> str | None:
        """The one label of a cell, renamed; None for none."""
        known = (*self.settings.label_set, *self.settings.rename, *self.settings.leave_out)
        label = as_label(cell, known)
        return self.settings.rename.get(label, label) or None

    def labels(self, row: TableRow) -> dict[str, float]:
        """The labels of a row with their weights: 1 each, or shares that add up to 1; empty where it has none."""
        if self.several is None:
            return {}
        if self.several.columns:
            found = self._weighed(row)
        else:
            cell = row.cells[self.several.column]
            if cell and cell[:1] != "[":
                signs = (sign for sign in {self.several.separator, *SEPARATORS} if sign in cell)
                self.separated.update(["", *signs])
            cells = string_list(cell) if cell[:1] == "[" else cell.split(self.several.separator)
            found = {label: 1.0 for part in cells if (label := self.label(part))}
        self.without["labels"] += not found
        return found

    def _weighed(self, row: TableRow) -> dict[str, float]:
        """From a column for each label."""
        assert self.several is not None
        found: dict[str, float] = {}
        for column in self.several.columns:
            text = row.cells[column]
            weight = _number(text) if text and text not in NOTHING else 0.0
            if weight is None or weight < 0:
                what = f"the column {column!r} holds {text!r}, which is no count of votes and no share"
                self.problems.append(Problem(row.place, what, "a number from 0, or leave it empty"), ("column", column))
                continue
            if weight not in (0, 1) and not self.several.votes:
                what = f"the column {column!r} holds {text!r}, and 0 or 1 says whether a label is there"
                self.problems.append(
                    Problem(row.place, what, "`data.labels.votes: true` makes shares of votes"), "votes"
                )
                continue
            name = self.label(column)
            if weight and name:
                found[name] = found.get(name, 0.0) + weight
        whole = sum(found.values())
        return {name: weight / whole if self.several.votes else 1.0 for name, weight in found.items()}

    def numbers(self, row: TableRow) -> dict[str, float]:
        """The ratings of a row by name, those that it has."""
        found = {}
        for name, column in self.columns.items():
            text, (low, high) = row.cells[column], self.scales[name]
            if not text or text in NOTHING:
                self.without[name] += 1
                continue
            value = _number(text)
            if value is None:
                what = f"the {name} {text!r} (column {column!r}) is no number"
                self.problems.append(Problem(row.place, what, "leave it empty where there is none"), ("word", name))
            elif not low <= value <= high:
                what = f"the {name} {text} (column {column!r}) is outside its scale, {low:g} to {high:g}"
                fix = f"mend it, or widen the scale: `data.numbers.{name}`"
                self.problems.append(Problem(row.place, what, fix), ("scale", name))
            else:
                found[name] = value
        return found

    def notes(self) -> list[str]:
        """What rows lack."""
        return [f"rows without {name}: {n}" for name, n in self.without.items() if n] + self._other_separator()

    def _other_separator(self) -> list[str]:
        """A note where no cell has the separator, and some have another usual one."""
        sign, cells = max(((sign, self.separated[sign]) for sign in SEPARATORS), key=lambda pair: pair[1])
        whole = self.separated[""]
        if self.several is None or self.separated[self.several.separator] or cells <= max(1, FEW * whole):
            return []
        column, ours = self.several.column, self.several.separator
        return [
            f"no cell of {column!r} has the separator {ours!r}, and {cells:,} of {whole:,} have {sign!r}, which stays a part of "
            f"their labels: if it stands between labels, say `data.labels.separator: {json.dumps(sign)}`"
        ]


def _number(text: str) -> float | None:
    """A finite number, with a decimal point or a decimal comma; None for anything else."""
    try:
        value = float(text.replace(",", ".") if DECIMAL_COMMA.fullmatch(text) else text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def labels_of(sample: Sample) -> Iterator[str]:
    """All labels of a sample."""
    yield from dict.fromkeys([*([sample.label] if sample.label else []), *sample.labels])


def label_set(settings: Settings, entries: Sequence[tuple[str, Sample]]) -> tuple[tuple[str, ...], list[Problem]]:
    """The label set of samples, each with the place of its row; and what does not belong to it."""
    names = settings.label_set
    if names:
        several = settings.several is not None
        also = f"name more in `data.labels{'.set' if several else ''}`, or map it with `data.rename`"
        also += ", or leave its rows out: `data.leave_out`"
        wrong = RowProblems()
        for place, sample in entries:
            for label in labels_of(sample):
                if label not in names:
                    first = "or " if nearest(label, names) else ""  # behind the near miss
                    wrong.append(unknown(place, "label", label, names, first + also), label)
        return names, wrong.joined()
    seen = Counter(label for _, sample in entries for label in labels_of(sample))
    problems = [
        Problem("data.rename", f"labels differ in {differ_in(group)}: {', '.join(f'{n} ({seen[n]})' for n in group)}",
                f"`data.rename: {json.dumps(dict.fromkeys(group[1:], group[0]), ensure_ascii=False)}`")
        for group in alike(seen)
    ]  # fmt: skip
    return tuple(sorted(seen)), problems
