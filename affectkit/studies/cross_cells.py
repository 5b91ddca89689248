"""Cells of the matrix that are done: their answers on disk, and what these hang on.

A cell is a file of answers with a note beside it. Answers are taken over while all that they hang on is as it was; what only
figures hang on (metrics, draws) is no part of that, for figures are made anew each time.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from affectkit.encode.cache import Contents, digest
from affectkit.errors import InputError, MediaError
from affectkit.evaluation.prediction import Prediction, read_predictions, write_predictions
from affectkit.files import as_file_name, read_json, write_json_atomic
from affectkit.plan.plan import Plan
from affectkit.plan.summary import full_recipe
from affectkit.report.results import flat
from affectkit.studies.cross import Shared
from affectkit.studies.sweep_jobs import FREE
from affectkit.train.run_folder import Run

NO_PART = ("name", "about", "score.metrics", "score.resamples", "score.splits", *(f"run.{key}" for key in FREE))
"""Parts of a recipe that no answer hangs on."""
WORDS = {
    "recipe": "the recipe",
    "weights": "the weights",
    "labels": "the labels that are shared",
    "data": "the data",
    "software": "affectkit or a plugin",
}
"""What answers hang on, as it is told."""
Hangs = Mapping[str, str]


class Kept:
    """The answers of one cell on disk."""

    def __init__(self, folder: Path, run: str, column: str) -> None:
        self.path = folder / f"{as_file_name(run)}--{as_file_name(column)}.jsonl"
        self.note = self.path.with_suffix(".json")

    def read(self, hangs: Hangs) -> tuple[list[Prediction] | None, str]:
        """The answers if they are done and hang on the same; or None and why not, in words (nothing: never asked)."""
        if not (self.path.is_file() and self.note.is_file()):
            return None, ""
        try:
            known = read_json(self.note)["hangs_on"]
            changed = [words for name, words in WORDS.items() if known.get(name) != hangs[name]]
            return (None, f"{' and '.join(changed)} changed") if changed else (read_predictions(self.path), "")
        except (InputError, KeyError, AttributeError, TypeError):
            return None, "what lay there cannot be read"

    def write(self, answers: Iterable[Prediction], hangs: Hangs) -> None:
        """The note comes last: the cell counts as done once it is there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.note.unlink(missing_ok=True)
        write_predictions(self.path, answers)
        write_json_atomic(self.note, {"hangs_on": dict(hangs)})

    def estimates(self) -> dict[str, dict[str, str]] | None:
        """By sample and field, what networks of the run estimated of people; None where that was not noted."""
        found: dict[str, dict[str, str]] | None = read_json(self.note).get("estimates")
        return found

    def note_estimates(self, words: Mapping[str, Mapping[str, str]]) -> None:
        """Keep such estimates beside the answers."""
        write_json_atomic(self.note, {**read_json(self.note), "estimates": words})


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


def of_run(plan: Plan, weights: Run, hashes: Hashes) -> dict[str, str]:
    """What every cell of a run hangs on: its recipe, its weights, the software. `weights` is the run that holds them."""
    leaves = flat(yaml.safe_load(full_recipe(plan)))
    asked = [(k, v) for k, v in leaves if not any(k == part or k.startswith(f"{part}.") for part in NO_PART)]
    built = {v for k, v in asked if k.startswith(("views.", "streams.", "backbone.")) and ("/" in v or Path(v).suffix)}
    sources = [path for path in map(Path, sorted(built)) if _there(path)]
    found = {
        "recipe": digest(asked),
        "weights": digest([hashes.file(weights.weights(s)) for s in plan.stages], [_as_it_lies(p) for p in sources]),
        "software": digest(
            importlib.metadata.version("affectkit"),
            [(p.source, p.version, hashes.file(Path(p.source))) for p in plan.registry.plugins],
        ),
    }
    hashes.keep()
    return found


def of_data(shared: Shared, hashes: Hashes) -> dict[str, str]:
    """What a cell hangs on beside the run: the samples, all that they name by content, and the labels that are offered."""
    samples = [hashes.plain(s) for s in sorted((*shared.kept, *shared.left), key=lambda s: s.id)]
    hashes.keep()
    return {"labels": digest(shared.labels, sorted(shared.names.items())), "data": digest(samples)}


def _as_it_lies(path: Path) -> list[Any]:
    """Names, sizes and times of change of published weights, which are too large to be read for this."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [(str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text that is too long for a name
        return False
