"""Figures of people over several data sets, as records. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from affectkit.evaluation.figures import FieldFigures, Gap, GroupFigures, Record
from affectkit.sample import Origin


@dataclass(frozen=True)
class FieldOverSets(Record):
    """The same over data sets; all but `note` is None where it says why there is nothing."""

    origin: Origin | None = None
    sets: tuple[str, ...] | None = None
    left_out: tuple[str, ...] | None = None
    groups: Mapping[str, GroupFigures] | None = None
    gaps: Mapping[str, Gap] | None = None
    note: str | None = None


@dataclass(frozen=True)
class BiasOverSets(Record):
    """People of several data sets, by field: in each, and over all."""

    sets: Mapping[str, Mapping[str, FieldFigures]]
    over: Mapping[str, FieldOverSets]
    without: Mapping[str, str] | None = None
    """Data sets without figures by people, and why."""
