"""What an annotation found, as a data set to train on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affectkit_plugins._values import shares
from affectkit_plugins.datasets._shares import cut_together

from affectkit.errors import InputError, Problem, unknown
from affectkit.files import read_jsonl
from affectkit.pieces import Piece, Survey, hookimpl
from affectkit.sample import LABEL, LABELS, Fact, Sample

OBTAIN = "make it: affectkit annotate RECIPE"


@dataclass(frozen=True)
class Settings:
    """Instruction data that `affectkit annotate` wrote, or that people reviewed: records that were not rejected and have an item.

    An item of the task `label` is the sample's label, one of `labels` its labels, turns are its conversation, every other item
    the answer of its task. Facts: `person`, and `pseudo` (`label`) where a model gave the label. Samples keep the split that they
    were annotated in, as training data; a share of them, by person, is for validation.
    """

    path: str = "runs/last/records.jsonl"
    """The records, or `reviewed.jsonl` beside them."""
    labels: tuple[str, ...] = ()
    """The label set in its order; empty takes every label of the records, in alphabetical order."""
    rename: dict[str, str] | None = None
    """Their label to the one to use instead."""
    label: str = ""
    """Another finding that is the label (`vote.label`), also of records that were rejected afterwards: for comparing what filters
    do. Empty takes the items."""
    val: float = 0.1
    """Share of the samples for validation."""
    seed: int = 0
    """Which samples these are."""
    obtain: str = ""
    """Where the records are to be had: with it `check` takes a file that is not there yet as a note."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = shares(self, "val")
        annotator, _, finding = self.label.partition(".")
        return found + ([("label", "is ANNOTATOR.FINDING")] if self.label and not (annotator and finding) else [])


class AnnotatedSamples(list[Sample]):
    """Samples with their label set."""

    labels: tuple[str, ...] = ()


def build(settings: Settings, split: str) -> Sequence[Sample]:
    """The samples of `train` or `val`. Raises InputError for a file that holds no records, with the line."""
    splits = _splits(settings)
    if split not in splits:
        raise InputError(unknown("data.split", "split of annotated data", split, splits, "test on people's labels"))
    found = AnnotatedSamples(splits[split])
    found.labels = settings.labels or _label_set(splits)
    return found


def survey(settings: Settings) -> Survey:
    """The label set and the samples of each split."""
    if settings.obtain and not Path(settings.path).exists():
        return Survey(settings.labels, note=f"{settings.path} is not there yet: {settings.obtain}")
    splits = _splits(settings)
    return Survey(settings.labels or _label_set(splits), {name: len(samples) for name, samples in splits.items()})


def _label_set(splits: Mapping[str, Sequence[Sample]]) -> tuple[str, ...]:
    found = {label for samples in splits.values() for s in samples for label in ((s.label,) if s.label else s.labels)}
    return tuple(sorted(found))


def _splits(settings: Settings) -> dict[str, list[Sample]]:
    path = Path(settings.path)
    if not path.is_file():
        raise InputError(Problem("data.path", f"{settings.path} is not there", settings.obtain or OBTAIN))
    samples = list(_samples(settings, path))
    if not samples:
        what = f"none of the records in {settings.path} has an item to learn from"
        raise InputError(Problem("data.path", what, "the annotation rejected them all, or its recipe has no `items`"))
    parts = cut_together(samples, lambda s: s.fact("person").value or s.id, 0.0, settings.val, settings.seed)
    return {"train": list(parts["train"]), "val": list(parts.get("val", ()))}


def _samples(settings: Settings, path: Path) -> Iterator[Sample]:
    problems, seen = [], set()
    for place, record in read_jsonl(path):
        if any(key not in record for key in ("id", "media", "findings", "items")):
            problems.append(Problem(place, "is no record of an annotation", known=("id", "media", "findings", "items")))
            continue
        name = str(record["id"])
        if name in seen:
            problems.append(Problem(place, f"the id {name!r} comes twice"))
        seen.add(name)
        sample = _sample(settings, record)
        if sample is not None:
            yield sample
    if problems:
        raise InputError(problems)


def _sample(settings: Settings, record: Mapping[str, Any]) -> Sample | None:
    """The sample of a record; None where it teaches nothing."""
    label: str | None = None
    told: dict[str, float] = {}
    answers: dict[str, str] = {}
    turns: tuple[tuple[str, str], ...] = ()
    for item in record["items"]:
        if "turns" in item:
            turns = tuple((str(q), str(a)) for q, a in item["turns"])
        elif item["task"] == LABEL:
            label = str(item["answer"])
        elif item["task"] == LABELS:
            told = dict.fromkeys(map(str, item["answer"]), 1.0)
        else:
            answers[str(item["task"])] = str(item["answer"])
    if settings.label:
        annotator, _, finding = settings.label.partition(".")
        found = record["findings"].get(annotator, {}).get(finding)
        label = None if found is None else str(found["value"])
        if label is None:
            return None
    if label is not None:
        label = (settings.rename or {}).get(label, label)
    if label is None and not (told or answers or turns):
        return None
    if settings.labels and label is not None and label not in settings.labels:
        return None
    facts = {"pseudo": Fact(label, "estimate")} if label is not None else {}
    if record.get("person") is not None:
        facts["person"] = Fact(str(record["person"]))
    if box := record.get("face_box"):
        facts["face_box"] = Fact(np.array(box["pixels"], np.float64), box["origin"], per_frame=box["per_frame"])
    media = record["media"]
    paths: dict[str, Any] = {kind: Path(media[kind]) for kind in ("video", "image", "audio") if kind in media}
    span = {kind: media[kind] for kind in ("start", "end") if kind in media}
    return Sample(str(record["id"]), subtitle=record.get("subtitle", ""), label=label, labels=told, answers=answers,
                  turns=turns, facts=facts, **paths, **span)  # fmt: skip


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [Piece("dataset", "annotated", Settings, build, survey=survey)]
