"""The runs of a sweep as jobs: a variant with a seed and a folder, and what has become of it. Imports no torch."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from affectkit.code_hash import code_hash
from affectkit.errors import InputError, Problem
from affectkit.files import read_json, read_jsonl, write_bytes_atomic, write_jsonl_atomic
from affectkit.plan.check import Stage
from affectkit.plan.plan import Plan
from affectkit.plan.summary import full_recipe
from affectkit.recipe.settings import plain
from affectkit.report.results import flat
from affectkit.studies.sweep import Sweep, SweepVariant
from affectkit.train.run_folder import Run

FREE = ("folder", "workers", "cache", "devices", "accelerator", "strategy")
"""Settings of `run` that may differ between the start of a run and its resumption."""


@dataclass
class SweepJob:
    """One run: a variant with a seed."""

    variant: SweepVariant
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


def jobs_of(sweep: Sweep, folder: Path) -> list[SweepJob]:
    """All runs, the whole grid with the first seed first."""
    made = []
    for seed in sweep.settings.seeds:
        for variant in sweep.variants.values():
            plan = replace(variant.plan, run=replace(variant.plan.run, seed=seed, folder=str(folder)))
            job = SweepJob(variant, seed, plan, Run(folder.absolute() / f"{variant.name}-seed{seed}"))
            job.keys = stage_keys(plan) if sweep.settings.share else {}
            job.state = "done" if job.finished else "waits"
            made.append(job)
    return made


def check_folder(jobs: Sequence[SweepJob]) -> None:
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


def gpus() -> list[str]:
    """Names of the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` wants them; none without a driver."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return [d.strip() for d in said.split(",") if d.strip() and d.strip() != "-1"]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        told = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, line in enumerate(told.splitlines()) if line.startswith("GPU ")]


def devices_for(wanted: int | str, accelerator: str) -> list[str | None]:
    """A device for each process that may run at a time: GPUs where there are any, else None for a share of the CPU."""
    found: list[str | None] = [] if accelerator in ("cpu", "mps") else list(gpus())
    count = len(found) or 1 if wanted == "auto" else int(wanted)
    return [found[i % len(found)] for i in range(count)] if found else [None] * count


RUN = ("seed", "weights", "start", "precision", "accelerator", "devices", "strategy")
"""Settings of `run` that a trained weight hangs on."""


def stage_keys(plan: Plan) -> dict[str, str]:
    """Stage to key, for each stage that trains steps only and by their own objective.

    A key stands for all that the weights of these steps hang on: the steps that run, their views and widths, the
    stage's settings and data, the seed, and the stages before it that trained one of these steps. Not for the LLM, the
    prompt or other streams: a step starts from weights, and sees samples in an order, that they have no part in.
    """
    keys: dict[str, str] = {}
    before: list[Stage] = []
    for stage in plan.stages.values():
        running = plan.needed(stage)
        earlier = [s for s in before if set(s.trains) & set(running)]
        if stage.objective and set(stage.trains) <= set(running) and all(s.name in keys for s in earlier):
            told = {
                "affectkit": importlib.metadata.version("affectkit"),
                "stage": {**plain(stage.settings), "name": stage.name, "train": list(stage.trains)},
                "data": stage.data.block(),
                "steps": {address: _step(plan, address) for address in running},
                "views": _views(plan, running),
                "llm": plan.width,
                "run": {name: plain(getattr(plan.run, name)) for name in RUN},
                "before": [keys[s.name] for s in earlier],
            }
            text = json.dumps(told, sort_keys=True, default=str)
            keys[stage.name] = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
        before.append(stage)
    return keys


def _step(plan: Plan, address: str) -> dict[str, Any]:
    """A step as far as its weights hang on it. Where results are kept is no part of it."""
    step = plan.graph.steps[address]
    return {
        "piece": [step.piece.kind, step.piece.name, plan.registry.fingerprint(step.piece)],
        "settings": plain(step.settings),
        "inputs": {port: str(ref) for port, ref in step.inputs.items()},
        "eats": {port: str(shape) for port, shape in step.eats.items()},
    }


def _views(plan: Plan, running: list[str]) -> Mapping[str, Any]:
    """The views that these steps look at, and those that they are cut from, with the code that cuts them."""
    from affectkit.data.views import look_at

    views = plan.graph.views
    todo = [ref.view for a in running for ref in plan.graph.steps[a].inputs.values() if ref.view]
    found: dict[str, Any] = {}
    while todo:
        name = todo.pop()
        if name in views and name not in found:
            finder = views[name].detector
            detector = plan.registry.fingerprint(finder.piece) if finder else []
            found[name] = [views[name].use, plain(views[name].settings), code_hash(look_at.__module__), detector]
            todo.append(str(getattr(views[name].settings, "of", "")))
    return found


KEYS = "stage_keys"
"""Under this name run.json holds what each stage hangs on (`affectkit.studies.sweep_jobs`)."""


def keys_of(run: Run) -> dict[str, str]:
    """Stage to key, as a run noted them; none where the folder is no run of a sweep."""
    return dict(read_json(run.about).get(KEYS) or {}) if run.about.is_file() else {}


def runs_below(folders: Iterable[Path]) -> list[Run]:
    """The run folders in some folders, in order of their names."""
    found = [p for folder in folders if folder.is_dir() for p in sorted(folder.iterdir())]
    return [Run(p) for p in found if (p / "run.json").is_file() and not p.is_symlink()]


def adopt_stages(run: Run, plan: Plan, keys: Mapping[str, str], givers: Sequence[Run]) -> dict[str, str]:
    """Put stages that another run has finished into a run that has not; returns the stages and who trained them."""
    taken: dict[str, str] = {}
    for stage, key in keys.items():
        if run.weights(stage).exists():
            continue
        for giver in givers:
            if giver.folder != run.folder and keys_of(giver).get(stage) == key and giver.weights(stage).exists():
                taken[stage] = _hand_over(giver, run, stage, plan.stages[stage].trains)
                break
    return taken


def _hand_over(giver: Run, run: Run, stage: str, addresses: Sequence[str]) -> str:
    """Curves and notes first, weights last: the stage counts as done once they are there. Returns who trained it."""
    rows = [row for _, row in read_jsonl(run.curves)] if run.curves.is_file() else []
    given = [row for _, row in read_jsonl(giver.curves)] if giver.curves.is_file() else []
    kept = [row for row in rows if row.get("stage") != stage]
    write_jsonl_atomic(run.curves, [*kept, *(row for row in given if row.get("stage") == stage)])
    known: dict[str, Any] = read_json(run.about)
    about = (read_json(giver.about).get("stages") or {}).get(stage) or {}
    source = about.get("taken_from") or giver.folder.name
    run.note({"stages": {**(known.get("stages") or {}), stage: {**about, "taken_from": source}}})
    run.stage(stage).mkdir(parents=True, exist_ok=True)
    pick_tensors(giver.weights(stage), run.weights(stage), lambda name: _address(name) in addresses)
    for leftover in ("state.pt", "best.safetensors"):  # of an attempt of its own that was cut off
        (run.stage(stage) / leftover).unlink(missing_ok=True)
    return str(source)


def _address(tensor: str) -> str:
    """`stream.step` of a step's parameter; other parameters belong to no step."""
    steps, built, rest = (*tensor.split(".", 2), "", "")[:3]
    return rest.split(".")[0].replace("__", ".") if (steps, built) == ("steps", "built") else ""


def pick_tensors(source: Path, target: Path, wanted: Callable[[str], bool]) -> None:
    """Copy some tensors of a safetensors file into another, byte for byte, in the order of their bytes."""
    with source.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        start = 8 + size
        names = [n for n in header if n != "__metadata__" and wanted(n)]
        new: dict[str, Any] = {}
        parts, end = [], 0
        for name in sorted(names, key=lambda n: header[n]["data_offsets"]):
            first, last = header[name]["data_offsets"]
            file.seek(start + first)
            parts.append(file.read(last - first))
            new[name] = {**header[name], "data_offsets": [end, end + last - first]}
            end += last - first
    text = json.dumps(new).encode()
    text += b" " * (-len(text) % 8)
    write_bytes_atomic(target, b"".join([len(text).to_bytes(8, "little"), text, *parts]))
