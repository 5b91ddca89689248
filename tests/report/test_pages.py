"""Commands of the pages that have no test of their own.

A recipe is checked with the overrides that a page gives it, a sweep is planned, labels are scored and extracted; for what
needs a trained run or published data the command line has to take the words.
"""

import os
import re
import shlex
import shutil
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from affectkit.__main__ import cli

ROOT = Path(__file__).parents[2]
PAGES = ("affectgpt", "emo-llama", "emotion-llama", "sweeps", "cross", "bias", "suites", "open-vocabulary")
WHEELS = Path(os.environ.get("AFFECTKIT_REFERENCE", ROOT.parent / "shared" / "reference")) / "emotion_wheel"
RECIPES = ("check", "show", "fit")
FILES = ("score", "extract", "wheels")


def commands(page):
    blocks = re.findall(r"^```console\n(.*?)^```$", (ROOT / "docs" / f"{page}.md").read_text(), re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.startswith("affectkit ")]


LINES = list(dict.fromkeys(line for page in PAGES for line in commands(page)))


def verb(line):
    return line.split()[1]


def parsed(words):
    """What the command line makes of the words: raises UsageError for an option that it does not have."""
    command, name = cli, "affectkit"
    with click.Context(command) as context:
        while isinstance(command, click.Group) and words:
            found = command.get_command(context, words[0])
            if found is None:
                break
            command, name, words = found, words[0], words[1:]
    return command.make_context(name, list(words)).params


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that the pages speak of, with `AFFECTKIT_CACHE` of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFFECTKIT_CACHE", str(tmp_path / "cache"))
    rows = []
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(f"{i}.png")
        rows.append(f"{i}.png,{('happy', 'sad')[i % 2]},{('train', 'val', 'test')[i // 2 % 3]}")
    Path("photos.csv").write_text("path,label,split\n" + "\n".join(rows) + "\n")
    for place in ("AffectGPT/emotion_wheel", "emotion_wheel"):
        if WHEELS.is_dir():
            shutil.copytree(WHEELS, place)
    names = np.array(["a", "b", "c"])
    words = np.array(["[happy, joyful]", "[angry]", "[sad]"])
    for name in ("P-openset.npz", "answers-openset.npz"):
        np.savez(name, filenames=names, fileitems=words)
    np.savez("answers.npz", name2reason=np.array(dict.fromkeys("abc", "This person feels sad, hurt."), dtype=object))
    np.savez("P-openset-sentiment.npz", filenames=names, fileitems=np.array(["positive", "negative", "negative"]))
    corpus = {
        n: {"emo": e, "val": v} for n, e, v in zip("abc", ("happy", "angry", "sad"), (1.5, -1.0, -0.4), strict=True)
    }
    np.savez("label.npz", train_corpus={}, val_corpus={}, test_corpus=corpus)
    Path("truth.csv").write_text('name,openset\na,"[happy]"\nb,"[furious]"\nc,"[hurt]"\n')
    return tmp_path


@pytest.mark.parametrize("line", [x for x in LINES if verb(x) in RECIPES])
def test_a_recipe_takes_what_a_page_gives_it(line, folder):
    words = [w for w in shlex.split(line)[2:] if not w.startswith(("run.start=", "--"))]
    words = [w for w in words if not w.isdigit()]  # the number behind --sample
    parsed(shlex.split(line)[1:])
    done = CliRunner().invoke(cli, ["check", *words])
    assert done.exit_code == 0, (done.output, done.exception)


@pytest.mark.parametrize("line", [x for x in LINES if verb(x) == "sweep"])
def test_a_sweep_is_planned(line, folder):
    done = CliRunner().invoke(cli, [*dict.fromkeys([*shlex.split(line)[1:], "--dry-run"])])
    assert done.exit_code == 0, (done.output, done.exception)
    assert "full-seed0" in done.output


@pytest.mark.skipif(not WHEELS.is_dir(), reason="the published wheel tables are not here")
@pytest.mark.parametrize("line", [x for x in LINES if verb(x) in FILES and "--client" not in x and "--groups" not in x])
def test_files_are_scored(line, folder):
    done = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert done.exit_code == 0, (done.output, done.exception)
    assert done.output.strip()


@pytest.mark.parametrize("line", LINES)
def test_the_command_line_takes_the_words(line):
    assert parsed(shlex.split(line)[1:]) is not None


def test_options_that_are_not_there_are_noticed():
    with pytest.raises(click.UsageError, match="No such option"):
        parsed(["evaluate", "runs/last", "--varied", "labels"])


def test_there_are_commands():
    assert len(LINES) >= 40
    assert {verb(line) for line in LINES} >= {"fit", "check", "show", "sweep", "cross", "evaluate", "score", "extract"}
