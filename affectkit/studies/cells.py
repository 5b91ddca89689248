"""Cells of the matrix: the models that are asked, their answers on disk, and what these hang on.

A cell is a file of answers with a note beside it. Answers are taken over while all that they hang on is as it was; what only
figures hang on (metrics, draws) is no part of that, for figures are made anew each time.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from affectkit.api import LoadedRun, build_for, load, starting
from affectkit.data.image import content
from affectkit.encode.cache import Cache, Contents, Memo, digest
from affectkit.errors import InputError, MediaError
from affectkit.evaluation.bias import FIELDS, Estimates, People, known_people
from affectkit.evaluation.prediction import Prediction, read_predictions, write_predictions
from affectkit.files import as_file_name, read_json, read_object, write_json_atomic
from affectkit.plan.check import check
from affectkit.plan.plan import Plan
from affectkit.plan.summary import full_recipe
from affectkit.report.results import flat
from affectkit.sample import LABEL, Fact, Sample
from affectkit.studies.matrix import CrossOptions
from affectkit.studies.sweep_run import FREE
from affectkit.train.run_folder import Run, evaluated_run, is_run, open_run, saved_targets

NO_PART = ("name", "about", "score.metrics", "score.resamples", "score.splits", *(f"run.{key}" for key in FREE))
"""Parts of a recipe that no answer hangs on."""
WORDS = {
    "recipe": "the recipe",
    "weights": "the weights",
    "labels": "the labels that are shared",
    "asked": "what is asked",
    "data": "the data",
    "software": "affectkit or a plugin",
}
"""What answers hang on, as it is told; suites are `asked` in many ways, `cross` for the `labels` that both sides share."""
Fingerprint = Mapping[str, str]


class CellStore:
    """The answers of one cell on disk."""

    def __init__(self, folder: Path, run: str, column: str) -> None:
        self.folder, self.run, self.column = folder, run, column
        self.path = folder / f"{as_file_name(run)}--{as_file_name(column)}.jsonl"
        self.note = self.path.with_suffix(".json")

    def beside(self, condition: str) -> CellStore:
        """The answers of the same cell under another condition."""
        return CellStore(self.folder, self.run, f"{self.column}--{condition}")

    def read(self, fingerprint: Fingerprint) -> tuple[list[Prediction] | None, str]:
        """The answers if they are done and hang on the same; or None and why not, in words (nothing: never asked)."""
        if not (self.path.is_file() and self.note.is_file()):
            return None, ""
        try:
            note, own = read_json(self.note), content(self.path)
            changed = [words for name, words in WORDS.items() if note["hangs_on"].get(name) != fingerprint.get(name)]
            if note.get("answers", own) != own:
                return None, "other answers lay there"
            return (None, f"{' and '.join(changed)} changed") if changed else (read_predictions(self.path), "")
        except (InputError, KeyError, AttributeError, TypeError):
            return None, "what lay there cannot be read"

    def write(self, answers: Iterable[Prediction], fingerprint: Fingerprint) -> None:
        """The note comes last: the cell counts as done once it is there. It knows the answers by their content, for another
        process may write to the same cell."""
        self.note.unlink(missing_ok=True)
        half = self.path.with_suffix(f".{os.getpid()}.half")
        write_predictions(half, answers)
        own = content(half)
        half.replace(self.path)
        write_json_atomic(self.note, {"hangs_on": dict(fingerprint), "answers": own})

    def people(self, samples: Sequence[Sample], estimate: Callable[[], Estimates] | None) -> People:
        """Who is in a cell: labels, and for fields without any what the run's steps estimate (None: it has no such steps), which
        is kept beside the answers."""
        labelled = known_people(samples, {})
        if estimate is None or all(field in labelled.words for field in FIELDS):
            return labelled
        note = read_json(self.note)
        words: dict[str, dict[str, str]] | None = note.get("estimates")
        if words is None:
            words = {
                i: {n: str(f.value) for n, f in facts.items() if f.origin == "estimate" and not f.per_frame}
                for i, facts in estimate().items()
            }
            write_json_atomic(self.note, {**note, "estimates": words})
        return known_people(
            samples, {i: {name: Fact(word, "estimate") for name, word in facts.items()} for i, facts in words.items()}
        )


@dataclass
class MatrixCell:
    """The answers of a row to a column: those that are there, or asked now and written."""

    name: str
    """As it is told."""
    store: CellStore
    fingerprint: Fingerprint
    how: CrossOptions

    def __post_init__(self) -> None:
        self.answers, self.why = (None, "") if self.how.again else self.store.read(self.fingerprint)

    def filled(self, about: str, ask: Callable[[], list[Prediction]]) -> list[Prediction]:
        """The answers; `about` is told where they are asked now, with the reason where they were asked before."""
        if self.answers is not None:
            self.how.say(f"{self.name}: done before")
            return self.answers
        told = ", ".join(part for part in (about, self.why and f"asked again: {self.why}") if part)
        if told:
            self.how.say(f"{self.name}: {told}")
        self.answers = ask()
        self.store.write(self.answers, self.fingerprint)
        return self.answers


class Hashes(Contents):
    """Values by their content, the files that they name among them."""

    def file(self, path: Path) -> str:
        """A file, or the frames of a folder; nothing for one that cannot be read."""
        try:
            return self.of(path)
        except (OSError, MediaError):
            return ""

    def plain(self, value: Any) -> Any:
        """A value as JSON that is the same in every process: files by content, arrays by their bytes."""
        if isinstance(value, Path):
            return self.file(value)
        if isinstance(value, np.ndarray):
            return digest(str(value.dtype), value.shape, np.ascontiguousarray(value).tobytes().hex())
        if isinstance(value, Mapping):
            return sorted((str(k), self.plain(v)) for k, v in value.items())
        if is_dataclass(value):
            return [self.plain(getattr(value, f.name)) for f in fields(value)]
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [self.plain(v) for v in value]
        return str(value)


class LazyRun:
    """A run of the matrix, or a recipe with the weights that it starts from; a run is loaded when it has to be asked."""

    def __init__(self, name: str, path: str | Path, overrides: Sequence[str], how: CrossOptions) -> None:
        self.name, self.path, self.overrides, self.how = name, path, overrides, how
        self.trained = is_run(path)
        if self.trained:
            self.run: Run = open_run(path)
            self.plan: Plan = check(self.run.recipe, overrides, *how.plugins)
        else:
            self.loaded = starting(path, overrides, *how.plugins, how.say)
            self.run, self.plan = self.loaded.run, self.loaded.plan
        head = saved_targets(evaluated_run(self.run)).get(self.plan.method(LABEL))
        taught = head.labels if head else read_object(self.run.about).get("labels") or ()
        self.labels: tuple[str, ...] = tuple(taught)
        """The label set that it was taught."""

    @cached_property
    def loaded(self) -> LoadedRun:
        """As a model."""
        if self.trained:
            return load(self.path, self.overrides, *self.how.plugins)
        model, plan = build_for(self.plan, self.run)  # which has its tokenizer
        return LoadedRun(plan, model, self.run)

    @cached_property
    def cache(self) -> Cache:
        """The feature cache."""
        return Cache(self.plan.cache_folder)

    def forget(self) -> None:
        """Let go of the model: the next run needs the memory."""
        self.__dict__.pop("loaded", None)
        self.__dict__.pop("cache", None)

    @cached_property
    def hashes(self) -> Hashes:
        """Contents of files."""
        return Hashes(Memo(self.plan.cache_folder))

    def fingerprint(self, weights: Sequence[Path] | None = None) -> dict[str, str]:
        """What all cells of these weights hang on; without any they are those of the run's stages."""
        own = evaluated_run(self.run)
        return of_run(
            self.plan, [own.weights(s) for s in self.plan.stages] if weights is None else weights, self.hashes
        )


def of_run(plan: Plan, weights: Sequence[Path], hashes: Hashes) -> dict[str, str]:
    """What every cell of a run hangs on: its recipe, its weights, the software."""
    leaves = flat(yaml.safe_load(full_recipe(plan)))
    asked = [(k, v) for k, v in leaves if not any(k == part or k.startswith(f"{part}.") for part in NO_PART)]
    built = {v for k, v in asked if k.startswith(("views.", "streams.", "backbone.")) and ("/" in v or Path(v).suffix)}
    sources = [path for path in map(Path, sorted(built)) if _there(path)]
    found = {
        "recipe": digest(asked),
        "weights": digest([hashes.file(path) for path in weights], [_as_it_lies(p) for p in sources]),
        "software": digest(
            importlib.metadata.version("affectkit"),
            [(p.source, p.version, hashes.file(Path(p.source))) for p in plan.registry.plugins],
        ),
    }
    hashes.keep()
    return found


def of_samples(samples: Iterable[Sample], hashes: Hashes) -> str:
    """What a cell hangs on of its column: the samples, with all that they name by content."""
    found = digest([hashes.plain(s) for s in sorted(samples, key=lambda s: s.id)])
    hashes.keep()
    return found


def _as_it_lies(path: Path) -> list[Any]:
    """Names, sizes and times of change of published weights, which are too large to be read for this."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [(str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text that is too long for a name
        return False
