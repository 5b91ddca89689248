"""What must be quick imports nothing heavy, and the frame names no piece."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import affectkit
from affectkit.pieces import Eats
from affectkit.recipe.views import VIEWS
from affectkit.registry import Registry
from affectkit.sample import LABEL, LABELS, NUMBERS
from affectkit.testing.light import HEAVY

FRAME = Path(affectkit.__file__).parent
VOICE = "voice.yaml"
COMMANDS = (
    ["--help"],
    ["check", "recipes/" + VOICE],
    ["check", "emo_llama"],
    ["check", "recipes/paper/emo_llama.yaml"],
    ["check", "recipes/" + VOICE, "--full"],
    ["pieces"],
    ["plugins"],
    ["score", "--help"],
    ["fit", "--help"],
    ["predict", "--help"],
)
PROBE = """
import json, sys
from affectkit.__main__ import main
try:
    main()
except SystemExit as done:
    code = done.code
print(json.dumps([code, sorted(m for m in {heavy} if m in sys.modules)]), file=sys.stderr)
"""


def probe(arguments, folder, **environment):
    """Exit code of a command, and the heavy packages that its process had imported at the end."""
    ran = subprocess.run(
        [sys.executable, "-c", PROBE.replace("{heavy}", repr((*HEAVY, "jinja2"))), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
    )
    code, found = json.loads(ran.stderr.strip().splitlines()[-1])
    return code, found, ran


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_quick_command_imports_no_torch(arguments, tmp_path):
    code, found, ran = probe(arguments, tmp_path)
    assert code == 0, ran.stderr
    assert found == []


HEAVY_PLUGIN = '''
"""A plugin that forgets to import torch late."""
from dataclasses import dataclass
import torch
from affectkit import Piece, hookimpl

@dataclass(frozen=True)
class Settings:
    """Says nothing."""

@hookimpl
def affectkit_pieces():
    return [Piece("prompt", "heavy", Settings, lambda settings: lambda sample, ask: ())]
'''


def test_the_probe_catches_a_plugin_that_imports_torch(tmp_path):
    (tmp_path / "heavy_plugin.py").write_text(HEAVY_PLUGIN)
    code, found, _ = probe(["pieces", "--plugin", "heavy_plugin.py"], tmp_path)
    assert code == 0
    assert "torch" in found


EVERY_PIECE = """
import json
from affectkit.registry import Registry
from affectkit import settings, testing_light as light
before, guilty, count = light.heavy(), {}, 0
for piece in Registry.load().pieces():
    made, _ = settings.read(piece.settings, piece.tiny, str)
    for what, found in light.uses(piece, made, {}).items():
        count += 1
        if found:
            guilty[f"{piece.kind} {piece.name}: {what}"] = found
print(json.dumps([before, guilty, count]))
"""


def test_shapes_and_prompts_of_every_piece_import_no_torch():
    ran = subprocess.run([sys.executable, "-c", EVERY_PIECE], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    before, guilty, count = json.loads(ran.stdout)
    assert before == []
    assert guilty == {}
    assert count > 30


def light():
    """Modules outside the light rooms (tests/test_house.py) whose docstring says that they import no torch."""
    for path in sorted(FRAME.rglob("*.py")):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if "imports no torch" in said.lower():
            yield ".".join(path.relative_to(FRAME.parent).with_suffix("").parts).removesuffix(".__init__")


def test_a_module_that_says_so_imports_no_torch():
    names = list(light())
    assert len(names) > 15
    code = (
        "import importlib, sys\nfor name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n    assert 'torch' not in sys.modules, name"
    )
    ran = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr.splitlines()[-1]


EXPLAINED = {
    ("train/run_folder.py", "timm"): "a distribution whose version a run records",
    ("recipe/sections.py", "linear"): "a schedule of the learning rate",
    ("labels/wheels.py", "mer2026"): "a form table, as that challenge changed it",
    ("evaluation/predict.py", "mean"): "a way to compare candidates",
    ("recipe/sections.py", "mean"): "a way to compare candidates",
    ("report/run.py", "mean"): "a way to compare candidates",
    ("studies/suite_protocol.py", "mean"): "a way to compare candidates",
    ("recipe/sections.py", "linear_probe"): "the yardstick where a recipe names none",
    ("recipe/sections.py", "plain"): "the reader where a recipe names none",
    ("data/views.py", "action_units"): "a fact of a sample",
    ("encode/cache.py", "action_units"): "a fact of a sample",
    ("annotate/plan.py", "action_units"): "a fact of a sample",
    ("data/views.py", "peak_frame"): "a fact of a sample",
    ("encode/cache.py", "peak_frame"): "a fact of a sample",
    ("evaluation/sensitivity.py", "transcript"): "what is said, as a modality that is taken away",
    ("labels/extraction.py", "plain"): "a way in which a list of labels is written",
}
"""Words of a recipe's own language that a piece happens to be called like too."""


def literals(source):
    """(line, text) of every string in the code but docstrings and the sentences under fields."""
    tree = ast.parse(source)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def test_every_public_name_is_there():
    assert {"check", "evaluate", "load", "load_recipe", "Piece", "Sample", "TokenBlock"} <= set(dir(affectkit))
    assert all(callable(getattr(affectkit, name)) for name in dir(affectkit))
    with pytest.raises(AttributeError, match="'laod'"):
        _ = affectkit.laod


def test_checking_from_python_imports_no_torch():
    code = (
        "import sys, affectkit\nplan = affectkit.check(affectkit.load_recipe('voice'))\n"
        "print(plan.name, 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["voice", "False"]


def named_pieces(folder, names):
    """`file:line: 'name'` of every literal in a folder that equals a piece's name."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        for line, text in literals(path.read_text(encoding="utf-8")):
            if text in names and (path.relative_to(folder).as_posix(), text) not in EXPLAINED:
                found.append(f"{path.relative_to(folder.parent)}:{line}: {text!r}")
    return found


def piece_names():
    """Names of built-in pieces, but for what views, blocks and tasks are called."""
    return {p.name for p in Registry.load().pieces()} - set(VIEWS) - set(get_args(Eats)) - {LABEL, LABELS, NUMBERS}


def test_the_frame_names_no_piece():
    found = named_pieces(FRAME, piece_names())
    assert not found, "the frame must not know a concrete piece:\n" + "\n".join(found)


def test_that_test_finds_a_name(tmp_path):
    (tmp_path / "plan.py").write_text('"""mlp"""\nif piece.name == "mlp":\n    pass\nx: int\n"""mlp"""\n')
    assert named_pieces(tmp_path, piece_names()) == [f"{tmp_path.name}/plan.py:2: 'mlp'"]


@pytest.mark.parametrize(("file", "text"), EXPLAINED)
def test_what_is_explained_is_there(file, text):
    assert text in piece_names()
    assert text in [t for _, t in literals((FRAME / file).read_text(encoding="utf-8"))]
