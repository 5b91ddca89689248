"""The run folder: where things lie in it, what made it, and finding it again. Imports no torch."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from affectkit.errors import InputError, Problem
from affectkit.files import as_file_name, read_object, run_path, write_json_atomic, write_text_atomic
from affectkit.plan.plan import Plan
from affectkit.plan.summary import full_recipe
from affectkit.sample import Targets


def evaluated_run(run: Run) -> Run:
    """The run whose weights a folder shows: its own, or those of the run that it evaluates, which is looked for beside it
    too where both were copied."""
    about = run.notes()
    if "evaluates" not in about:
        return run
    there, here = Path(about["evaluates"]), run.folder.parent / Path(about["evaluates"]).name
    return open_run(here if is_run(here) and not is_run(there) else there)


def starting_run(plan: Plan) -> Run:
    """The run that `run.start` names."""
    return evaluated_run(open_run(plan.run.start))


def saved_tokenizer(run: Run) -> str | None:
    """The run's own tokenizer; None where it has none yet, or takes that of a published source (an imported run)."""
    return str(run.tokenizer) if (run.tokenizer / "done").exists() else None


def note_targets(run: Run, targets: Mapping[str, Targets]) -> None:
    """Write to run.json what each head of that name answers, and what there was for each objective to learn from, by its
    address; the end of a scale that has none is null."""
    scales = {
        name: {number: [end if math.isfinite(end) else None for end in ends] for number, ends in one.numbers.items()}
        for name, one in targets.items()
    }
    run.note({"heads": {name: {"labels": one.labels, "numbers": scales[name]} for name, one in targets.items()}})


def saved_targets(run: Run) -> dict[str, Targets]:
    """What `note_targets` wrote; nothing where the run has neither heads nor objectives."""

    def ends(low: float | None, high: float | None) -> tuple[float, float]:
        return -math.inf if low is None else low, math.inf if high is None else high

    return {
        name: Targets(tuple(one["labels"]), {number: ends(*scale) for number, scale in one["numbers"].items()})
        for name, one in run.notes().get("heads", {}).items()
    }


PACKAGES = (
    "affectkit",
    "torch",
    "lightning",
    "transformers",
    "timm",
    "open-clip-torch",
    "peft",
    "torchmetrics",
    "av",
    "numpy",
    "omegaconf",
    "pluggy",
)


@dataclass(frozen=True)
class Run:
    """Paths in one run folder."""

    folder: Path

    @property
    def recipe(self) -> Path:
        """The full recipe, defaults filled in."""
        return self.folder / "recipe.yaml"

    @property
    def about(self) -> Path:
        """What made the run: versions, seed, commit, weights, plugins, data."""
        return self.folder / "run.json"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer."""
        return self.folder / "tokenizer"

    @property
    def curves(self) -> Path:
        """Losses by step."""
        return self.folder / "curves.jsonl"

    def stage(self, name: str) -> Path:
        """Folder of a stage."""
        return self.folder / "stages" / name

    def weights(self, name: str) -> Path:
        """Weights at a stage's end; the file is there when the stage is done."""
        return self.stage(name) / "weights.safetensors"

    def notes(self) -> dict[str, Any]:
        """What run.json holds; nothing where there is none yet."""
        return read_object(self.about) if self.about.exists() else {}

    def note(self, values: Mapping[str, object]) -> None:
        """Add to run.json; stages are added to those that are there."""
        known, stages = self.notes(), values.get("stages")
        both = {"stages": {**known.get("stages", {}), **stages}} if isinstance(stages, Mapping) else {}
        write_json_atomic(self.about, {**known, **values, **both})


def start(plan: Plan) -> Run:
    """A fresh run folder with the recipe and what is known of the machine; `last` beside it points there.

    Raises InputError where no folder can be made.
    """
    root = Path(plan.run.folder)
    stem = as_file_name(plan.name)
    run = Run(fresh_folder(root, f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"))
    write_text_atomic(run.recipe, full_recipe(plan))
    run.note(made_by(plan))
    point_last(root, run.folder)
    return run


def beside(plan: Plan, run: Run) -> Plan:
    """The plan for new run folders beside a run, wherever it was copied to; an override of `run.folder` says otherwise."""
    said = any(o.partition("=")[0] in ("run", "run.folder") for o in plan.recipe.overrides)
    return plan if said else replace(plan, run=replace(plan.run, folder=str(run.folder.parent)))


def fresh_folder(root: Path, stem: str) -> Path:
    for number in range(1000):
        folder = root / (stem if not number else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            what = f"no run folder can be made there: {error.strerror or error}"
            raise InputError(Problem(str(root), what, "name another place: run.folder=FOLDER")) from None
        return folder
    raise InputError(Problem(str(root), "a thousand runs were started in this second"))


def point_last(root: Path, folder: Path) -> None:
    """Let `root/last` point to a run: a link, or a file with its name where links cannot be made."""
    last = root / "last"
    half = root / f".last.{os.getpid()}"
    try:
        half.unlink(missing_ok=True)
        half.symlink_to(folder.name, target_is_directory=True)
        os.replace(half, last)
    except OSError:
        if not last.is_dir():
            write_text_atomic(last, folder.name)


def open_run(path: str | Path) -> Run:
    """An existing run folder. Raises InputError where the folder holds no run."""
    folder = run_path(path)
    if not (folder / "recipe.yaml").is_file():
        fix = "give the folder that `affectkit fit` made, for example runs/last"
        raise InputError(Problem(str(path), "is no run folder (it has no recipe.yaml)", fix))
    return Run(folder.resolve())


def is_run(path: str | Path) -> bool:
    """Whether a path is a run folder, rather than a recipe."""
    path = Path(path)
    try:
        return (path / "recipe.yaml").is_file() or (path.is_file() and path.name == "last")
    except OSError:  # the text of a recipe, too long for a path
        return False


def made_by(plan: Plan) -> dict[str, object]:
    """Versions, seed, commit, plugins, machine: what two runs that differ are compared by."""
    lightning = [
        f"{p.dist.name}: {p.name}" if p.dist else p.name
        for p in importlib.metadata.entry_points(group="lightning.pytorch.callbacks_factory")
    ]
    return {
        "recipe": str(plan.recipe.source),
        "overrides": list(plan.recipe.overrides),
        "seed": plan.run.seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": {p: _version(p) for p in PACKAGES},
        "python": platform.python_version(),
        "machine": {"system": platform.platform(), "cpus": os.cpu_count()},
        **_commit(),
        "plugins": {p.source: p.version for p in plan.registry.plugins},
        "lightning_callbacks": lightning,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> dict[str, str | None]:
    """Commit of the working folder, `+` behind it where files differ from it; or None and why there is none."""
    try:
        commit = _git("rev-parse", "HEAD").strip()
        return {"commit": commit + ("+" if _git("status", "--porcelain", "-uno").strip() else "")}
    except FileNotFoundError:
        why = "git is not installed"
    except subprocess.TimeoutExpired:
        why = "git did not answer in 10 s"
    except subprocess.CalledProcessError as error:
        told = (error.stderr or "").strip().splitlines()
        why = f"git says: {told[0]}" if told else "git failed"
        if any("not a git repository" in line for line in told):
            why = "the working folder is in no git checkout"
    except OSError as error:
        why = str(error)
    return {"commit": None, "commit_note": why}


def _git(*arguments: str) -> str:
    english = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(
        ["git", *arguments], capture_output=True, text=True, timeout=10, check=True, env=english
    ).stdout
