"""Plugins that misbehave: each costs only itself, is put back and told."""

import json
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
    ],
)
def test_what_one_changes_is_put_back_and_told(plugin, top, said, capfd):
    import torch

    here, root = os.getcwd(), logging.getLogger()
    handlers, level = [*root.handlers], root.level
    registry = Registry.load([plugin("odd", top)])
    assert registry.find("metric", "odd") is not None
    assert [said in h for p in registry.plugins for h in p.habits] == [True]
    assert os.getcwd() == here
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
    noisy = str(plugin("noisy", "import torch; print('hello')"))
    (tmp_path / "a.csv").write_text("id,label,truth\n1,sad,sad\n2,happy,sad\n")
    told = run("score", "war", "--predictions", str(tmp_path / "a.csv"), "--json", "--plugin", noisy)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["war"]["value"] == 0.5
    listed = run("plugins", "--plugin", noisy)
    assert listed.returncode == 0
    assert "noisy.py prints (1 lines: 'hello')" in listed.stderr
    assert "imports torch at the top" in listed.stderr
    assert Path(noisy).name in listed.stdout
