"""The runs of a sweep as jobs: a variant with a seed and a folder, and what has become of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from affectkit.errors import InputError, Problem
from affectkit.plan import Plan
from affectkit.results import flat
from affectkit.runs import Run
from affectkit.stage_keys import stage_keys
from affectkit.summary import full_recipe
from affectkit.sweeps import Sweep, Variant

FREE = ("folder", "workers", "cache", "devices", "accelerator", "strategy")
"""Settings of `run` that may differ between the start of a run and its resumption."""


@dataclass
class Job:
    """One run: a variant with a seed."""

    variant: Variant
    seed: int
    plan: Plan
    run: Run
    keys: Mapping[str, str] = field(default_factory=dict)
    """Stages that other runs may share, with what they hang on."""
    state: str = "waits"
    """`waits`, `runs`, `done`, `failed`."""
    error: str = ""
    seconds: float = 0.0
    """Of its processes in this call, other work beside them included."""

    @property
    def name(self) -> str:
        """Its folder in the sweep's."""
        return self.run.folder.name

    @property
    def finished(self) -> bool:
        """Whether it was trained, evaluated and reported."""
        return (self.run.folder / "metrics.json").is_file() and (self.run.folder / "report.html").is_file()


def folder_of(sweep: Sweep, out: str | Path | None) -> Path:
    """The folder of a sweep: as said, or its name in the folder of runs that the recipe names."""
    return Path(out) if out is not None else Path(next(iter(sweep.variants.values())).plan.run.folder) / sweep.name


def jobs_of(sweep: Sweep, folder: Path) -> list[Job]:
    """All runs, the whole grid with the first seed first."""
    made = []
    for seed in sweep.settings.seeds:
        for variant in sweep.variants.values():
            plan = variant.seeded(seed, folder)
            job = Job(variant, seed, plan, Run(folder.absolute() / f"{variant.name}-seed{seed}"))
            job.keys = stage_keys(plan) if sweep.settings.share else {}
            job.state = "done" if job.finished else "waits"
            made.append(job)
    return made


def check_folder(jobs: Sequence[Job]) -> None:
    """Raises InputError where a folder holds a run of another recipe: it would be taken for one of this sweep."""
    problems = []
    for job in jobs:
        if not job.run.recipe.is_file():
            continue
        there, here = (_trained(yaml.safe_load(text)) for text in (job.run.recipe.read_text(), full_recipe(job.plan)))
        other = [key for key in {**there, **here} if there.get(key) != here.get(key)]
        if other:
            more = f" and {len(other) - 3} more" if len(other) > 3 else ""
            what = f"was made by another recipe: {', '.join(other[:3])}{more} differ"
            problems.append(Problem(str(job.run.folder), what, "name another folder with --out, or remove this run"))
    if problems:
        raise InputError(problems)


def _trained(recipe: Any) -> dict[str, str]:
    """The leaves of a full recipe that a run hangs on."""
    free = {"name", "about", *(f"run.{key}" for key in FREE)}
    return {key: value for key, value in flat(recipe) if key not in free}
