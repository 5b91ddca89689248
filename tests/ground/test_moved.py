"""Old names of modules: a plugin that was written before the rooms still loads, and is told."""

import importlib
import subprocess
import sys

import pytest

import affectkit
from affectkit import _moved


@pytest.mark.parametrize("old", sorted(_moved.MOVED))
def test_an_old_module_is_found(old):
    module = importlib.import_module(f"affectkit.{old}")
    for place in _moved.MOVED[old]:
        there = importlib.import_module(f"affectkit.{place}")
        name = next(n for n in vars(there) if not n.startswith("_") and n not in vars(module))
        with pytest.warns(DeprecationWarning, match=f"affectkit.{old}.{name} is affectkit"):
            assert getattr(module, name) is not None


def old_style(code):
    return subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=False)


def test_what_plugins_imported_is_there_with_a_word():
    ran = old_style(
        "from affectkit.plan import Plan, plan_recipe\nfrom affectkit.score import Prediction\nfrom affectkit import clients\n"
        "from affectkit.testing import keeps_its_promises\nimport affectkit.plan.check\n"
        "print(Plan.__module__, Prediction.__module__, clients.Message.__module__)"
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [
        "affectkit.plan.plan",
        "affectkit.evaluation.prediction",
        "affectkit.messages",
    ]
    assert "affectkit.score.Prediction is affectkit.evaluation.prediction.Prediction now" in ran.stderr
    assert "testing" not in ran.stderr


def test_a_name_that_never_was_is_unknown():
    with pytest.raises(ImportError, match="no_such_thing"):
        exec("from affectkit.wiring import no_such_thing")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("affectkit.no_such_module")


def test_no_room_bears_a_public_name():
    assert not set(affectkit.__all__) & {
        name.split(".")[0] for places in _moved.MOVED.values() for name in places if "." in name
    }


def test_the_old_function_check_is_called_by_its_old_name(tmp_path):
    (tmp_path / "r.yaml").write_text("extends: voice\n")
    ran = old_style(f"from affectkit.plan import check\nprint(check({str(tmp_path / 'r.yaml')!r}).name)")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "voice"
    assert "affectkit.plan.check is a module now" in ran.stderr
