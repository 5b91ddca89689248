"""Steps that learn from the training samples before the first stage that uses them: fitted, kept, resumed, handed on."""

import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from affectkit import check, evaluate, fit, load
from affectkit.commands._show_sample import show_sample
from affectkit.errors import InputError
from affectkit.evaluation.prediction import read_predictions
from affectkit.files import read_json
from affectkit.interop.export import stream_weights

FAR = '''
"""Tokens as an encoder of another scale would give them."""

from dataclasses import dataclass

from affectkit import Piece, hookimpl


@dataclass(frozen=True)
class Settings:
    """Tokens far from 0, a few channels a thousand times as large as the others."""


def build(settings, inputs, width):
    """The module."""
    from torch import nn

    from affectkit import TokenBlock

    class Far(nn.Module):
        def forward(self, tokens):
            values = tokens.tokens + 420
            values[..., :3] *= 1000
            return {"tokens": TokenBlock.masked("tokens", values, tokens.mask)}

    return Far()


@hookimpl
def affectkit_pieces():
    return [Piece("adapter", "far", Settings, build)]
'''
RECIPE = """
name: scaled
data: {use: puppets, count: 28, size: 64, seconds: 1, fps: 8, test: 0.3}
views: {wave: {use: wave, seconds: 1}}
streams:
  audio:
    steps: {encoder: {use: log_mel, wave: wave}, far: {use: far}, scale: {use: standardise}, projector: {use: mlp}}
prompt: {use: template, parts: {audio: {use: slot, stream: audio}, ask: {use: label_question, wording: "Emotion?"}}}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
stages:
  align: {train: [streams.audio.projector], max_steps: 2, save_every: 1}
  instruct: {train: [streams.audio.projector, backbone.model], max_steps: 2}
score: {metrics: {uar: uar}, resamples: 20, yardstick: null}
run: {accelerator: cpu}
"""
SCALE = "steps.built.audio__scale."


def quiet(_):
    pass


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "far.py"
    path.write_text(FAR)
    return path


@pytest.fixture(scope="module")
def run(far, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scaled")
    return fit(RECIPE, [f"run.folder={folder}", f"run.cache={folder / 'cache'}"], [far], say=quiet)


def scale(run, stage="instruct"):
    tensors = load_file(run.weights(stage))
    return {n: tensors[SCALE + n] for n in ("mean", "spread", "fitted")}


def test_the_scale_is_that_of_the_training_split_and_lies_with_the_weights(run, far):
    loaded = load(run.folder, plugins=[far])
    block = loaded.features(loaded.samples("train"), "audio.far")
    real = block.tokens[block.mask].double()
    assert real.shape[0] > 100
    for stage in ("align", "instruct"):
        found = scale(run, stage)
        assert bool(found["fitted"])
        assert torch.allclose(found["mean"].double(), real.mean(0), rtol=1e-6, atol=0)
        assert torch.allclose(found["spread"].double(), real.std(0, correction=0), rtol=1e-5, atol=0)
    assert torch.equal(stream_weights(loaded, run)[f"{SCALE}mean"], scale(run)["mean"]), "an export has it too"
    scaled = loaded.features(loaded.samples("train"), "audio.scale")
    assert (scaled.tokens[scaled.mask].std(0, correction=0) - 1).abs().max() < 1e-2
    assert scaled.tokens[scaled.mask].mean(0).abs().max() < 1e-2


def test_the_cache_holds_what_the_encoder_gave_and_does_not_hang_on_the_split(run, far, tmp_path):
    """Another training split is another scale, and nothing is encoded for it again."""
    there = set((run.folder.parent / "cache").rglob("*.safetensors"))
    other = ["data.val=0.2", f"run.folder={tmp_path}", f"run.cache={run.folder.parent / 'cache'}"]
    again = fit(RECIPE, other, [far], say=quiet)
    assert not torch.equal(scale(again)["mean"], scale(run)["mean"])
    steps = {p.parent.name for p in there}
    assert {p.parent.name for p in (run.folder.parent / "cache").rglob("*.safetensors")} == steps
    assert len(steps) == 1


def test_asked_and_scored_again_it_answers_with_what_was_saved(run, far, tmp_path):
    loaded = load(run.folder, plugins=[far])
    before = {p.id: p for p in read_predictions(run.folder / "predictions.jsonl")}
    for made in loaded.predict(loaded.samples("test")):
        assert made.probabilities == pytest.approx(before[made.id].probabilities, abs=1e-6)
    again = evaluate(run.folder, ["score.batch=3", f"run.folder={tmp_path}"], [far], say=quiet)
    assert read_json(again.folder / "metrics.json") == read_json(run.folder / "metrics.json")


def test_a_run_that_starts_from_another_takes_its_scale(run, far, tmp_path):
    start = [f"run.start={run.folder}", "data.val=0.2", "stages.align=null", f"run.folder={tmp_path}"]
    again = fit(RECIPE, start, [far], say=quiet)
    assert torch.equal(scale(again)["mean"], scale(run)["mean"])


def test_a_run_that_was_cut_off_ends_as_it_would_have(run, far, tmp_path):
    cut = tmp_path / "cut"
    shutil.copytree(run.folder, cut)
    (cut / "stages/instruct/weights.safetensors").unlink()
    (cut / "metrics.json").unlink()
    fit("", plugins=[far], resume=cut, say=quiet)
    assert (cut / "stages/instruct/weights.safetensors").read_bytes() == run.weights("instruct").read_bytes()
    assert read_json(cut / "metrics.json") == read_json(run.folder / "metrics.json")


def test_what_was_never_fitted_is_told_and_not_taken_for_0_and_1(run, far, tmp_path):
    told = r"streams\.audio\.steps\.scale: the adapter 'standardise' .* has seen no training samples"
    with pytest.raises(InputError, match=told):
        evaluate(RECIPE, [f"run.folder={tmp_path}"], [far], say=quiet)
    cut = tmp_path / "cut"
    shutil.copytree(run.folder, cut)
    for stage in ("align", "instruct"):  # as if they were of a time before the step was there
        path = cut / "stages" / stage / "weights.safetensors"
        save_file({n: t for n, t in load_file(path).items() if not n.startswith(SCALE)}, path)
    loaded = load(cut, plugins=[far])
    with pytest.raises(InputError, match=told):
        loaded.predict(loaded.samples("test")[:1])


def test_tokens_that_dwarf_the_words_are_told_of_once(run, far, tmp_path, caplog):
    assert read_json(run.about)["scale_warnings"] == {}
    assert set(read_json(run.about)["scales"]["instruct"]) == {"audio", "words"}
    raw = fit(RECIPE, ["streams.audio.steps.scale=null", f"run.folder={tmp_path}"], [far], say=quiet)
    said = [r.getMessage() for r in caplog.records if "times as large as the words" in r.getMessage()]
    assert len(said) == 1, "two stages, one warning"
    assert said[0].startswith("stage align: the tokens of the stream audio are ")
    assert "standardise" in said[0]
    assert read_json(raw.about)["scales"]["align"]["audio"] > 1000
    assert "the tokens of the stream audio are " in (raw.folder / "report.md").read_text()


def test_an_encoder_that_trains_in_front_of_a_fitted_step_is_told_of(far, tmp_path):
    said = []
    moving = ["streams.audio.steps.far={use: mlp}", "stages.align.train=[streams.audio]", "stages.instruct=null"]
    fit(RECIPE, [*moving, f"run.folder={tmp_path}"], [far], say=said.append)
    told = "audio.far trains in front of audio.scale, which keeps what it learned of the features before that"
    assert f"stage align: {told}" in said


def test_show_fits_on_a_few_samples_and_says_so(far, tmp_path, capsys):
    path = tmp_path / "scaled.yaml"
    path.write_text(RECIPE)
    show_sample(check(path, [], [far], data=True), 0)
    told = capsys.readouterr().out
    assert "audio.scale: fitted on the first 16 training samples here" in told
    sizes = dict(re.findall(r"^ (\S+) .* ([\d.e+-]+) *$", told, re.M))
    assert float(sizes["audio.far.tokens"]) > 10_000
    assert 0.3 < float(sizes["audio.scale.tokens"]) < 3
    assert "the words of the prompt have the RMS 0.0" in told


def test_heads_that_are_fitted_read_fitted_steps(far, tmp_path):
    """A probe behind the step: its features are standardised already when it sees them."""
    alone = ["backbone=null", "prompt=null", "streams.audio.steps.projector=null", "stages.align=null"]
    head = ["heads.probe={use: linear_probe, tokens: [audio.scale], folds: 2}"]
    stage = ["stages.instruct=null", "stages.probe={train: [heads.probe], objective: heads.probe}"]
    run = fit(RECIPE, [*alone, *head, *stage, f"run.folder={tmp_path}"], [far], say=quiet)
    tensors = load_file(run.weights("probe"))
    assert bool(tensors[SCALE + "fitted"])
    mean = tensors["steps.built.heads__probe.mean_mean"]
    assert mean.abs().max() < 0.2, "pooled tokens of standardised channels lie near 0"
