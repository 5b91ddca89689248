"""The runs of a sweep, one after another or one on each device: a process a run, each resumed where it stopped. No torch."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from affectkit.errors import Problem, RunError
from affectkit.evaluation.score import read_metrics
from affectkit.files import Say, read_json, write_json_atomic, write_text_atomic
from affectkit.plan.summary import full_recipe
from affectkit.studies.sweep_jobs import KEYS, SweepJob, adopt_stages, keys_of, runs_below
from affectkit.train.run_folder import Run, made_by

FILE = "sweep.json"
LOG = "log.txt"
PAUSE = 0.2
"""Seconds between two looks at the processes."""
PATIENCE = 20
"""Seconds that a process has to end after it was told to."""


@dataclass
class _Process:
    """A job under way."""

    job: SweepJob
    child: subprocess.Popen[bytes]
    device: str | None
    begun: float
    log: IO[str]
    """The log, read as it grows."""


class Runner:
    """Runs jobs on devices until none is left."""

    def __init__(self, jobs: Sequence[SweepJob], folder: Path, options: Sequence[str], say: Say) -> None:
        self.jobs, self.folder, self.options, self.say = jobs, folder, options, say
        self.devices: list[str | None] = [None]
        self.others: Sequence[Path] = ()
        """Folders of other sweeps, whose runs give equal stages too."""
        self.running: list[_Process] = []
        self.begun = time.monotonic()
        self._lock: int | None = None

    def run(self) -> None:
        """Every job that is not done; returns when all are done or have failed. Raises RunError where the sweep runs already."""
        with self._locked(), _ended_by_signals():
            free = list(self.devices)
            try:
                while self.running or any(j.state == "waits" for j in self.jobs):
                    job = self._ready() if free else None
                    if job is not None:
                        self.running.append(self._start(job, free.pop(0)))
                        self._note()
                        continue
                    time.sleep(PAUSE)
                    for process in list(self.running):
                        self._pass_on(process)
                        if process.child.poll() is not None:
                            self.running.remove(process)
                            free.append(process.device)
                            self._end(process)
            finally:
                self._stop()
                self._note()

    def _ready(self) -> SweepJob | None:
        """The next job that need not wait for a stage which another one is training right now."""
        busy = {
            (stage, key)
            for p in self.running
            for stage, key in p.job.keys.items()
            if not p.job.run.weights(stage).exists()
        }
        for job in self.jobs:
            todo = {(s, k) for s, k in job.keys.items() if not job.run.weights(s).exists()}
            if job.state == "waits" and not todo & busy:
                return job
        return None

    def _start(self, job: SweepJob, device: str | None) -> _Process:
        fresh = not job.run.recipe.is_file()
        job.run.folder.mkdir(parents=True, exist_ok=True)
        if not job.run.about.is_file():
            job.run.note(
                {**made_by(job.plan), "sweep": {"run": job.variant.name, "changes": dict(job.variant.changes)}}
            )
        if fresh:
            write_text_atomic(job.run.recipe, full_recipe(job.plan))
        if keys_of(job.run) != dict(job.keys):
            job.run.note({KEYS: dict(job.keys)})
        taken = adopt_stages(job.run, job.plan, job.keys, runs_below([self.folder, *self.others]))
        job.state, job.error = "runs", ""
        done = sum(j.state in ("done", "failed") for j in self.jobs)
        told = "".join(f"; stage {stage} is that of {who}" for stage, who in taken.items())
        where = f" on device {device}" if device is not None else ""
        number = done + len(self.running) + 1
        self.say(f"[{number}/{len(self.jobs)}] {job.name}: {'starts' if fresh else 'goes on'}{where}{told}")
        path = job.run.folder / LOG
        with path.open("ab") as out:
            log = path.open(encoding="utf-8", errors="replace")
            log.seek(0, os.SEEK_END)
            kept = (self._lock,) if self._lock is not None else ()
            child = subprocess.Popen(
                self.words(job),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self._environment(device),
                pass_fds=kept,
            )
        return _Process(job, child, device, time.monotonic(), log)

    def words(self, job: SweepJob) -> list[str]:
        """The command that goes on with a run, from its beginning or from where it stopped."""
        return [sys.executable, "-m", "affectkit", "fit", "--resume", str(job.run.folder), *self.options]

    def _environment(self, device: str | None) -> dict[str, str]:
        """One device for each process; on the CPU several of them share the cores."""
        found = dict(os.environ)
        if device is not None:
            found["CUDA_VISIBLE_DEVICES"] = device
        elif len(self.devices) > 1:
            found.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(self.devices))))
        return found

    def _pass_on(self, process: _Process) -> None:
        """Pass on what the process says of its stages."""
        for line in process.log:
            if line.startswith("stage ") and line.endswith("\n"):
                self.say(f"    {process.job.name}: {line.rstrip()}")

    def _end(self, process: _Process) -> None:
        job, code = process.job, process.child.returncode
        process.log.close()
        job.seconds += time.monotonic() - process.begun
        if code == 0 and job.finished:
            job.state = "done"
            told = f"done in {job.seconds:.0f} s{_headline(job.run)}"
        else:
            job.state, job.error = "failed", _why(job.run.folder / LOG, code)
            told = f"failed: {job.error} (all of it in {job.run.folder / LOG})"
        self._note()
        self.say(f"    {job.name}: {told}{self._left()}")

    def _left(self) -> str:
        """How long the rest will take, by what was done in this call."""
        over = [j.seconds for j in self.jobs if j.seconds and j.state == "done"]
        waiting = sum(j.state in ("waits", "runs") for j in self.jobs)
        if not over or not waiting:
            return ""
        minutes = sum(over) / len(over) * waiting / len(self.devices) / 60
        return f"; {waiting} left, about {minutes:.0f} min"

    def _note(self) -> None:
        """What has become of every run, for whoever looks."""
        path = self.folder / FILE
        known = read_json(path) if path.is_file() else {}
        before = known.get("runs") or {}
        runs = {
            j.name: {
                "run": j.variant.name,
                "seed": j.seed,
                "state": j.state,
                "error": j.error,
                "seconds": round(j.seconds or (before.get(j.name) or {}).get("seconds") or 0.0, 1),
            }
            for j in self.jobs
        }
        write_json_atomic(path, {**known, "runs": runs})

    def _stop(self) -> None:
        """End what is still running: the sweep was interrupted. The next call goes on with it."""
        for process in self.running:
            process.child.terminate()
        for process in self.running:
            try:
                process.child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.child.kill()
                process.child.wait()
            process.log.close()
            process.job.state = "waits"
        self.running = []

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder. Its runs hold it too, so that one which outlived a killed sweep is not started twice."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:  # not on this system
            yield
            return
        with (self.folder / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                what = "this sweep runs already, or a run that outlived it does"
                raise RunError(Problem(str(self.folder), what, "wait for it, or end its processes")) from None
            self._lock = file.fileno()
            try:
                yield
            finally:
                self._lock = None


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A polite end (SIGTERM) ends the runs too, as an interrupt from the keyboard does."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _headline(run: Run) -> str:
    """The first figure of a run."""
    for split, found in read_metrics(run.folder).items():
        for name, one in found.metrics.items():
            if one.value is not None:
                return f", {split} {name} {one.value:.3f}"
    return ""


def _why(log: Path, code: int) -> str:
    """What a process said last of why it ended."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "")
    if code < 0:
        return f"ended by signal {signal.Signals(-code).name}"
    return said.removeprefix("error: ")[:300] or f"exit code {code}"
