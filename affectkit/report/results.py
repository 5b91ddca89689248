"""A run folder, read for reports and comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

import yaml

from affectkit.errors import InputError, Problem
from affectkit.evaluation.figures import Record, SplitFigures
from affectkit.evaluation.prediction import Prediction, read_predictions
from affectkit.evaluation.score import read_metrics
from affectkit.files import plain, read_jsonl, read_object, run_path


class StageInfo(TypedDict, total=False):
    """What run.json says of a stage that is done."""

    seconds: float
    profile: StageProfile
    train: int
    """Training samples."""
    without_target: int
    """Those of them that have no truth for what it learns."""
    chosen: Mapping[str, str]
    """What a head that learned without a training loop chose by folds over them."""
    taken_from: str
    """The run that its weights were taken from, where it was not trained here."""
    losses: Mapping[str, StageLoss]
    """What it trained, by name, where that was several losses."""


class StageLoss(TypedDict, total=False):
    """One of the losses of a stage."""

    use: str
    """The objective piece; empty for the LLM's own loss."""
    weight: float
    batch: int
    """Of a loss over the pairs within a batch: the samples in one."""


class StageProfile(TypedDict, total=False):
    """Where a stage's time went; see `affectkit.train.profile`."""

    before: Mapping[str, float]
    """Seconds by part, before training."""
    training: Mapping[str, float]
    samples_per_second: float | None
    most_bytes: Mapping[str, float]
    """By kind of memory."""


class RunInfo(TypedDict, total=False):
    """What run.json holds, as far as pages speak of it; they list all of it."""

    started: str
    seed: int
    commit: str
    commit_note: str
    """Why there is no commit."""
    weights: Sequence[Mapping[str, str]]
    """Address and origin of each part's weights."""
    labels: Sequence[str]
    untaught: Sequence[str]
    """Those that the run was taught."""
    demographics: bool
    """Whether prompts stated age, gender or race."""
    per_batch: Sequence[str]
    """Steps that look at a batch as a whole."""
    scale_warnings: Mapping[str, str]
    """Stream to what was said of the size of its tokens, where it is far from that of words."""
    stages: Mapping[str, StageInfo]
    parameters: Mapping[str, int]
    evaluation_seconds: float


@dataclass(frozen=True)
class CurveRow(Record):
    """A line of curves.jsonl."""

    step: int | None
    loss: float | None
    stage: str = ""
    kind: str = "train"
    """Or `val`."""
    losses: Mapping[str, float] | None = None
    """Each loss by its name, where there are several: `loss` is their weighted sum."""


@dataclass(frozen=True)
class RunFiles:
    """The files of a run folder, read; those that are not there are empty."""

    folder: Path
    recipe: Mapping[str, object]
    recipe_text: str
    info: RunInfo
    metrics: Mapping[str, SplitFigures]
    predictions: tuple[Prediction, ...]
    curves: tuple[CurveRow, ...]

    @property
    def name(self) -> str:
        """What the recipe is called, or the folder."""
        return str(self.recipe.get("name") or self.folder.name)


def read_run(run: str | Path) -> RunFiles:
    """Read a run folder; raises InputError where it holds neither a recipe nor figures."""
    folder = run_path(run)
    recipe, metrics = folder / "recipe.yaml", folder / "metrics.json"
    if not recipe.is_file() and not metrics.is_file():
        fix = "give the folder that `affectkit fit` made, for example runs/last"
        raise InputError(Problem(str(run), "is no run folder (it has neither recipe.yaml nor metrics.json)", fix))
    text = recipe.read_text(encoding="utf-8") if recipe.is_file() else ""
    try:
        values = yaml.safe_load(text) or {}
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(Problem(str(recipe), f"is not YAML: {str(error).splitlines()[0]}")) from None
    predictions, curves = folder / "predictions.jsonl", folder / "curves.jsonl"
    return RunFiles(
        folder.resolve(),
        values if isinstance(values, dict) else {},
        text,
        cast(RunInfo, read_object(folder / "run.json") if (folder / "run.json").is_file() else {}),
        read_metrics(folder) if metrics.is_file() else {},
        tuple(read_predictions(predictions)) if predictions.is_file() else (),
        tuple(CurveRow.from_dict(row) for _, row in read_jsonl(curves)) if curves.is_file() else (),
    )


def distinct_names(*choices: Sequence[object]) -> list[str]:
    """The first of these choices of names in which no two are the same; the last one where there is none (paths)."""
    return [str(name) for name in next((one for one in choices if len(set(one)) == len(one)), choices[-1])]


def flat(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and text of every leaf; a list of plain values is one leaf, so is an empty mapping."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            named = isinstance(item, Mapping) and {"address", "origin"} <= {*item} <= {"address", "origin", "stand_in"}
            told = "; ".join(str(item[k]) for k in ("origin", "stand_in") if k in item) if named else ""
            yield from ([(f"{key}.{item['address']}", told)] if named else flat(item, f"{key}.{number}"))
    else:
        value = plain(value)
        yield (
            key,
            ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value),
        )
