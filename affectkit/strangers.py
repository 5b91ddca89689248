"""Code of strangers, run so that what it does to the process costs only itself and is told."""

from __future__ import annotations

import builtins
import contextlib
import io
import locale
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from affectkit.errors import HEAVY, Interrupted


@contextlib.contextmanager
def contained(what: str, told: list[str]) -> Iterator[None]:
    """Run a plugin's code: what it prints is swallowed, what it changes is put back, `told` says so in a sentence each.

    Put back are the working folder, the logging of the root, what torch and Python do by default, handlers of signals, and
    variables of the environment. Whatever is no Exception becomes RuntimeError, but for an interrupt that somebody sent;
    `os._exit` is taken for such an end, and threads do not keep the process alive. What is written past Python goes to
    stderr.
    """
    said = io.StringIO()
    loaded = {name for name in HEAVY if name in sys.modules}
    with _interrupts() as pressed, _without_end(), _stdout_to_stderr():
        restore = [_folder(), _logging(), _torch(), _signals(), _environment(), _python()]
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                yield
        except SystemExit as error:
            raise RuntimeError(f"SystemExit({error.code!r}): it ends the process at import") from error
        except BaseException as error:
            if isinstance(error, Exception | Interrupted | GeneratorExit) or (
                pressed and isinstance(error, KeyboardInterrupt)
            ):
                raise
            raise RuntimeError(f"{type(error).__name__}: it interrupts the process at import") from error
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


@contextlib.contextmanager
def _without_end() -> Iterator[None]:
    """`os._exit` raises SystemExit, and a thread that is started does not keep the process alive."""
    end, start = os._exit, threading.Thread.start

    def leave(status: int) -> NoReturn:
        raise SystemExit(status)

    def start_daemon(thread: threading.Thread) -> None:
        thread.daemon = True
        start(thread)

    os._exit, threading.Thread.start = leave, start_daemon  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        os._exit, threading.Thread.start = end, start  # type: ignore[method-assign]


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """What C code and child processes write to stdout goes to stderr."""
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # a process without them
        yield
        return
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


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
    before = (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()) if torch else None
    threads = torch.get_num_threads() if torch else None

    def put_back() -> str:
        torch = sys.modules.get("torch")
        if torch is None:
            return ""
        if threads and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
            return "sets torch's number of threads"
        kind, device, grad = before or (torch.float32, torch.device("cpu"), True)
        if (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()) == (kind, device, grad):
            return ""
        torch.set_default_dtype(kind)
        torch.set_default_device(device if before else None)
        torch.set_grad_enabled(grad)
        return "sets torch's default number format or device, or whether it learns"

    return put_back


def _signals() -> PutBack:
    """In the main thread, where alone handlers can be put back."""
    mine = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if mine}

    def put_back() -> str:
        changed = [n for n, handler in before.items() if handler is not None and signal.getsignal(n) != handler]
        for number in changed:
            signal.signal(number, before[number])
        return f"takes {', '.join(signal.Signals(n).name for n in changed)} over" if changed else ""

    return put_back


def _environment() -> PutBack:
    """Of variables that a plugin adds only our own are taken out again: libraries tell themselves things by others."""
    before = dict(os.environ)

    def put_back() -> str:
        changed = [name for name, value in before.items() if os.environ.get(name) != value]
        added = [name for name in os.environ if name not in before and name.startswith("AFFECTKIT_")]
        os.environ.update({name: before[name] for name in changed})
        for name in added:
            del os.environ[name]
        return f"changes the environment ({', '.join(changed + added)})" if changed or added else ""

    return put_back


def _python() -> PutBack:
    language, limit, names = locale.setlocale(locale.LC_ALL), sys.getrecursionlimit(), dict(vars(builtins))

    def put_back() -> str:
        changed = [
            name for name, value in names.items() if vars(builtins).get(name, put_back) is not value and name != "_"
        ]
        vars(builtins).update({name: names[name] for name in changed})
        what = [f"the built-in {name}" for name in changed]
        if locale.setlocale(locale.LC_ALL) != language:
            locale.setlocale(locale.LC_ALL, language)
            what.append("the locale")
        if sys.getrecursionlimit() != limit:
            sys.setrecursionlimit(limit)
            what.append("the recursion limit")
        return f"changes {', '.join(what)}" if what else ""

    return put_back
