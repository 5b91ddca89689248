"""What a sweep would run, for people. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from affectkit.devices import devices_for
from affectkit.pages import counted
from affectkit.runs import Run
from affectkit.sources import absent
from affectkit.sweep_jobs import Job, folder_of, jobs_of
from affectkit.sweep_share import keys_of, runs_below
from affectkit.sweeps import Sweep, load_sweep
from affectkit.terminal import table

STATES = {"done": "is done", "begun": "goes on", "new": "starts"}


def tell_planned(
    sweep: Sweep, jobs: Sequence[Job], folder: Path, others: Sequence[Path], say: Callable[[str], None]
) -> None:
    """A table of the runs: what each changes, what is done of it, which stages it will train and take over."""
    rows = [[job.name, *_row(job, stages)] for job, stages in zip(jobs, trained(jobs, folder, others), strict=True)]
    table(f"{sweep.name}: nothing wrong", ["run", "", "changes", "trains", "takes over"], rows, named=True)
    for job in jobs:
        for address, source in absent(job.plan).items() if job.state != "done" else ():
            say(f"{job.name}: {address} {source} is not here yet")
    count = len(devices_for(sweep.settings.devices, jobs[0].plan.run.accelerator))
    say(f"{counted(len(jobs), 'run')} in {folder}, {count} at a time; compared with {sweep.base}")


def check_sweep(
    source: str, overrides: Sequence[str], plugins: Sequence[str | Path], trust: bool, say: Callable[[str], None]
) -> None:
    """Check a sweep and tell what it would run. Raises InputError with every problem."""
    sweep = load_sweep(source, overrides, plugins, trust)
    folder = folder_of(sweep, None)
    tell_planned(sweep, jobs_of(sweep, folder), folder, (), say)


def trained(jobs: Sequence[Job], folder: Path, others: Sequence[Path] = ()) -> list[tuple[list[str], list[str]]]:
    """For each job the stages that it trains, and those that another run gives it, run in this order."""
    known = {item for run in runs_below([folder, *others]) for item in _finished(run)}
    found = []
    for job in jobs:
        todo = [s for s in job.plan.stages if not job.run.weights(s).exists()]
        given = [s for s in todo if s in job.keys and (s, job.keys[s]) in known]
        known |= set(job.keys.items())
        found.append(([s for s in todo if s not in given], given))
    return found


def _finished(run: Run) -> list[tuple[str, str]]:
    return [(s, k) for s, k in keys_of(run).items() if run.weights(s).exists()]


def _row(job: Job, stages: tuple[list[str], list[str]]) -> list[str]:
    state = "done" if job.state == "done" else "begun" if job.run.recipe.is_file() else "new"
    changes = ", ".join(f"{key}={value}" for key, value in job.variant.changes.items())
    return [STATES[state], changes or "nothing", *(", ".join(s) or "–" for s in stages)]
