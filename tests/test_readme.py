"""Every command of the README and of docs/recipes.md, run as it stands; what would take minutes is made small."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).parent.parent
SMALL = [
    "data.count=42",
    "stages.face.data.count=42",
    "stages.voice.data.count=42",
    *(f"stages.{name}.epochs=1" for name in ("face", "voice", "instruct")),
    *(f"stages.{name}.max_steps=2" for name in ("align", "instruct", "lora")),
    "score.reasons=1",
    "score.max_new_tokens=4",
    "score.resamples=20",
    "run.accelerator=cpu",
]
ELSEWHERE = ("convert", "export")
"""Their files are made, and they are run, in test_convert.py and test_export.py."""
pytestmark = pytest.mark.slow


def lines(page):
    blocks = re.findall(r"^```console\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
    found = [line.split(" #")[0].split("&&")[-1].strip() for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(line for line in found if line.startswith("affectkit ")))


def run(words, folder):
    """The command in a process of its own, in a folder that has no recipes: those shipped are found."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "affectkit", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"affectkit {shlex.join(words)}\n{done.stdout[-800:]}\n{done.stderr[-2000:]}"
    return done.stdout


def smaller(words):
    """The same command, on a few clips."""
    if words[0] == "fit" and "--resume" not in words:
        if any("voice.yaml" in w for w in words):
            return [
                *words,
                *(s for s in SMALL if s.split(".")[1] in ("count", "reasons", "max_new_tokens", "accelerator")),
            ]
        return [*words, *(s for s in SMALL if not (s == "data.count=42" and "data.use=table" in words))]
    if words[0] in ("check", "show") or words[:2] == ["data", "check"]:
        return [*words, "data.count=42"] if "recipes/emo_llama.yaml" in words else words
    if words[0] == "predict":
        return [*words, "--face", "whole"]  # no detector may be installed
    return words


def still(clip):
    """The first frame of a clip as a file: a still is its own face, and no detector may be installed."""
    with av.open(str(clip)) as file:
        frame = next(file.decode(video=0))
    frame.to_image().save(clip.with_suffix(".png"))
    return clip.with_suffix(".png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained run and the files that the pages speak of."""
    place = tmp_path_factory.mktemp("readme")
    run(["fit", "recipes/emo_llama.yaml", *SMALL], place)
    last = (place / "runs" / "last").resolve()
    for name in "ab":
        shutil.copytree(last, place / "runs" / name)
    run(["data", "puppets", "--count", "14", "--out", "made"], place)
    made = sorted((place / "made").rglob("*.mp4"))
    shutil.copy(made[0], place / "clip.mp4")
    words = ["happy", "sad"]
    for name, media in (("clips.csv", [still(clip) for clip in made]), ("speech.csv", made)):
        rows = [f"{path},{words[i % 2]},{('train', 'test')[i // 2 % 2]}" for i, path in enumerate(media)]
        (place / name).write_text("path,label,split\n" + "\n".join(rows) + "\n")
    for name in ("answers.csv", "truth.csv"):
        (place / name).write_text("id,label\n" + "".join(f"c{i},{words[i % 2]}\n" for i in range(6)))
    return place


@pytest.mark.parametrize("line", [*lines("README.md"), *lines("docs/recipes.md")])
def test_command_runs(line, folder):
    words = shlex.split(line)[1:]
    if words[0] in ELSEWHERE:
        pytest.skip(f"`affectkit {words[0]}` is run with files of its own in test_convert.py and test_export.py")
    last = folder / "runs" / "last"
    last.unlink()
    last.symlink_to("a")  # whatever ran before: a page's reader has the run of its first command
    assert run(smaller(words), folder).strip() or words[0] in ("predict", "fit", "data")


def test_there_are_commands():
    assert len(lines("README.md")) >= 15
