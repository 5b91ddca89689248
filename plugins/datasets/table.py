"""Anybody's data: a table with a row a clip, still or sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from affectkit_plugins._values import leave_some, once, shares

from affectkit.pieces import Piece, Survey, hookimpl
from affectkit.sample import Sample


@dataclass(frozen=True)
class Settings:
    """A CSV, JSON-lines or Parquet file of your own clips, stills or sound, one row each, and no code.

    Columns are found by their usual names (`path`, `label`, `subtitle`, `split`, `reason`, `turns`, `id`, `age`,
    `gender`, `race`, a face box and others) or named in `columns`. Only the path is a must; the file's extension says whether it
    is video, image or audio. `turns` holds a conversation: a JSON list of [question, answer], or of records as LLaVA's
    (`from`, `value`). Where the table has no `split` column, a hash of the person (else the id) deals the rows
    out; where it has no validation rows, they are cut from the training rows in the same way.
    """

    path: str
    """The table: `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json` or `.parquet`, with the columns' names in it."""
    root: str | None = None
    """The folder that paths in the table start from; null is the folder of the table."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our word to your column where it has no usual name (`{label: feeling}`); an empty name switches a column off."""
    labels: tuple[str, ...] = ()
    """The label set in its order; empty takes every label of the table, in alphabetical order."""
    rename: dict[str, str] = field(default_factory=dict)
    """Your label to the one to use instead (`{"0": neutral}`)."""
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
        return shares(self, *both) + leave_some(self, "val", both, "train on") + once(self, "label", "labels")


def build(settings: Settings, split: str) -> Sequence[Sample]:
    """The samples of one split, in the table's order, with `.labels`; nothing is decoded.

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
