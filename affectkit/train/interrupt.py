"""SIGINT and SIGTERM while a run is made: what was trained is saved, the place and the way on are said."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from affectkit.errors import Interrupted


class Signals:
    """What arrived, and whether it waits for the end of an optimiser step."""

    def __init__(self) -> None:
        self.pending: int | None = None
        self.training = False
        """Whether steps are trained: SIGTERM then waits for the step's end, so that its weights are saved first."""

    def take(self, number: int, frame: FrameType | None) -> None:
        """The handler. A second signal does not wait."""
        if self.training and number == signal.SIGTERM and self.pending is None:
            self.pending = number
            return
        raise Interrupted(number)

    def install(self) -> None:
        """Become the process's handler; again after Lightning put its own there."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self.take)


SIGNALS = Signals()
"""Those of this process."""


@contextlib.contextmanager
def interruptible(folder: Path) -> Iterator[None]:
    """Let SIGINT and SIGTERM end what is done inside, with the command that goes on with the run in `folder`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    SIGNALS.pending = None
    SIGNALS.install()
    try:
        yield
    except Interrupted as error:
        error.add_note(f"go on with: affectkit fit --resume {folder}")
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
