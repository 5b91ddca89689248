"""FERID: instructions over six sets of facial expression."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from affectkit_plugins._values import leave_some, shares
from affectkit_plugins.datasets._annotations import text_of, words
from affectkit_plugins.datasets._faces import OURS
from affectkit_plugins.datasets._published import PublishedSamples, PublishedSettings, SampleReader, published
from affectkit_plugins.datasets._shares import cut_together
from affectkit_plugins.datasets._turns import spoken

from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, hookimpl
from affectkit.sample import Fact, Sample
from affectkit.tables import parse_json

LABELS = tuple(dict.fromkeys(OURS.values()))
SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
MEDIA = ("image", "video")
OBTAIN = "its authors have put out the part on MAFW (GitHub: emo-pupu/FERID); clips and pictures come with the six sets"


@dataclass(frozen=True)
class Settings(PublishedSettings):
    """FERID (EMO-LLaMA 2024): questions and answers on stills and clips of FERPlus, RAF-DB, AffectNet, DFEW, FERV39k, MAFW.

    An item is a category (the label alone is asked for) or a conversation: its questions and answers are the sample's turns,
    for the task `conversation`; its first answer is that of the task `reason` too, those that follow `reason_2` …, and the
    questions are the facts `question`, `question_2` …. Facts: `published_label`,
    `dataset`, `kind`. Labels of the six sets get the names that all our data sets share (`joy`, `happiness`: happy). Splits
    are the records' where they have one, else shares of the pictures and clips. The authors showed examples and no file:
    a list of records `id`, `image` or `video`, `conversations` (`from`, `value`), `dataset`, `split`, `label`, `kind`, as
    LLaVA's, is our choice.
    """

    annotations: str = "ferid.json"
    """The json: a list of records."""
    datasets: tuple[str, ...] = ()
    """The sets whose items are taken (the records' `dataset`); empty takes all."""
    kinds: tuple[Literal["category", "conversation"], ...] = ("category", "conversation")
    """Which kinds of item are taken."""
    test: float = 0.0
    """Share of the items for the split `test`, where records have no split."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = super().problems() + shares(self, "test") + leave_some(self, "test", ("val", "test"), "train on")
        return found + ([] if self.kinds else [("kinds", "names no kind of item")])


def read(settings: Settings) -> PublishedSamples:
    """All of it. Raises InputError with everything that is wrong with this copy."""
    reader = SampleReader(settings, OURS, LABELS, OBTAIN)
    dealt: dict[str, list[Sample]] = {}
    for place, record in _records(reader.root / settings.annotations):
        turns = list(spoken(record.get("conversations")))
        kind = words(record.get("kind")) or ("category" if _is_label(turns) else "conversation")
        dataset = words(record.get("dataset"))
        if kind in settings.kinds and dataset in (settings.datasets or (dataset,)):
            sample = _sample(reader, place, record, turns, {"kind": kind, "dataset": dataset})
            if sample is not None:
                dealt.setdefault(words(record.get("split")), []).append(sample)
    if set(dealt) <= {""}:
        parts = cut_together(
            dealt.get("", []), lambda s: s.image or s.video, settings.test, settings.val, settings.seed
        )
        return reader.end(parts)
    splits: dict[str, list[Sample]] = {"train": []}
    for word, samples in dealt.items():
        split = SPLITS.get(word.lower())
        if split is None:
            what = (
                f"{len(samples)} records have the split {word!r}" if word else f"{len(samples)} records have no split"
            )
            reader.problems.append(Problem(settings.annotations, what, known=tuple(SPLITS)))
        else:
            splits[split] = splits.get(split, []) + samples
    return reader.end(splits)


def _records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, record). Raises InputError."""
    try:
        value = parse_json(text_of(path))
    except ValueError as error:
        raise InputError(Problem(str(path), f"broken JSON ({error})")) from error
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise InputError(Problem(str(path), "wants a list of objects"))
    for number, record in enumerate(value, 1):
        yield f"{path} entry {number}", record


def _is_label(turns: list[tuple[str, str]]) -> bool:
    return len(turns) == 1 and turns[0][1].strip(" .").lower() in OURS


def _sample(
    reader: SampleReader, place: str, record: Mapping[str, Any], turns: list[tuple[str, str]], told: Mapping[str, str]
) -> Sample | None:
    """The sample of a record; None with a problem where it has no file, or comes twice."""
    file = next(((kind, words(record[kind])) for kind in MEDIA if words(record.get(kind))), None)
    if file is None:
        reader.problems.append(Problem(place, "names neither an image nor a video", known=tuple(record)))
        return None
    name = words(record.get("id")) or f"{file[1]}#{told['kind']}"
    if not reader.once(name, place):
        return None
    code = words(record.get("label")) or (turns[0][1].strip(" .") if _is_label(turns) else "")
    facts = {n: Fact(text) for n, text in told.items() if text}
    answers = {}
    for number, (question, answer) in enumerate(turns if told["kind"] == "conversation" else (), 1):
        behind = f"_{number}" if number > 1 else ""
        answers[f"reason{behind}"] = answer
        facts[f"question{behind}"] = Fact(question)
    talk = tuple(turn for turn in turns if turn[0]) if told["kind"] == "conversation" else ()
    sample = reader.sample((name,), None, code=code, place=place, answers=answers, facts=facts, turns=talk)
    path = reader.root / file[1]
    return replace(sample, image=path) if file[0] == "image" else replace(sample, video=path)


PIECE = published("ferid", Settings, read, LABELS, OBTAIN)
build = PIECE.build
"""One split: `build(settings, split)`."""


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [PIECE]
