"""A stranger's piece: the file in docs/add-a-piece.md, and an installed distribution of our scaffold."""

import ast
import os
import re
import runpy
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import click.testing
import pytest

from affectkit import commands
from affectkit.__main__ import cli
from affectkit.commands._scaffold import write_plugin
from affectkit.pieces import KINDS
from affectkit.registry import Registry
from affectkit.testing.promises import keeps_its_promises

PAGE = (Path(__file__).parents[2] / "docs" / "add-a-piece.md").read_text(encoding="utf-8")


def blocks(language):
    """Fenced blocks of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The page's piece, recipe and test, saved as it says."""
    (tmp_path / "low_rank.py").write_text(blocks("python")[0])
    (tmp_path / "centres.py").write_text(blocks("python")[4])
    (tmp_path / "cosines.py").write_text(blocks("python")[6])
    (tmp_path / "mine.yaml").write_text(blocks("yaml")[0])
    (tmp_path / "test_low_rank.py").write_text(blocks("python")[2])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(*arguments):
    return click.testing.CliRunner().invoke(cli, [str(a) for a in arguments])


def process(*arguments, folder, site=None):
    path = os.pathsep.join(str(p) for p in (site, os.environ.get("PYTHONPATH")) if p)
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )


def test_the_pages_piece_keeps_its_promises(files):
    kept = keeps_its_promises(Registry.load(["low_rank.py"]).piece("projector", "low_rank"))
    assert len(kept) >= 14
    runpy.run_path("test_low_rank.py")["test_low_rank"]()


def test_the_pages_piece_with_a_forward_of_its_own_keeps_its_promises(files):
    (files / "pool.py").write_text(blocks("python")[1])
    assert keeps_its_promises(Registry.load(["pool.py"]).piece("adapter", "mean_and_max"), light=False)


MOST_AROUND = 15


def around(source):
    """The lines of a piece that are neither its module, nor its settings' fields, nor words about them."""
    skip = set()
    for node in ast.walk(ast.parse(source)):
        module = isinstance(node, ast.ClassDef) and any("Module" in ast.unparse(base) for base in node.bases)
        field = isinstance(node, ast.AnnAssign) or (isinstance(node, ast.FunctionDef) and node.name == "problems")
        words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if module or field or words:
            skip.update(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(source.splitlines(), 1)
    return [line for i, line in lines if i not in skip and line.strip() and not line.strip().startswith("#")]


def test_a_projector_or_adapter_costs_few_lines_around_its_module():
    templates = Path(commands.__file__).parent / "templates"
    scaffolds = [(templates / f"plugin_{kind}.py.txt").read_text() for kind in ("projector", "adapter")]
    for source in (*blocks("python")[:2], *scaffolds):
        assert len(around(source)) <= MOST_AROUND
    long = "x = 1\n" * (MOST_AROUND + 1)
    assert len(around(long)) > MOST_AROUND


def test_the_pages_step_tells_what_it_estimates(files):
    (files / "guess.py").write_text(blocks("python")[3])
    kept = keeps_its_promises(Registry.load(["guess.py"]).piece("adapter", "guess"))
    assert "facts are estimates, and those that the piece tells" in kept
    part = "prompt.parts.who={use: age_gender_race, fields: [gender], source: audio.adapter}"
    still = "stages.train.train=[audio.projector]"
    told = ran("check", "voice", "--plugin", "guess.py", "streams.audio.steps.adapter={use: guess}", part, still)
    assert told.exit_code == 0, told.exception
    assert "facts of audio.adapter" in told.output


def test_the_pages_head_keeps_its_promises_and_serves_a_recipe(files):
    kept = keeps_its_promises(Registry.load(["cosines.py"]).piece("head", "cosines"))
    assert "it learns to answer rightly" in kept
    line = next(line for block in blocks("console") for line in block.splitlines() if "cosines.py" in line)
    told = ran(*shlex.split(line.removeprefix("$ affectkit ")))
    assert told.exit_code == 0, told.exception
    assert "heads.emotion" in told.output


def test_the_pages_reader_keeps_its_promises_and_serves_a_recipe(files):
    (files / "capitals.py").write_text(blocks("python")[5])
    kept = keeps_its_promises(Registry.load(["capitals.py"]).piece("reader", "capitals"))
    assert "it reads its own examples" in kept
    told = ran("check", "voice", "--plugin", "capitals.py", "score.reader=capitals", "--full")
    assert told.exit_code == 0, told.exception
    assert "use: capitals" in told.output
    wrong = ran("check", "voice", "score.reader=capitals")
    assert "unknown reader 'capitals'" in str(wrong.exception)
    assert "known: numbers, plain, tagged" in str(wrong.exception)


def test_the_pages_objective_keeps_its_promises_and_serves_a_recipe(files):
    kept = keeps_its_promises(Registry.load(["centres.py"]).piece("objective", "centres"), light=False)
    assert "gradients reach every port, every head that it names and every parameter" in kept
    losses = "stages.train.objective={llm: 1.0, near: {use: centres, tokens: audio.adapter, weight: 0.1}}"
    told = ran("check", "voice", "--plugin", "centres.py", losses)
    assert told.exit_code == 0, told.exception
    assert "tasks label + 0.1 near (centres)" in told.output
    assert "nothing fills the port 'tokens'" in str(
        ran("check", "voice", "--plugin", "centres.py", losses.replace(", tokens: audio.adapter", "")).exception
    )


def test_show_says_what_a_step_estimates_of_a_sample_and_that_its_weights_are_random(files):
    (files / "guess.py").write_text(blocks("python")[3])
    part = "prompt.parts.who={use: age_gender_race, fields: [gender], source: audio.adapter}"
    step, still = "streams.audio.steps.adapter={use: guess}", "stages.train.train=[audio.projector]"
    small = ["data.count=14", "data.size=48", "data.seconds=1", "data.fps=4"]
    small += ["backbone.width=32", "backbone.heads=2", "backbone.layers=1", f"run.cache={files}/cache"]
    told = ran("show", "voice", "--sample", "0", "--plugin", "guess.py", step, part, still, *small)
    assert told.exit_code == 0, told.exception
    (line,) = [line for line in told.output.splitlines() if line.strip().startswith("gender")]
    assert re.fullmatch(
        r"(female|male) +0\.\d{3} +audio\.adapter \(random weights\), read by the prompt", line.strip()[6:].strip()
    )
    assert "audio.adapter: the weights are random here" in told.output


def test_the_pages_commands_run(files):
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    ours = [shlex.split(line)[1:] for line in lines if line.startswith("$ affectkit"[2:])]
    assert len(ours) >= 5
    for arguments in ours:
        told = ran(*arguments)
        assert told.exit_code == 0, (arguments, told.output, told.exception)
    assert (files / "my-proj" / "src" / "my_proj" / "piece.py").is_file()
    assert {line.split()[0] for line in lines} == {"affectkit", "pip", "pytest"}


def test_a_loose_file_composes_into_a_recipe_and_is_checked_like_any_other(files):
    told = ran("check", "mine.yaml", "--plugin", "low_rank.py", "--full")
    assert told.exit_code == 0, told.exception
    assert "rank: 4" in told.output
    assert "bias: true" in told.output
    alone = ran("check", "mine.yaml")
    assert "unknown step 'low_rank'" in str(alone.exception)
    assert "mine.yaml:6" in str(alone.exception)
    wrong = ran("check", "mine.yaml", "--plugin", "low_rank.py", "streams.audio.steps.projector.rank=0")
    assert "rank: must be at least 1, got 0" in str(wrong.exception)
    misspelt = ran("check", "mine.yaml", "--plugin", "low_rank.py", "streams.audio.steps.projector.rnk=3")
    assert "did you mean 'rank'" in str(misspelt.exception)


def test_a_file_that_a_recipe_names_loads_only_if_trusted(files):
    (files / "mine.yaml").write_text("plugins: [low_rank.py]\n" + blocks("yaml")[0])
    told = ran("check", "mine.yaml")
    assert "add --trust-plugins" in str(told.exception)
    trusted = ran("check", "mine.yaml", "--trust-plugins")
    assert trusted.exit_code == 0, trusted.exception


def test_the_page_lists_every_kind():
    page = PAGE.partition("## What each kind builds")[2].partition("\n## ")[0]
    first = page[page.index("| kind |") :].partition("\n\n")[0]
    table = [line.split("`")[1] for line in first.splitlines() if line.startswith("| `")]
    assert table == list(KINDS)


def install(folder, site):
    """Build a wheel and unpack it where Python finds it and its metadata: all that an installer does with it."""
    pytest.importorskip("setuptools")
    code = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    built = process("-c", code, folder.parent, folder=folder)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(folder.parent / built.stdout.strip().splitlines()[-1]) as wheel:
        wheel.extractall(site)


def test_an_installed_distribution_is_found_used_and_passes_its_own_test(tmp_path):
    site, folder = tmp_path / "site", tmp_path / "my-proj"
    write_plugin("my-proj", "projector", folder)
    install(folder, site)
    listed = process("-m", "affectkit", "pieces", "projector", folder=tmp_path, site=site)
    assert listed.returncode == 0, listed.stderr
    assert re.search(r"projector\s+my_proj\s.*my-proj", listed.stdout)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(blocks("yaml")[0].replace("{use: low_rank, rank: 4}", "{use: my_proj, bias: false}"))
    checked = process("-m", "affectkit", "check", recipe, folder=tmp_path, site=site)
    assert checked.returncode == 0, checked.stderr
    off = {"AFFECTKIT_DISABLE_PLUGINS": "my-proj"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*off.popitem())
        without = process("-m", "affectkit", "check", recipe, folder=tmp_path, site=site)
    assert without.returncode == 2
    assert "unknown step 'my_proj'" in without.stderr
    tested = process("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=folder, site=site)
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout
    code = "from affectkit.commands._scaffold import write_plugin as write; write('my_proj', 'metric', 'other')"
    again = process("-c", code, folder=tmp_path, site=site)
    assert "there is a Python package 'my_proj' already" in again.stderr
