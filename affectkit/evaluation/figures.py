"""Figures as records: one with its interval, those of a split, of groups of people and of other ways to ask.

Files hold the same as JSON objects: `Record.to_dict` makes them and `from_dict` reads them. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

from affectkit.errors import InputError, Problem
from affectkit.files import Json
from affectkit.sample import Origin


@dataclass(frozen=True)
class Record:
    """A frozen dataclass that is a JSON object in files, with a key for each field.

    A field with None as its default has no key while it is None. The items of a field of `beside()` stand among the keys
    of the record itself, as metrics stand by name among the other figures of a split.
    """

    def to_dict(self) -> dict[str, Json]:
        """The JSON object."""
        out: dict[str, Json] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.metadata.get("beside"):
                out |= {key: _to_json(inner) for key, inner in value.items()}
            elif value is not None or one.default is not None:
                out[one.name] = _to_json(value)
        return out

    @classmethod
    def from_dict(cls, found: Mapping[str, Json]) -> Self:
        """The record of a JSON object; keys that it does not know are passed over, missing ones are as by default or None.

        Raises InputError where neither will do.
        """
        kinds, given = _kinds(cls), dict[str, object]()
        for one in fields(cls):
            kind = kinds[one.name]
            if one.metadata.get("beside"):
                inner, rest = get_args(kind)[1], {k: v for k, v in found.items() if k not in kinds}
                # Where only figures fit, the figures.
                given[one.name] = {
                    k: _from_json(inner, v) for k, v in rest.items() if _is_figure(v) or not _is_record(inner)
                }
            elif one.name in found:
                given[one.name] = _from_json(kind, found[one.name])
            elif NoneType in get_args(kind):
                given[one.name] = None
        try:
            return cls(**given)
        except TypeError:
            lacks = ", ".join(n for n in kinds if n not in given)
            raise InputError(Problem("figures", f"{cls.__name__} lacks {lacks}", "evaluate the run again")) from None


def beside() -> Any:
    """A field whose items stand among the keys of its record."""
    return field(default_factory=dict, metadata={"beside": True})


_KINDS: dict[type, dict[str, Any]] = {}


def _kinds(cls: type) -> dict[str, Any]:
    """The type of each field, looked up once a class."""
    if cls not in _KINDS:
        _KINDS[cls] = get_type_hints(cls)
    return _KINDS[cls]


def _to_json(value: Any) -> Json:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _to_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(inner) for inner in value]
    plain: Json = value
    return plain


def _from_json(kind: Any, value: Json) -> object:
    """`value` as what a field of that type holds."""
    parts = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        records = [k for k in parts if _is_record(k)] if _is_figure(value) else []
        kinds = records or [k for k in parts if k is not NoneType]
        return _from_json(kinds[0], value) if value is not None and len(kinds) == 1 else value
    if _is_record(kind):
        return kind.from_dict(value)
    if isinstance(value, Mapping) and len(parts) == 2:
        return {key: _from_json(parts[1], inner) for key, inner in value.items()}
    if isinstance(value, list) and get_origin(kind) is tuple:
        return tuple(_from_json(parts[0], inner) for inner in value)
    return value


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)


def _is_figure(value: object) -> bool:
    return isinstance(value, Mapping) and "value" in value


@dataclass(frozen=True)
class Figure(Record):
    """A number with its 95 % interval; None where there is none. In words it is `0.500 [0.250, 0.750]`."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def span(self) -> tuple[float, float]:
        """The ends of the scale that it is drawn on."""
        return 0.0, 1.0

    @property
    def marks(self) -> tuple[tuple[str, float | None], ...]:
        """What it is compared with on that scale, by name."""
        return (("none", 0.0),) if self.span[0] < 0 else ()

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        sign = "+" if self.span[0] < 0 else ""
        value, *ends = (one if one is None else format(one, f"{sign}.3f") for one in (self.value, self.low, self.high))
        return f"{value}" if None in ends else f"{value} [{ends[0]}, {ends[1]}]"

    def digits(self, places: int = 3, none: str = "–") -> tuple[str, str]:
        """The value, and its interval as `low to high`, in words of a table."""
        value, low, high = (digits(one, places, none) for one in (self.value, self.low, self.high))
        return value, f"{low} to {high}"


def digits(value: object, places: int = 3, none: str = "–") -> str:
    """A number with so many places; `none` for None."""
    return f"{value:.{places}f}" if isinstance(value, int | float) else none if value is None else str(value)


@dataclass(frozen=True)
class SignedFigure(Figure):
    """A figure that says how far one thing lies above another: its words bear a sign."""

    @property
    def span(self) -> tuple[float, float]:
        """From the largest loss to the largest gain."""
        return -1.0, 1.0


@dataclass(frozen=True)
class MetricFigure(Figure):
    """What a metric says of a split."""

    more: Mapping[str, Json] = beside()
    """What it says beside its value: parts, precision, its protocol …"""

    @property
    def protocol(self) -> str:
        """How a published protocol scores, in a sentence; empty for metrics of labels as usual."""
        return str(self.more.get("protocol") or "")

    @property
    def error(self) -> str:
        """Why there is no value."""
        return str(self.more.get("error") or "")

    @property
    def parts(self) -> Mapping[str, Mapping[str, float | None]]:
        """What its mean is made of, such as a figure for each emotion wheel, by name."""
        parts: Any = self.more.get("parts") or {}
        return dict(parts)

    @property
    def span(self) -> tuple[float, float]:
        """The ends of the scale of its value, as the metric says them."""
        ends: Any = self.more.get("scale") or (0.0, 1.0)
        return float(ends[0]), float(ends[1])


@dataclass(frozen=True)
class Difference(SignedFigure):
    """The paired difference second - first of two systems."""

    ahead: float | None
    """The share of draws in which the second is better, ties counting half."""


@dataclass(frozen=True)
class Pair(Difference):
    """The same with what each of them has."""

    first: float | None
    second: float | None


@dataclass(frozen=True)
class Comparison(Record):
    """Two systems on the samples that both answered."""

    metrics: Mapping[str, Pair]
    count: int
    left_out: int
    """Samples that only one of them answered, or that have another truth in the other."""


@dataclass(frozen=True)
class Matrix(Record):
    """A confusion matrix: rows truth, columns answer, the last one answers that are no label."""

    labels: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ClassFigures(Record):
    """One label; None for 0 / 0."""

    support: int
    precision: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    f1: float | None


@dataclass(frozen=True)
class Guess(Record):
    """What guessing gives, by metric."""

    label: str | None = None
    """What is always answered, where it is one label."""
    values: Mapping[str, float | None] = beside()


@dataclass(frozen=True)
class Draws(Record):
    """How intervals were drawn."""

    resamples: int
    seed: int
    level: float


@dataclass(frozen=True)
class GroupFigures(Record):
    """The answered samples of a group, and each metric of labels."""

    count: int
    people: int | None = None
    """How many people these are, where people were drawn."""
    classes: int | None = None
    """How many labels of the set occur."""
    small: bool | None = None
    """Whether it is too small to say much of it, and is in no gap."""
    metrics: Mapping[str, Figure] = beside()


@dataclass(frozen=True)
class Ledger(Record):
    """How many samples ended in each state."""

    scored: int = 0
    undecodable: int = 0
    unparsed: int = 0
    out_of_vocabulary: int = 0
    refused: int = 0
    invalid: int = 0
    skipped: int = 0
    total: int = 0


@dataclass(frozen=True)
class OtherAnswers(Record):
    """Answers that a metric wanted beside the labels as the recipe finds them."""

    task: str
    method: str
    ledger: Ledger


@dataclass(frozen=True)
class OtherSystem(Record):
    """What something else made of the same samples."""

    about: str
    apart: Mapping[str, Pair] = field(default_factory=dict)
    """How far the run's own answers lie above it, paired."""
    metrics: Mapping[str, Figure] = beside()


@dataclass(frozen=True)
class VariantFigures(Record):
    """One way to ask."""

    name: str
    apart: Mapping[str, Pair] | None = None
    """The paired difference from the recipe's own way; None for that itself."""
    metrics: Mapping[str, Figure] = beside()


@dataclass(frozen=True)
class Variation(Record):
    """Other ways to ask, of one kind."""

    about: str
    variants: tuple[VariantFigures, ...]
    spread: Mapping[str, float | None]
    """The largest figure less the smallest."""


@dataclass(frozen=True)
class Gap(SignedFigure):
    """The largest figure of a group less the smallest."""

    highest: str
    lowest: str
    by_accident: float | None
    """The share of random groupings with as large a gap."""


@dataclass(frozen=True)
class FieldFigures(Record):
    """People by age, gender, race or skin tone."""

    origin: Origin
    without: int
    """Answered samples of unknown group."""
    groups: Mapping[str, GroupFigures]
    gaps: Mapping[str, Gap]
    by_person: bool | None = None
    """Whether people were drawn, not samples."""
    note: str | None = None
    """Why there are no groups."""


@dataclass(frozen=True)
class Share(Figure):
    """A share of answers."""

    count: int
    small: bool


@dataclass(frozen=True)
class Condition(Record):
    """What becomes of the answers when this is stated of people. The last five are None for the right words themselves."""

    name: str
    about: str
    metrics: Mapping[str, Figure] = beside()
    flips: Share | None = None
    """The share of answers that are others than with the right words."""
    lost: int | None = None
    """Answers that were right with the right words, and are wrong."""
    gained: int | None = None
    """The reverse."""
    by: Mapping[str, Mapping[str, Share]] | None = None
    """Flips by field and group."""
    apart: Mapping[str, Pair] | None = None
    """Paired differences against the right words."""


@dataclass(frozen=True)
class Flips(Record):
    """What is stated of people, and what that changes; or a note why it was not tried."""

    note: str | None = None
    fields: Mapping[str, Origin] | None = None
    samples: int | None = None
    """Those of whom something is known."""
    one_word: tuple[str, ...] | None = None
    """Fields that are never wrong, as all people are of one group."""
    conditions: tuple[Condition, ...] | None = None


@dataclass(frozen=True)
class Bias(Record):
    """Figures by people, by field, and under other statements of them."""

    small: int
    """A group of fewer samples is marked."""
    groups: Mapping[str, FieldFigures]
    flips: Flips


@dataclass(frozen=True)
class CalibrationBin(Record):
    """Answers of about the same confidence, above `low` and up to `high`: their mean confidence and the share of right ones."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Temperature(Record):
    """What probabilities are worth with their logarithms divided by one number."""

    value: float
    """The temperature: above 1 the model was too sure."""
    split: str
    """Where it was fitted."""
    count: int
    """The answers that it was fitted on."""
    nll_before: float
    """Mean negative log-probability of the truth there, as the model has it."""
    nll_after: float
    at_end: bool
    """Whether it is the highest or lowest that is tried."""
    figures: Mapping[str, Figure]
    """Of the split that is scored, at this temperature."""
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True)
class Reliability(Record):
    """How far the probabilities of answered labels can be trusted: of `count` answers, and `without` that have none."""

    count: int
    without: int
    figures: Mapping[str, Figure]
    """By name, see `calibration.FIGURES`."""
    bins: tuple[CalibrationBin, ...]
    """15 of equal width; empty ones are left out."""
    curve: tuple[tuple[float, float], ...]
    """Coverage, and the share of wrong answers among the surest that make it up."""
    temperature: Temperature | None = None
    """How it would be after temperature scaling, where a validation split was answered, too."""


@dataclass(frozen=True)
class SplitFigures(Record):
    """The figures of one split. What confusion counts give is None where no labels were scored."""

    protocol: str | None = None
    labels: tuple[str, ...] = ()
    by_metric: Mapping[str, MetricFigure | Json] = beside()
    """What each metric said: a figure, or else a table such as a confusion matrix."""
    count: int | None = None
    """Samples that the metrics saw."""
    chance: Guess | None = None
    """Every label alike."""
    majority: Guess | None = None
    """Always the commonest truth."""
    per_class: Mapping[str, ClassFigures] | None = None
    bootstrap: Draws | None = None
    groups: Mapping[str, Mapping[str, GroupFigures]] | None = None
    """By fact and its value."""
    ledger: Ledger | None = None
    notes: Mapping[str, int] | None = None
    """Answered samples by note (`prediction.NOTES`)."""
    remarks: tuple[str, ...] | None = None
    """Of answers in files: how they were read, what was not, and ids without a partner; each with a count and an example."""
    asked: tuple[OtherAnswers, ...] | None = None
    others: Mapping[str, OtherSystem] | None = None
    """Heads that answer the same, by name; `yardstick` is the one on the LLM's frozen features."""
    sensitivity: Mapping[str, Variation] | None = None
    """By kind of variant."""
    bias: Bias | None = None
    reliability: Reliability | None = None
    """Of labels that were scored with probabilities."""

    @property
    def metrics(self) -> dict[str, MetricFigure]:
        """The metrics that are a number, in their order."""
        return {name: one for name, one in self.by_metric.items() if isinstance(one, MetricFigure)}

    @property
    def matrix(self) -> Matrix | None:
        """The confusion matrix that a metric gave; not the one under `matrix`, which is there where none was asked for."""
        found = (one for name, one in self.by_metric.items() if name != "matrix" and isinstance(one, Mapping))
        return next((Matrix.from_dict(one) for one in found if "rows" in one), None)

    def guesses(self, name: str) -> tuple[float | None, float | None]:
        """What chance and the majority class give by a metric."""
        chance, majority = (one.values.get(name) if one else None for one in (self.chance, self.majority))
        return chance, majority
