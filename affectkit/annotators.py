"""Annotators: what a model or a rule finds in a clip, where it comes from, and why a clip is not used. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from affectkit.files import Json

Findings = Mapping[str, Json]
"""By the names that its piece `tells`, what an annotator found in one clip: anything that JSON can hold."""
ClipRow = Mapping[str, Any]
"""By port, what an annotator may know of one clip: `RawPixels`, `RawWave` or words of views, values of other annotators'
findings, the person. None where an optional port has nothing. Never a label, a file's name or what a data set says."""


@dataclass(frozen=True)
class Reject:
    """Instead of findings: the clip is not to be used."""

    reason: str
    """Why, in words that are the same for all clips with this fault: reports count by them."""
    about: str = ""
    """What it was in this clip (`3 words`)."""


@dataclass(frozen=True)
class Provenance:
    """Where a finding comes from."""

    piece: str
    """The annotator's piece."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """Its settings, those that were left at their defaults included."""
    model: str = ""
    """The model that was asked or that ran, as the annotator or its client names it."""
    prompt: str = ""
    """A hash of what the model was asked, words and files; empty where none was."""
    calls: int = 0
    """Requests that were sent for it."""
    cost: float = 0.0
    """What they cost, in the currency of the client's prices."""
    seconds: float = 0.0
    """How long it took; of clips that were looked at together, the share of each."""

    def to_dict(self) -> dict[str, Json]:
        """As records hold it."""
        return asdict(self)


@dataclass(frozen=True)
class FoundValue:
    """A value with where it comes from."""

    value: Json
    source: Provenance


@runtime_checkable
class Annotator(Protocol):
    """What an annotator's `build` returns.

    It may have `batch` (rows that it takes at a time, 1 without it) and `model` (the model that it runs, in words that change
    with its weights: findings are kept by them). One that asks a client is called from as many threads as the client takes
    questions at a time. One whose piece says `per_batch` gets all rows at once: for what a speaker usually sounds like, or
    which clips are alike.
    """

    def __call__(self, rows: Sequence[ClipRow]) -> Sequence[Findings | Reject]:
        """What is found in each row. Raises ClientError where a model does not reply: the clip is asked about again next time."""
        ...


@dataclass(frozen=True)
class ExportRow:
    """A clip that goes into a published form of instruction data."""

    id: str
    split: str
    media: Mapping[str, Path]
    """`video`, `image` or `audio` to its file."""
    values: ClipRow
    """By port, the findings that the recipe names; None where there is none."""


@runtime_checkable
class WritesRecords(Protocol):
    """What the `build` of a converter with ports returns: it writes what annotators found in a form that others read."""

    def write(self, rows: Sequence[ExportRow], folder: Path) -> Sequence[Path]:
        """Write the files of clips that were not rejected into a folder that is there; gives their paths. Raises InputError for
        what the form cannot hold, with the clip."""
        ...

    def example(self) -> Sequence[ExportRow]:
        """A few clips that the form can hold, for the promises."""
        ...
