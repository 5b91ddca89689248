"""The runs of a sweep: each a process of its own, one or several at a time, resumed where it stopped; and the stages that they
have in common, which one of them trains. Imports no torch until a stage is taken over.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

import yaml

from affectkit.code_hash import code_hash
from affectkit.errors import InputError, Problem, RunError
from affectkit.evaluation.score import read_metrics
from affectkit.files import Say, read_jsonl, read_object, write_json_atomic, write_jsonl_atomic, write_text_atomic
from affectkit.plan.check import Stage
from affectkit.plan.plan import Plan
from affectkit.plan.summary import full_recipe
from affectkit.recipe.settings import plain
from affectkit.report.results import flat
from affectkit.studies.sweep import Sweep, SweepVariant
from affectkit.train.run_folder import Run, made_by

STATUS = "sweep.json"
"""The file in the folder of a sweep that says how far each run is."""
KEYS = "stage_keys"
"""What run.json calls the keys of the stages that other runs may share (see `stage_keys`)."""
FREE = ("folder", "workers", "cache", "devices", "accelerator", "strategy")
"""Settings of `run` that may differ between the start of a run and its resumption."""
RUN = ("seed", "weights", "start", "precision", "accelerator", "devices", "strategy")
"""Settings of `run` that trained weights depend on."""
PAUSE = 0.2
"""Seconds between two looks at the processes."""
PATIENCE = 20
"""Seconds that a process has to end when the sweep is interrupted."""


@dataclass
class SweepJob:
    """One run of a sweep: a variant with a seed."""

    variant: SweepVariant
    plan: Plan
    """That of the variant, with the seed, for run folders below that of the sweep."""
    run: Run
    keys: Mapping[str, str]
    """The key of each stage that other runs may share."""
    seconds: float = 0.0
    """How long its last process took, with other work beside it."""
    state: Literal["waits", "runs", "done", "failed"] = "waits"
    error: str = ""
    """Why it failed."""

    @property
    def name(self) -> str:
        """Its folder in that of the sweep."""
        return self.run.folder.name

    @property
    def finished(self) -> bool:
        """Whether it was trained, evaluated and reported."""
        return (self.run.folder / "metrics.json").is_file() and (self.run.folder / "report.html").is_file()

    @property
    def missing(self) -> Mapping[str, str]:
        """Those of `keys` whose stage it has not trained yet."""
        return {stage: key for stage, key in self.keys.items() if not self.run.weights(stage).exists()}


def folder_of(sweep: Sweep, out: str | Path | None) -> Path:
    """The folder of a sweep: `out`, or its name in the folder of runs that the recipe names."""
    return Path(out) if out is not None else Path(next(iter(sweep.variants.values())).plan.run.folder) / sweep.name


def jobs_of(sweep: Sweep, folder: Path) -> list[SweepJob]:
    """All runs of a sweep in its folder: all variants with the first seed, then with the next."""
    status = read_object(folder / STATUS)["runs"] if (folder / STATUS).is_file() else {}
    jobs = []
    for seed in sweep.settings.seeds:
        for variant in sweep.variants.values():
            plan = replace(variant.plan, run=replace(variant.plan.run, seed=seed, folder=str(folder)))
            run = Run(folder.absolute() / f"{variant.name}-seed{seed}")
            seconds = status.get(run.folder.name, {}).get("seconds", 0.0)
            job = SweepJob(variant, plan, run, stage_keys(plan) if sweep.settings.share else {}, seconds)
            job.state = "done" if job.finished else "waits"
            jobs.append(job)
    return jobs


def write_status(jobs: Sequence[SweepJob], folder: Path) -> None:
    """Write sweep.json: how far each run is."""
    runs = {
        j.name: {
            "run": j.variant.name,
            "seed": j.plan.run.seed,
            "state": j.state,
            "error": j.error,
            "seconds": round(j.seconds, 1),
        }
        for j in jobs
    }
    write_json_atomic(folder / STATUS, {"runs": runs})


def check_folder(jobs: Sequence[SweepJob]) -> None:
    """Raises InputError where a folder holds a run of another recipe: it would be taken for one of this sweep."""
    free = {"name", "about", *(f"run.{key}" for key in FREE)}
    problems = []
    for job in (job for job in jobs if job.run.recipe.is_file()):
        there, here = (
            {key: value for key, value in flat(yaml.safe_load(text)) if key not in free}
            for text in (job.run.recipe.read_text(), full_recipe(job.plan))
        )
        other = [key for key in {**there, **here} if there.get(key) != here.get(key)]
        if other:
            more = f" and {len(other) - 3} more" if len(other) > 3 else ""
            what = f"was made by another recipe: {', '.join(other[:3])}{more} differ"
            problems.append(Problem(str(job.run.folder), what, "name another folder with --out, or remove this run"))
    if problems:
        raise InputError(problems)


def gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them; none without a driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [d.strip() for d in visible.split(",") if d.strip() not in ("", "-1")]
    try:
        ran = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(i) for i in range(sum(line.startswith("GPU ") for line in ran.stdout.splitlines()))]


def devices_for(wanted: int | str, accelerator: str) -> list[str | None]:
    """A device for each process that may run at a time: GPUs where there are any, else None for a share of the CPU."""
    found: list[str | None] = [] if accelerator in ("cpu", "mps") else list(gpus())
    count = len(found) or 1 if wanted == "auto" else int(wanted)
    return [found[i % len(found)] for i in range(count)] if found else [None] * count


def stage_keys(plan: Plan) -> dict[str, str]:
    """Stage to key, for each stage that trains steps only and by their own objective.

    Stages with equal keys give equal weights. A key is a hash of all that the weights of these steps depend on: the steps
    that run, their views and widths, the stage's settings and data, the seed, and the earlier stages that trained one of
    these steps. Not of the LLM, the prompt or other streams: a step starts from weights, and sees samples in an order,
    that do not depend on them.
    """
    keys: dict[str, str] = {}
    before: list[Stage] = []
    for stage in plan.stages.values():
        running = plan.needed(stage)
        earlier = [s for s in before if set(s.trains) & set(running)]
        own = bool(stage.objective) and not plan.asks(stage)
        if own and set(stage.trains) <= set(running) and all(s.name in keys for s in earlier):
            parts = {
                "affectkit": importlib.metadata.version("affectkit"),
                "stage": {**plain(stage.settings), "name": stage.name, "train": list(stage.trains)},
                "data": stage.data.block(),
                "steps": {address: _step(plan, address) for address in running},
                "views": _views(plan, running),
                "llm": plan.width,
                "run": {name: plain(getattr(plan.run, name)) for name in RUN},
                "before": [keys[s.name] for s in earlier],
            }
            text = json.dumps(parts, sort_keys=True, default=str)
            keys[stage.name] = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
        before.append(stage)
    return keys


def _step(plan: Plan, address: str) -> dict[str, object]:
    """What the weights of a step depend on; how its results are cached is no part of it."""
    step = plan.graph.steps[address]
    return {
        "piece": [step.piece.kind, step.piece.name, plan.registry.fingerprint(step.piece)],
        "settings": plain(step.settings),
        "inputs": {port: str(ref) for port, ref in step.inputs.items()},
        "eats": {port: str(shape) for port, shape in step.eats.items()},
    }


def _views(plan: Plan, running: Sequence[str]) -> dict[str, object]:
    """The views that these steps look at, and those that they are cut from, with the code that cuts them."""
    from affectkit.data.views import look_at

    views = plan.graph.views
    names = [ref.view for a in running for ref in plan.graph.steps[a].inputs.values()]
    found: dict[str, object] = {}
    for name in names:  # which grows by the views that these are cut from
        if name in views and name not in found:
            finder = views[name].detector
            detector = plan.registry.fingerprint(finder.piece) if finder else []
            found[name] = [views[name].use, plain(views[name].settings), code_hash(look_at.__module__), detector]
            names.append(str(getattr(views[name].settings, "of", "")))
    return found


def finished_stages(folders: Iterable[Path]) -> dict[tuple[str, str], Run]:
    """By stage and key, the first run in these folders that has trained this stage and lets others share it."""
    found: dict[tuple[str, str], Run] = {}
    for about in (path for folder in folders for path in sorted(folder.glob("*/run.json"))):
        run = Run(about.parent)
        for stage, key in run.notes().get(KEYS, {}).items():
            if run.weights(stage).exists() and not run.folder.is_symlink():
                found.setdefault((stage, key), run)
    return found


def stages_to_train(
    jobs: Sequence[SweepJob], folder: Path, others: Iterable[Path] = ()
) -> list[tuple[list[str], list[str]]]:
    """For each job the stages that it trains, and those that it takes over, where jobs run in this order."""
    known = set(finished_stages([folder, *others]))
    found = []
    for job in jobs:
        left = [s for s in job.plan.stages if not job.run.weights(s).exists()]
        shared = [s for s in left if (s, job.keys.get(s, "")) in known]
        known |= set(job.keys.items())
        found.append(([s for s in left if s not in shared], shared))
    return found


def adopt_stages(job: SweepJob, finished: Mapping[tuple[str, str], Run]) -> dict[str, str]:
    """Copy the stages into a run that it has not trained and another run has; returns by stage the run that trained it."""
    givers = {stage: finished[stage, key] for stage, key in job.missing.items() if (stage, key) in finished}
    return {stage: _copy_stage(giver, job.run, stage, job.plan.stages[stage].trains) for stage, giver in givers.items()}


def _copy_stage(giver: Run, run: Run, stage: str, addresses: Sequence[str]) -> str:
    """Copy the curves, the notes and the weights of what a stage trained into another run; returns the run that trained it.

    The weights come last: the stage counts as done once they are there. Raises InputError, and copies nothing, where those
    of the other run cannot be read.
    """
    from affectkit.train.checkpoint import read_weights, save_weights

    own = tuple(f"steps.built.{address.replace('.', '__')}." for address in addresses)
    tensors = read_weights(giver.weights(stage), lambda name: name.startswith(own))
    rows = [row for row in _curves(run) if row.get("stage") != stage]  # its own are of an attempt that was cut off
    write_jsonl_atomic(run.curves, [*rows, *(row for row in _curves(giver) if row.get("stage") == stage)])
    about = giver.notes().get("stages", {}).get(stage, {})
    source = str(about.get("taken_from") or giver.folder.name)
    run.note({"stages": {stage: {**about, "taken_from": source}}})
    save_weights(run.weights(stage), tensors)
    for leftover in ("state.pt", "best.safetensors"):  # of such an attempt
        (run.stage(stage) / leftover).unlink(missing_ok=True)
    return source


def _curves(run: Run) -> list[Mapping[str, object]]:
    """The losses by step; none where it has not begun."""
    return [row for _, row in read_jsonl(run.curves)] if run.curves.is_file() else []


@dataclass
class Runner:
    """Runs the jobs of a sweep that are not done, one on each device at a time."""

    jobs: Sequence[SweepJob]
    folder: Path
    options: Sequence[str]
    """Those of `affectkit fit`."""
    say: Say
    devices: Sequence[str | None] = (None,)
    others: Sequence[Path] = ()
    """Folders of other sweeps, whose stages may be taken over too."""

    def run(self) -> None:
        """Run every job that waits. A job that fails costs itself; an interrupt or SIGTERM ends the processes, and the next
        call resumes them. Raises RunError where this sweep is running already.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a") as lock:
            _hold(lock, self.folder)
            try:
                asyncio.run(self._run_all(lock))
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None
            finally:
                write_status(self.jobs, self.folder)

    async def _run_all(self, lock: IO[str]) -> None:
        task = asyncio.current_task()
        if task and os.name == "posix":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await asyncio.gather(*(self._run_on(device, lock) for device in self.devices))

    async def _run_on(self, device: str | None, lock: IO[str]) -> None:
        """Run one job after another on a device, each when no other job is training a stage that it could take over."""
        while waiting := [job for job in self.jobs if job.state == "waits"]:
            busy = {stage for job in self.jobs if job.state == "runs" for stage in job.missing.items()}
            ready = next((job for job in waiting if not busy & job.missing.items()), None)
            await (self._run_job(ready, device, lock) if ready else asyncio.sleep(PAUSE))

    async def _run_job(self, job: SweepJob, device: str | None, lock: IO[str]) -> None:
        """Run a job to its end, and pass on what it prints of its stages."""
        self._prepare(job, device)
        log, begun = job.run.folder / "log.txt", time.monotonic()
        with log.open("ab") as out, log.open(encoding="utf-8", errors="replace") as lines:
            lines.seek(0, os.SEEK_END)
            child = subprocess.Popen(
                self.words(job),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._environment(device),
                pass_fds=(lock.fileno(),) if os.name == "posix" else (),
            )
            try:
                running = True
                while running:
                    await asyncio.sleep(PAUSE)
                    running = child.poll() is None
                    for line in lines:
                        if line.startswith("stage ") and line.endswith("\n"):
                            self.say(f"    {job.name}: {line.rstrip()}")
            finally:
                job.state = "waits"
                if child.poll() is None:  # the sweep was interrupted
                    child.terminate()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        await asyncio.to_thread(child.wait, PATIENCE)
                    child.kill()
        job.seconds = time.monotonic() - begun
        if child.returncode == 0 and job.finished:
            job.state, outcome = "done", f"done in {job.seconds:.0f} s{_headline(job.run)}"
        else:
            job.state, job.error = "failed", _why(log, child.returncode)
            outcome = f"failed: {job.error} (all of it in {log})"
        write_status(self.jobs, self.folder)
        self.say(f"    {job.name}: {outcome}{self._left()}")

    def _prepare(self, job: SweepJob, device: str | None) -> None:
        """The run folder as `affectkit fit` would begin it, with the stages that other runs have trained."""
        run, fresh = job.run, not job.run.recipe.is_file()
        if not run.about.is_file():
            run.note({**made_by(job.plan), "sweep": {"run": job.variant.name, "changes": dict(job.variant.changes)}})
        if fresh:
            write_text_atomic(run.recipe, full_recipe(job.plan))
        if job.keys:
            run.note({KEYS: dict(job.keys)})
        adopted = adopt_stages(job, finished_stages([self.folder, *self.others]))
        where = f" on device {device}" if device is not None else ""
        shared = "".join(f"; stage {stage} is that of {giver}" for stage, giver in adopted.items())
        job.state, job.error = "runs", ""
        number = sum(j.state != "waits" for j in self.jobs)
        self.say(f"[{number}/{len(self.jobs)}] {job.name}: {'starts' if fresh else 'goes on'}{where}{shared}")
        write_status(self.jobs, self.folder)

    def words(self, job: SweepJob) -> list[str]:
        """The command that goes on with a run, from its beginning or from where it stopped."""
        return [sys.executable, "-m", "affectkit", "fit", "--resume", str(job.run.folder), *self.options]

    def _environment(self, device: str | None) -> dict[str, str]:
        """One device for each process; on the CPU several of them share the cores."""
        variables = dict(os.environ)
        if device is not None:
            variables["CUDA_VISIBLE_DEVICES"] = device
        elif len(self.devices) > 1:
            variables.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(self.devices))))
        return variables

    def _left(self) -> str:
        """How long the rest will take, by the runs that are done."""
        took = [j.seconds for j in self.jobs if j.seconds and j.state == "done"]
        left = sum(j.state in ("waits", "runs") for j in self.jobs)
        minutes = sum(took) / max(1, len(took)) * left / len(self.devices) / 60
        return f"; {left} left, about {minutes:.0f} min" if took and left else ""


def _hold(lock: IO[str], folder: Path) -> None:
    """Lock the folder of a sweep for as long as this process or one of its runs has the file open: a run that outlives a
    killed sweep is not started twice. Raises RunError where another sweep holds it."""
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # not on this system
        return
    except OSError:
        what = "this sweep runs already, or a run that outlived it does"
        raise RunError(Problem(str(folder), what, "wait for it, or end its processes")) from None


def _headline(run: Run) -> str:
    """The first figure of a run."""
    metrics = (
        (split, name, one) for split, found in read_metrics(run.folder).items() for name, one in found.metrics.items()
    )
    return next((f", {split} {name} {one.value:.3f}" for split, name, one in metrics if one.value is not None), "")


def _why(log: Path, code: int) -> str:
    """Why a process ended: its error, or the last line that it printed."""
    if code < 0:
        return f"ended by signal {signal.Signals(-code).name}"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "")
    return last.removeprefix("error: ")[:300] or f"exit code {code}"
