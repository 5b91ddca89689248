"""Clips on disk: the cache folder, making what is missing in worker processes, and samples read from sidecars."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from affectkit.errors import RunError
from affectkit.sample import MISSING, Fact, Sample

from . import SCALES
from .cast import ClipPlan
from .clip import ClipFormat, is_made, render
from .emotion import EMOTIONS
from .labels import open_labels, ratings

VERSION = 4
"""Of the maker: a change to what clips look or sound like raises it, and with it the cache folder changes."""
QUESTIONS = ("Which emotion does this person show?", "What shows it?")
"""Of a puppet's conversation: first the label is asked for, then its reason."""
_INLINE = 8
"""So few clips are made in this process: a worker takes longer to start."""


class Puppets(Sequence[Sample]):
    """The samples of one split; a sidecar is read when its sample is asked for."""

    labels = EMOTIONS
    numbers = SCALES

    def __init__(self, plans: Sequence[ClipPlan], folder: Path) -> None:
        self._plans, self._folder = plans, folder

    def __len__(self) -> int:
        return len(self._plans)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        return sample_of(self._plans[index].name, self._folder)


def sample_of(name: str, folder: Path) -> Sample:
    """The sample of one clip, with its facts (origin `label`; race is missing: a skin tone is no race)."""
    told = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    words = ("age", "gender", "skin_tone", "evidence", "cue", "misleads", "misleading_label")
    facts = {key: Fact(told[key]) for key in words if told[key]}
    facts["person"] = Fact(told["identity"])
    for key in ("action_units", "landmarks", "face_box"):
        facts[key] = Fact(np.array(told[key], dtype=np.float32), per_frame=True)
    facts["manner"] = Fact(np.array(told["manner"], dtype=np.float32))
    facts["manner_names"] = Fact(tuple(told["manner_names"]))
    facts["action_unit_names"] = Fact(tuple(told["action_unit_names"]))
    facts["race"] = MISSING
    return Sample(
        id=name,
        video=folder / f"{name}.mp4",
        subtitle=told["subtitle"],
        label=told["label"],
        answers={"reason": told["reason"], "open_labels": open_labels(told)},
        turns=((QUESTIONS[0], told["label"]), (QUESTIONS[1], told["reason"])),
        facts=facts,
        numbers=ratings(told),
    )


def cache_folder(given: str | None, look: ClipFormat, seed: int) -> Path:
    """Where the clips of these settings lie.

    Below `given`, $AFFECTKIT_CACHE, $XDG_CACHE_HOME/affectkit or ~/.cache/affectkit, the first that there is.
    """
    own, shared = os.environ.get("AFFECTKIT_CACHE"), os.environ.get("XDG_CACHE_HOME")
    user = (Path(shared) if shared else Path.home() / ".cache") / "affectkit"
    base = Path(given or own or user)
    told = json.dumps([VERSION, seed, look.size, look.fps, look.seconds])
    key = hashlib.sha256(told.encode()).hexdigest()[:12]
    return base.expanduser() / "puppets" / f"v{VERSION}-{key}"


def fill(plans: Sequence[ClipPlan], look: ClipFormat, folder: Path, workers: int) -> None:
    """Make the clips that are missing from `folder`, with a progress bar on standard error.

    A killed call is continued by the next one, and several calls may work at once: every file appears
    whole, and whoever makes it writes the same bytes. Raises RunError if a worker fails.
    """
    missing = [plan for plan in plans if not is_made(plan, folder)]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    processes = min(workers or cpus(), max(1, len(missing) // _INLINE))
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("making puppet clips", total=len(missing))
        if processes == 1 and len(missing) <= 4 * _INLINE:
            for plan in missing:
                render(plan, look, folder)
                bar.advance(task)
        else:
            shares = [missing[n::processes] for n in range(processes)]
            _share_out(shares, look, folder, lambda: bar.advance(task))


def _sweep(folder: Path) -> None:
    """Remove what killed runs left half-written; nobody writes on one clip for an hour."""
    for path in folder.glob("*.part.*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - 3600:
                path.unlink()


def cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _share_out(
    shares: Sequence[Sequence[ClipPlan]], look: ClipFormat, folder: Path, tick: Callable[[], object]
) -> None:
    """Run one worker for each share; `tick` is called for every clip that is done.

    Workers are fresh interpreters, not forks: the caller may hold threads and a GPU, and needs no main-module guard.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", f"{__package__}.worker"]
    done: SimpleQueue[str | None] = SimpleQueue()
    started: list[subprocess.Popen[str]] = []
    try:
        for share in shares:
            worker = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            started.append(worker)
            job = {"folder": str(folder), "look": vars(look), "plans": [plan.as_dict() for plan in share]}
            threading.Thread(target=_listen, args=(worker, json.dumps(job), done), daemon=True).start()
        left = len(started)
        while left:
            if done.get() is None:
                left -= 1
            else:
                tick()
        for worker in started:
            if worker.wait() != 0:
                said = worker.stderr.read().strip() if worker.stderr else ""
                raise RunError(f"making puppet clips in {folder} failed: {said or f'exit status {worker.returncode}'}")
    finally:
        for worker in started:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
            for pipe in (worker.stdout, worker.stderr):
                if pipe:
                    pipe.close()


def _listen(worker: subprocess.Popen[str], job: str, done: SimpleQueue[str | None]) -> None:
    """Hand a worker its job and pass on what it prints; None at its end."""
    try:
        if worker.stdin and worker.stdout:
            with worker.stdin as pipe:
                pipe.write(job)
            for line in worker.stdout:
                done.put(line.strip())
    except (BrokenPipeError, ValueError):
        pass
    finally:
        done.put(None)
