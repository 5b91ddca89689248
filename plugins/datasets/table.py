"""Anybody's data: a table with a row a clip, still or sound."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from affectkit_plugins._values import leave_some, once, shares

from affectkit.pieces import Piece, Survey, hookimpl
from affectkit.sample import Sample


@dataclass(frozen=True)
class SeveralLabels:
    """Columns that hold several labels of a row; one label alone goes to the column `label`, as always."""

    column: str = ""
    """The column whose cells list the labels."""
    separator: str = "|"
    """What stands between labels in a cell; a list in brackets (`['sad', 'hurt']`) is read too."""
    columns: tuple[str, ...] = ()
    """Instead of one such column: a column for each label, called like it, with 1 where the row has it."""
    votes: bool = False
    """Whether `columns` hold counts of votes, or shares: weights are then shares that add up to 1."""
    set: tuple[str, ...] = ()
    """The label set in its order; empty takes every label of the table, in alphabetical order."""

    def __iter__(self) -> Iterator[str]:
        """The labels that are named, as of a plain list of them."""
        return iter(self.set)

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = once(self, "label", "set") + once(self, "column", "columns")
        if bool(self.column) == bool(self.columns):
            found.append(("column", "say either the column of all labels, or in `columns` one for each label"))
        if self.votes and not self.columns:
            found.append(("votes", "votes stand in `columns`, one for each label"))
        return found + ([] if self.separator else [("separator", "must not be empty")])


@dataclass(frozen=True)
class Settings:
    """A CSV, JSON-lines or Parquet file of your own clips, stills, sound or texts, one row each, and no code.

    Columns are found by their usual names (`path`, `label`, `subtitle`, `split`, `reason`, `turns`, `id`, `age`,
    `gender`, `race`, a face box and others) or named in `columns`. A row needs a path, whose extension says whether it
    is video, image or audio, or words (`subtitle`) alone. `turns` holds a conversation: a JSON list of [question,
    answer], or of records as LLaVA's (`from`, `value`). `openface` names OpenFace's csv of the clip, whose intensities
    become the facts `action_units` and `action_unit_names` (estimates). Where the table has no `split` column, a hash of
    the person (else the id) deals the rows out; where it has no validation rows, they are cut from the training rows in
    the same way.
    With several labels a sample has no single one beside them, also where its set has one label, unless the column
    `label` tells it: those that happen to have just one would be a biased part of the data.
    """

    path: str
    """The table: `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json` or `.parquet`, with the columns' names in it."""
    root: str | None = None
    """The folder that paths in the table start from; null is the folder of the table."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our word to your column where it has no usual name (`{label: feeling}`); an empty name switches a column off."""
    labels: tuple[str, ...] | SeveralLabels = ()
    """The label set in its order; empty takes every label of the table, in alphabetical order. Or where several labels of a
    row stand: `{column: labels, separator: "|"}`, with the set as `set`."""
    numbers: tuple[str, ...] | dict[str, tuple[float, ...]] = ()
    """Columns of ratings (`[valence, arousal]`), or each with the ends of its scale (`{valence: [1, 5]}`; `[]` for none).
    Where a rating is to be called otherwise than its column, `columns` says which (`{valence: V}`)."""
    rename: dict[str, str] = field(default_factory=dict)
    """Your label to the one to use instead (`{"0": neutral}`)."""
    leave_out: tuple[str, ...] = ()
    """Labels, renamed or not, whose rows are left out and counted, such as classes too rare for a figure."""
    splits: dict[str, str] = field(default_factory=dict)
    """Your word in the split column to the split it belongs to (`{fold5: test}`); an empty one leaves the rows out."""
    val: float = 0.1
    """Fraction of the rows for validation where the table does not say (of the training rows, if it has splits)."""
    test: float = 0.2
    """Fraction of the rows for the test where the table has no split column."""
    facts: tuple[str, ...] = ()
    """More columns to keep as facts, under their own names."""
    obtain: str = ""
    """Where the data is to be had: with it `check` takes a table that is not there yet as a note, not as a mistake."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        both = ("val", "test")
        found = shares(self, *both) + leave_some(self, "val", both, "train on")
        found += [] if self.several else once(self, "label", "labels")
        found += [("leave_out", f"{n!r} is one of `labels`") for n in self.leave_out if n in self.label_set]
        if not isinstance(self.numbers, dict):
            return found + once(self, "rating", "numbers")
        return found + [
            ("numbers", f"the scale of {name!r} is [lowest, highest], or [] for none, got {list(ends)}")
            for name, ends in self.numbers.items()
            if ends and not (len(ends) == 2 and ends[0] < ends[1])
        ]

    @property
    def several(self) -> SeveralLabels | None:
        """Where several labels of a row stand; None where rows have one."""
        return self.labels if isinstance(self.labels, SeveralLabels) else None

    @property
    def label_set(self) -> tuple[str, ...]:
        """The label set, as far as it is named."""
        return tuple(self.labels)

    @property
    def scales(self) -> dict[str, tuple[float, float]]:
        """Ratings by name, each with the ends of its scale."""
        ends = self.numbers if isinstance(self.numbers, dict) else dict.fromkeys(self.numbers, ())
        return {name: (pair[0], pair[1]) if pair else (-math.inf, math.inf) for name, pair in ends.items()}


def build(settings: Settings, split: str) -> Sequence[Sample]:
    """The samples of one split, in the table's order, with `.labels` and `.numbers`; nothing is decoded.

    Raises InputError with all that is wrong with the table, each with its line.
    """
    from affectkit_plugins.datasets._table_rows import load

    return load(settings, split)


def survey(settings: Settings) -> Survey:
    """The label set and the rows of each split. Raises InputError as `build` does."""
    from affectkit_plugins.datasets import _table_rows

    return _table_rows.survey(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [Piece("dataset", "table", Settings, build, survey=survey)]
