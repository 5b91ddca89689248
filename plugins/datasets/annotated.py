"""What an annotation found, as a data set to train on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    An item of the task `label` is the sample's label, one of `labels` its labels, every other item the answer of its task; those
    with turns, or with a question of their own, are its conversation, one behind the other. Facts: `person`, `face_box`, and
    `pseudo`, the label, an estimate. A share of the samples, by person, is for validation.
    """

    path: str = "runs/last/records.jsonl"
    """The records, or `reviewed.jsonl` beside them."""
    splits: tuple[str, ...] = ("train",)
    """Splits of the annotation whose records are trained on."""
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
        sample = _sample(settings, record, place)
        if sample is not None:
            yield sample
    if problems:
        raise InputError(problems)


def _sample(settings: Settings, record: Mapping[str, Any], place: str) -> Sample | None:
    """The sample of a record; None where it teaches nothing. Raises InputError where two of its items answer one task."""
    if record.get("split", "train") not in settings.splits:
        return None
    found: dict[str, Any] = {}
    turns: list[tuple[str, str]] = []
    for item in record["items"]:
        task = str(item["task"])
        if "turns" in item:
            turns += [(str(question), str(answer)) for question, answer in item["turns"]]
        elif task in found:
            raise InputError(Problem(place, f"two items answer the task {task!r}", "give them tasks of their own"))
        else:
            found[task] = item["answer"]
            turns += [(str(item["question"]), _text(item["answer"]))] if item.get("question") else []
    label, several = found.pop(LABEL, None), found.pop(LABELS, ())
    if settings.label:
        annotator, _, finding = settings.label.partition(".")
        label = record["findings"].get(annotator, {}).get(finding, {}).get("value")
        if label is None:
            return None
    new = settings.rename or {}
    label = None if label is None else new.get(str(label), str(label))
    labels = {new.get(str(one), str(one)): 1.0 for one in ([several] if isinstance(several, str) else several)}
    answers = {task: _text(answer) for task, answer in found.items()}
    if (label is None and not (labels or answers or turns)) or (
        settings.labels and label not in (None, *settings.labels)
    ):
        return None
    return Sample(str(record["id"]), subtitle=record.get("subtitle", ""), label=label, labels=labels, answers=answers,
                  turns=tuple(turns), facts=_facts(record, label), **_media(record))  # fmt: skip


def _text(answer: object) -> str:
    """An answer as a model is to give it: a list in brackets, as open emotion words are written."""
    return f"[{', '.join(map(str, answer))}]" if isinstance(answer, list) else str(answer)


def _facts(record: Mapping[str, Any], label: str | None) -> dict[str, Fact]:
    import numpy as np

    facts = {"pseudo": Fact(label, "estimate")} if label is not None else {}
    if record.get("person") is not None:
        facts["person"] = Fact(str(record["person"]))
    if box := record.get("face_box"):
        facts["face_box"] = Fact(np.array(box["pixels"], np.float64), box["origin"], per_frame=box["per_frame"])
    return facts


def _media(record: Mapping[str, Any]) -> dict[str, Any]:
    media = record["media"]
    paths = {kind: Path(media[kind]) for kind in ("video", "image", "audio") if kind in media}
    return {**paths, **{end: media[end] for end in ("start", "end") if end in media}}


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [Piece("dataset", "annotated", Settings, build, survey=survey)]
