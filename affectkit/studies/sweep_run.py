"""Runs the jobs of a sweep: each in a process of its own, one or several at a time, resumed where it stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from affectkit.errors import Problem, RunError
from affectkit.evaluation.score import read_metrics
from affectkit.files import Say, write_text_atomic
from affectkit.plan.summary import full_recipe
from affectkit.studies.sweep_jobs import KEYS, SweepJob, adopt_stages, finished_stages, write_status
from affectkit.train.run_folder import Run, made_by

LOG = "log.txt"
PAUSE = 0.2
"""Seconds between two looks at the processes."""
PATIENCE = 20
"""Seconds that a process has to end when the sweep is interrupted."""


class Runner:
    """Runs the jobs of a sweep that are not done, one on each device at a time."""

    def __init__(
        self,
        jobs: Sequence[SweepJob],
        folder: Path,
        options: Sequence[str],
        say: Say,
        devices: Sequence[str | None] = (None,),
        others: Sequence[Path] = (),
    ) -> None:
        """`options` are those of `affectkit fit`; `others` are folders of sweeps whose stages may be taken over too."""
        self.jobs, self.folder, self.options, self.say = jobs, folder, options, say
        self.devices, self.others = devices, others

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
        """Run one job after another on a device."""
        while any(job.state == "waits" for job in self.jobs):
            job = self._ready()
            if job is None:
                await asyncio.sleep(PAUSE)
            else:
                await self._run_job(job, device, lock)

    def _ready(self) -> SweepJob | None:
        """The next job that need not wait for a stage which another one is training right now."""
        busy = {item for job in self.jobs if job.state == "runs" for item in job.missing.items()}
        return next((job for job in self.jobs if job.state == "waits" and not busy & job.missing.items()), None)

    async def _run_job(self, job: SweepJob, device: str | None, lock: IO[str]) -> None:
        """Run a job to its end, and pass on what it says of its stages."""
        self._prepare(job, device)
        log, begun = job.run.folder / LOG, time.monotonic()
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
                if child.poll() is None:  # the sweep was interrupted
                    job.state = "waits"
                    await _end(child)
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


async def _end(child: subprocess.Popen[bytes]) -> None:
    """End a process that is still running: by force, where it takes too long."""
    child.terminate()
    patience = time.monotonic() + PATIENCE
    while child.poll() is None and time.monotonic() < patience:
        await asyncio.sleep(PAUSE)
    child.kill()
    child.wait()


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
    """Why a process ended, by what it said last."""
    if code < 0:
        return f"ended by signal {signal.Signals(-code).name}"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "")
    return last.removeprefix("error: ")[:300] or f"exit code {code}"
