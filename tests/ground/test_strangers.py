"""Plugins that misbehave: each costs only itself, is put back and told."""

import json
import locale
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from affectkit.registry import Registry
from affectkit.strangers import contained

PIECE = """
{top}
from dataclasses import dataclass
from affectkit import Piece, hookimpl

@dataclass(frozen=True)
class Settings:
    \"\"\"A thing.\"\"\"

@hookimpl
def affectkit_pieces():
    {hook}
    return [Piece("metric", "{name}", Settings, lambda settings: None)]
"""


@pytest.fixture
def plugin(tmp_path):
    def write(name, top="", hook="pass"):
        path = tmp_path / f"{name}.py"
        path.write_text(PIECE.format(name=name, top=top, hook=hook))
        return path

    return write


@pytest.mark.parametrize(
    ("top", "hook"),
    [
        ("import sys; sys.exit(0)", "pass"),
        ("raise SystemExit('bye')", "pass"),
        ("raise KeyboardInterrupt", "pass"),
        ("", "raise SystemExit(3)"),
        ("", "raise KeyboardInterrupt"),
        ("class End(BaseException): pass\nraise End", "pass"),
        ("import os; os._exit(0)", "pass"),
        ("", "import os; os._exit(3)"),
        ("import no_such_module", "pass"),
        ("1 / 0", "pass"),
        ("def broken(:", "pass"),
    ],
)
def test_one_that_ends_costs_only_itself(plugin, top, hook):
    registry = Registry.load([plugin("bad", top, hook), plugin("good")])
    assert registry.find("metric", "bad") is None
    assert registry.find("metric", "good") is not None
    assert registry.find("metric", "uar") is not None
    (broken,) = (p for p in registry.plugins if p.broken)
    assert broken.name == "bad"


@pytest.mark.parametrize(
    ("top", "said"),
    [
        ("print('hello', flush=True)", "prints (1 lines: 'hello')"),
        ("import sys; print('oh', file=sys.stderr)", "prints (1 lines: 'oh')"),
        ("import os; os.chdir('/')", "changes the working folder"),
        ("import logging; logging.basicConfig(level=logging.DEBUG, force=True)", "sets up the logging"),
        ("import logging; logging.disable(logging.CRITICAL)", "sets up the logging"),
        ("import torch; torch.set_default_dtype(torch.float64)", "torch's default number format"),
        ("import torch; torch.set_default_device('meta')", "torch's default number format or device"),
        ("import torch; torch.set_grad_enabled(False)", "or whether it learns"),
        ("import torch; torch.set_num_threads(1 + torch.get_num_threads())", "sets torch's number of threads"),
        ("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)", "takes SIGTERM over"),
        ("import os; os.environ['PATH'] = '/nowhere'", "changes the environment (PATH)"),
        ("import os; os.environ['AFFECTKIT_NEW'] = '/nowhere'", "changes the environment (AFFECTKIT_NEW)"),
        ("import builtins; builtins.open = None", "changes the built-in open"),
        ("import locale; locale.setlocale(locale.LC_NUMERIC, 'C.UTF-8')", "changes the locale"),
        ("import sys; sys.setrecursionlimit(5000)", "changes the recursion limit"),
    ],
)
def test_what_one_changes_is_put_back_and_told(plugin, top, said, capfd):
    import torch

    language = locale.setlocale(locale.LC_ALL)
    here, root = os.getcwd(), logging.getLogger()
    whole = [open, signal.getsignal(signal.SIGTERM), dict(os.environ), sys.getrecursionlimit(), torch.get_num_threads()]
    handlers, level = [*root.handlers], root.level
    registry = Registry.load([plugin("odd", top)])
    assert registry.find("metric", "odd") is not None
    assert [said in h for p in registry.plugins for h in p.habits] == [True]
    assert os.getcwd() == here
    assert whole == [
        open, signal.getsignal(signal.SIGTERM), dict(os.environ), sys.getrecursionlimit(), torch.get_num_threads()
    ]  # fmt: skip
    assert (locale.setlocale(locale.LC_ALL), torch.is_grad_enabled()) == (language, True)
    assert (root.handlers, root.level, root.manager.disable) == (handlers, level, 0)
    assert (torch.get_default_dtype(), torch.get_default_device().type) == (torch.float32, "cpu")
    assert capfd.readouterr() == ("", "")


def test_an_interrupt_of_a_user_is_no_fault_of_the_plugin():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupt()
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), contained("a", []):
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    found = []
    thread = threading.Thread(target=lambda: found.append(contained("a", []).__enter__()))
    thread.start()
    thread.join()
    assert found == [None]


def run(*words):
    return subprocess.run([sys.executable, "-m", "affectkit", *words], capture_output=True, text=True, check=False)


def test_json_stays_clean_and_the_list_names_it(plugin, tmp_path):
    lasting = "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()"
    noisy = str(plugin("noisy", f"import os, torch; print('hello'); os.write(1, b'raw'); {lasting}"))
    (tmp_path / "a.csv").write_text("id,label,truth\n1,sad,sad\n2,happy,sad\n")
    told = run("score", "war", "--predictions", str(tmp_path / "a.csv"), "--json", "--plugin", noisy)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["war"]["value"] == 0.5
    listed = run("plugins", "--plugin", noisy)
    assert listed.returncode == 0
    assert "noisy.py prints (1 lines: 'hello')" in listed.stderr
    assert "imports torch at the top" in listed.stderr
    assert Path(noisy).name in listed.stdout
