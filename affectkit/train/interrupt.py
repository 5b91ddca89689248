"""SIGINT, SIGTERM and SIGHUP while a run is made: what was trained is saved, the place and the way on are said; and the end of
the first of several processes, which ends the others."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from affectkit.errors import AffectkitError, Interrupted

HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)
"""The terminal was closed; Windows knows no such signal."""
ENDING = (signal.SIGINT, signal.SIGTERM, HANGUP)


def _heeded() -> list[int]:
    """The signals that end a run: not SIGHUP where it is ignored, as by nohup."""
    return [number for number in ENDING if number != HANGUP or signal.getsignal(number) != signal.SIG_IGN]


class Signals:
    """What arrived, and whether it waits for the end of an optimiser step."""

    def __init__(self) -> None:
        self.pending: int | None = None
        self.training = False
        """Whether steps are trained: SIGTERM and SIGHUP then wait for the step's end, so that its weights are saved first."""

    def take(self, number: int, frame: FrameType | None) -> None:
        """The handler. A second signal does not wait."""
        waits = self.training and number != signal.SIGINT and self.pending is None
        # noted also where it is raised: a library may lose what is raised inside it, or make it an error
        self.pending = number
        if not waits:
            raise Interrupted(number)

    def install(self) -> None:
        """Become the process's handler; again after Lightning put its own there."""
        if threading.current_thread() is threading.main_thread():
            for number in _heeded():
                signal.signal(number, self.take)


SIGNALS = Signals()
"""Those of this process."""


@contextlib.contextmanager
def interruptible(folder: Path) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end what is done inside, with the command that goes on with the run in `folder`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    SIGNALS.pending = None
    SIGNALS.install()
    try:
        yield
    except (Interrupted, Exception) as error:
        if not isinstance(error, Interrupted):
            if SIGNALS.pending is None or isinstance(error, AffectkitError):
                raise
            # what a library made of the signal; or all processes got it, one has saved and gone, and others lost their line to it
            error = Interrupted(SIGNALS.pending)
        error.add_note(f"go on with: affectkit fit --resume {folder}")
        raise error from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


FIRST = "AFFECTKIT_FIRST_PROCESS"
"""Environment variable by which the first process of a run tells those that it starts its id."""
LOOK = 1.0
"""Seconds between two looks at the first process."""


@contextlib.contextmanager
def beside_first() -> Iterator[None]:
    """Be the first process of a run; or, started by it, end once it has ended: a rank that was to meet it waits for half an hour
    inside of torch, where no signal is taken."""
    first = int(os.environ.get(FIRST, 0))
    if not first:
        os.environ[FIRST] = str(os.getpid())
    over, started = threading.Event(), os.getppid() == first

    def watch() -> None:
        while not over.wait(LOOK):
            if (started and os.getppid() != first) or not _runs(first):
                print("the first process of this run has ended, and so this one does", file=sys.stderr, flush=True)
                os._exit(1)

    if first and os.name == "posix":  # elsewhere a look at a process ends it
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        if not first:
            del os.environ[FIRST]


def _runs(process: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for yet (Z) has, though its id is still taken."""
    try:
        os.kill(process, 0)
    except OSError as error:  # one that may not be asked is there
        return not isinstance(error, ProcessLookupError)
    with contextlib.suppress(OSError):  # Linux alone tells
        return Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    return True
