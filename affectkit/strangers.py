"""Code of strangers, run so that what it does to the process costs only itself and is told."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from affectkit.errors import HEAVY


@contextlib.contextmanager
def contained(what: str, told: list[str]) -> Iterator[None]:
    """Run a plugin's code: what it prints is swallowed, what it changes is put back, `told` says so in a sentence each.

    Put back are the working folder, the logging of the root, and torch's default number format and device. SystemExit, and
    a KeyboardInterrupt that nobody pressed, become RuntimeError.
    """
    said = io.StringIO()
    loaded = {name for name in HEAVY if name in sys.modules}
    restore = [_folder(), _logging(), _torch()]
    with _interrupts() as pressed:
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                yield
        except SystemExit as error:
            raise RuntimeError(f"SystemExit({error.code!r}): it ends the process at import") from error
        except KeyboardInterrupt as error:
            if pressed:
                raise
            raise RuntimeError("KeyboardInterrupt: it interrupts the process at import") from error
        finally:
            habits = [habit for put_back in restore if (habit := put_back())]
            lines = said.getvalue().strip().splitlines()
            habits += [f"prints ({len(lines)} lines: {lines[0][:60]!r})"] if lines else []
            heavy = [name for name in HEAVY if name in sys.modules and name not in loaded]
            habits += [f"imports {heavy[0]} at the top, which every command then waits for"] if heavy else []
            told += [f"{what} {habit}" for habit in habits]


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The interrupts that somebody really sent meanwhile."""
    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    elsewhere = threading.current_thread() is not threading.main_thread()
    if elsewhere or before in (None, signal.SIG_IGN, signal.SIG_DFL):
        yield pressed  # none comes here as an exception
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


PutBack = Callable[[], str]
"""Undoes a change; says what it was, or nothing where there was none."""


def _folder() -> PutBack:
    before = os.getcwd() if os.path.isdir(".") else ""

    def put_back() -> str:
        if not before or os.getcwd() == before:
            return ""
        os.chdir(before)
        return "changes the working folder"

    return put_back


def _logging() -> PutBack:
    root = logging.getLogger()
    before = ([*root.handlers], root.level, root.manager.disable)

    def put_back() -> str:
        if before == (root.handlers, root.level, root.manager.disable):
            return ""
        root.handlers[:], root.manager.disable = before[0], before[2]
        root.setLevel(before[1])
        return "sets up the logging of the whole process"

    return put_back


def _torch() -> PutBack:
    torch = sys.modules.get("torch")
    before = (torch.get_default_dtype(), torch.get_default_device()) if torch else None

    def put_back() -> str:
        torch = sys.modules.get("torch")
        if torch is None:
            return ""
        kind, device = before or (torch.float32, torch.device("cpu"))
        if (torch.get_default_dtype(), torch.get_default_device()) == (kind, device):
            return ""
        torch.set_default_dtype(kind)
        torch.set_default_device(device if before else None)
        return "sets torch's default number format or device"

    return put_back
