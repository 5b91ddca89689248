"""`affectkit plugins new`: a working distribution of every kind, and refusals that say why."""

import ast
import tomllib

import click.testing
import pytest

from affectkit import fit, load
from affectkit.__main__ import cli
from affectkit.commands._scaffold import add_piece, write_plugin
from affectkit.errors import InputError
from affectkit.files import read_json
from affectkit.pieces import KINDS
from affectkit.registry import Registry
from affectkit.testing.promises import keeps_its_promises

FILES = ["README.md", "pyproject.toml", "src/my_own_9/__init__.py", "src/my_own_9/piece.py", "tests/test_contract.py"]


@pytest.fixture
def made(tmp_path):
    return lambda kind: write_plugin("My.own-9", kind, tmp_path / "new")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_works(kind, made, tmp_path):
    assert sorted(str(p.relative_to(tmp_path / "new")) for p in made(kind)) == FILES
    for path in (tmp_path / "new").rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert "{{" not in text, path
            assert path.suffix != ".py" or ast.parse(text)
    about = tomllib.loads((tmp_path / "new" / "pyproject.toml").read_text())
    assert about["project"]["name"] == "My.own-9"
    assert about["project"]["entry-points"]["affectkit"] == {"my_own_9": "my_own_9"}
    registry = Registry.load([tmp_path / "new" / "src" / "my_own_9" / "piece.py"])
    piece = registry.piece(kind, "my_own_9")
    settings = {}
    if kind == "dataset":
        for label in ("happy", "sad"):
            (tmp_path / "data" / "train" / label).mkdir(parents=True)
            (tmp_path / "data" / "train" / label / "one.mp4").touch()
        settings = {"folder": str(tmp_path / "data")}
    assert keeps_its_promises(piece, settings=settings, light=kind in ("projector", "prompt", "reader"))


def test_nothing_is_overwritten(made, tmp_path):
    made("projector")
    piece = tmp_path / "new" / "src" / "my_own_9" / "piece.py"
    piece.write_text("mine")
    with pytest.raises(InputError, match=r"new: is there already, and nothing is overwritten"):
        made("metric")
    assert piece.read_text() == "mine"


def test_an_empty_folder_is_filled(made, tmp_path):
    (tmp_path / "new").mkdir()
    assert len(made("metric")) == len(FILES)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my proj", "no name of a distribution"),
        ("-mine", "no name of a distribution"),
        ("mine.", "no name of a distribution"),
        ("../mine", "no name of a distribution"),
        ("", "no name of a distribution"),
        ("grün", "no name of a distribution"),
        ("9lives", "Python cannot import"),
        ("class", "Python cannot import"),
        ("json", "a Python package 'json' already"),
        ("affectkit", "a Python package 'affectkit' already"),
        ("Linear", "affectkit has a piece 'linear' (projector) already"),
        ("mean", "affectkit has a piece 'mean' (adapter) already"),
    ],
)
def test_names_that_cannot_be_are_refused(name, words, tmp_path):
    with pytest.raises(InputError) as told:
        write_plugin(name, "projector", tmp_path / "new")
    assert words in str(told.value)
    assert not (tmp_path / "new").exists()


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match="did you mean 'projector'"):
        write_plugin("mine", "projektor", tmp_path / "new")


def test_the_command_writes_beside_you(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = click.testing.CliRunner().invoke(cli, ["plugins", "new", "my-proj", "--kind", "projector"])
    assert told.exit_code == 0, told.output
    assert "my-proj/src/my_proj/piece.py" in told.output
    again = click.testing.CliRunner().invoke(cli, ["plugins", "new", "my-proj"])
    assert isinstance(again.exception, InputError)
    other = click.testing.CliRunner().invoke(cli, ["plugins", "new", "my-proj", "--out", "elsewhere"])
    assert other.exit_code == 0
    assert (tmp_path / "elsewhere" / "pyproject.toml").is_file()


def test_a_second_piece_goes_into_a_distribution_that_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_plugin("my-own", "projector", "my-own")
    ran = lambda *words: click.testing.CliRunner().invoke(cli, ["plugins", "new", *words])  # noqa: E731
    told = ran("My-Score", "--kind", "metric", "--into", "my-own")
    assert told.exit_code == 0, told.exception
    assert told.output.split() == ["my-own/src/my_own/my_score.py", "my-own/tests/test_my_score.py"]
    registry = Registry.load(["my-own/src/my_own/piece.py", "my-own/src/my_own/my_score.py"])
    assert registry.find("projector", "my_own")
    assert keeps_its_promises(registry.piece("metric", "my_score"), light=False)
    test = (tmp_path / "my-own/tests/test_my_score.py").read_text()
    assert "from my_own.my_score import affectkit_pieces" in test
    assert 'piece("metric", "my_score")' in test
    before = (tmp_path / "my-own/src/my_own/my_score.py").read_text()
    for name in ("my-score", "my-own"):
        again = ran(name, "--kind", "client", "--into", "my-own")
        assert "is there already, with a piece of that name" in str(again.exception)
    assert (tmp_path / "my-own/src/my_own/my_score.py").read_text() == before
    assert isinstance(ran("linear", "--kind", "adapter", "--into", "my-own").exception, InputError)
    assert "give one of them" in ran("x", "--out", "a", "--into", "my-own").output


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (None, "pyproject.toml: there is no such file"),
        ("[project\n", "is not TOML"),
        ("[project]\nname = 'x'\n", "names no package of this folder under [project.entry-points.affectkit]"),
        ("[project.entry-points.affectkit]\nx = 'x.piece'\n", "let the entry point name a package"),
    ],
)
def test_a_folder_that_takes_no_second_piece_says_why(about, words, tmp_path):
    if about is not None:
        (tmp_path / "pyproject.toml").write_text(about)
    with pytest.raises(InputError) as told:
        add_piece("mine", "metric", tmp_path)
    assert words in str(told.value)


TINY = """
extends: recipes/voice.yaml
data: {use: puppets, count: 14, size: 48, seconds: 1, fps: 4}
backbone: {use: my_llm, width: 16}
stages: {train: {batch: 4, max_steps: 2}}
score: {resamples: 10}
run: {accelerator: cpu}
"""


def test_a_scaffolded_backbone_survives_fit(tmp_path):
    write_plugin("my-llm", "backbone", tmp_path / "my-llm")
    (tmp_path / "tiny.yaml").write_text(TINY)
    own = tmp_path / "my-llm" / "src" / "my_llm" / "piece.py"
    settings = [f"run.folder={tmp_path / 'runs'}", f"run.cache={tmp_path / 'cache'}"]
    run = fit(tmp_path / "tiny.yaml", settings, [own], say=lambda text: None)
    assert read_json(run.tokenizer / "tokenizer.json") == "bytes"
    figures = read_json(run.folder / "metrics.json")
    assert figures["test"]["uar"]
    again = load(run.folder, plugins=[own])
    assert again.model.llm.untokenise(again.model.llm.tokenise("glad")) == "glad"
