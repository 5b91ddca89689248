"""Heads in whole runs: trained alone and beside an LLM, fitted, loaded, asked, and cut off."""

import pytest

from affectkit import InputError, check, evaluate, fit, load
from affectkit.errors import Problem
from affectkit.evaluation import yardstick
from affectkit.evaluation.calibration import temperature_of
from affectkit.evaluation.prediction import read_predictions
from affectkit.evaluation.score import read_metrics
from affectkit.files import read_json
from affectkit.train.run_folder import saved_targets

HEADS = """
name: heads
data: {use: puppets, count: 42, test: 0.3}
views:
  wave: {use: wave, seconds: 2}
streams:
  audio: {steps: {encoder: {use: log_mel, wave: wave}, adapter: {use: mean}}}
backbone: null
heads:
  voice: {use: classifier, tokens: [audio.adapter], dropout: 0.0}
  probe: {use: linear_probe, tokens: [audio.adapter], folds: 2}
stages:
  voice: {train: [heads.voice], objective: heads.voice, epochs: 2, batch: 8, lr: 0.01, save_every: 1}
  probe: {train: [heads.probe], objective: heads.probe}
score: {metrics: {uar: uar, war: war}, resamples: 20}
run: {accelerator: cpu}
"""
LLM = """
name: llm
data: {use: puppets, count: 42, test: 0.3}
views:
  wave: {use: wave, seconds: 2}
streams:
  audio: {steps: {encoder: {use: log_mel, wave: wave}, adapter: {use: mean}, projector: {use: mlp}}}
prompt: {use: template, parts: {audio: {use: slot, stream: audio}, ask: {use: label_question, wording: "Emotion?"}}}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
heads:
  voice: {use: classifier, tokens: [audio.adapter]}
stages:
  align: {train: [streams.audio.projector, backbone.model], epochs: 1, max_steps: 2}
  voice: {train: [heads.voice], objective: heads.voice, max_steps: 2}
score: {metrics: {uar: uar, war: war}, resamples: 20}
run: {accelerator: cpu}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    return fit(HEADS, [f"run.folder={folder}", f"run.cache={folder / 'cache'}"], say=lambda _: None)


def test_a_recipe_of_heads_alone_trains_scores_and_loads(run):
    figures = read_metrics(run.folder)["test"]
    assert figures.ledger.scored == figures.ledger.total == 13
    probe = figures.others["probe"]
    assert set(probe.metrics) == set(probe.apart) == {"uar", "war"}
    assert "yardstick" not in figures.others
    loaded = load(run.folder)
    assert loaded.labels == saved_targets(run)["voice"].labels
    samples = loaded.samples("test")[:3]
    made = loaded.predict(samples)
    before = {p.id: p for p in read_predictions(run.folder / "predictions.jsonl")}
    assert [p.label for p in made] == [before[p.id].label for p in made]
    assert all(abs(sum(p.probabilities.values()) - 1) < 1e-9 for p in made)


def test_the_temperature_is_fitted_on_validation_answers_alone(run, tmp_path):
    found = read_metrics(run.folder)["test"].reliability
    heat, asked = found.temperature, read_predictions(run.folder / "predictions-calibration.jsonl")
    assert (heat.split, heat.count, {p.split for p in asked}) == ("val", len(asked), {"val"})
    assert heat.nll_after <= heat.nll_before
    assert heat.figures.keys() == found.figures.keys()
    again = temperature_of(asked, read_predictions(run.folder / "predictions.jsonl"), found_labels(run), resamples=20)
    assert again.value == heat.value
    assert "at temperature" in (run.folder / "report.md").read_text()
    said = []
    own = [f"run.folder={tmp_path}", "score.splits=[test,val]"]
    both = read_metrics(evaluate(run.folder, own, say=said.append).folder)
    assert both["test"].reliability.temperature.value == heat.value
    assert both["val"].reliability.temperature is None  # it would be fitted on what is scored
    assert not list(tmp_path.glob("*/predictions-calibration.jsonl"))
    said.clear()
    bare = evaluate(run.folder, [f"run.folder={tmp_path}", "score.calibrate=''"], say=said.append)
    assert read_metrics(bare.folder)["test"].reliability.temperature is None
    assert said == []
    with pytest.raises(InputError, match="unknown split to fit a temperature on 'vall'"):
        check(bare.recipe, ["score.calibrate=vall"], data=True)


def found_labels(run):
    return read_metrics(run.folder)["test"].labels


def test_the_method_chooses_who_answers(run, tmp_path):
    other = evaluate(run.folder, ["score.method=probe", f"run.folder={tmp_path}"], say=lambda _: None)
    one, two = (read_metrics(folder)["test"] for folder in (run.folder, other.folder))
    assert two.metrics["uar"].value == one.others["probe"].metrics["uar"].value
    assert set(two.others) == {"voice"}


def test_a_fitted_head_is_the_same_each_time_and_is_resumed_whole(run, tmp_path):
    again = fit(HEADS, [f"run.folder={tmp_path}", f"run.cache={run.folder.parent / 'cache'}"], say=lambda _: None)
    for stage in ("voice", "probe"):
        assert again.weights(stage).read_bytes() == run.weights(stage).read_bytes()
    again.weights("probe").unlink()
    (again.folder / "metrics.json").unlink()
    fit("", resume=again.folder, say=lambda _: None)
    assert again.weights("probe").read_bytes() == run.weights("probe").read_bytes()
    assert read_json(again.folder / "metrics.json") == read_json(run.folder / "metrics.json")


def test_beside_an_llm_heads_and_the_yardstick_are_shown_with_paired_differences(tmp_path):
    folders = [f"run.folder={tmp_path}", f"run.cache={tmp_path / 'cache'}"]
    made = fit(LLM, folders, say=lambda _: None)
    figures = read_metrics(made.folder)["test"]
    assert list(figures.others) == ["yardstick", "voice"]
    yard = figures.others["yardstick"]
    ours, theirs = (
        read_predictions(made.folder / n) for n in ("predictions.jsonl", "predictions-label-yardstick.jsonl")
    )
    assert [p.id for p in theirs] == [p.id for p in ours if p.task == "label"]
    assert yard.about.startswith("linear_probe on audio.adapter.")
    assert yard.apart["uar"].second == figures.metrics["uar"].value
    assert yard.apart["uar"].first == yard.metrics["uar"].value
    page = (made.folder / "report.html").read_text()
    assert "Beside heads on the same samples" in page
    bare = evaluate(made.folder, ["score.yardstick=null", f"run.folder={tmp_path}"], say=lambda _: None)
    assert list(read_metrics(bare.folder)["test"].others) == ["voice"]


def test_a_yardstick_that_cannot_be_had_costs_no_figure(tmp_path, monkeypatch):
    def gone(*_):
        raise InputError(Problem("data", "the training data is not here any more"))

    monkeypatch.setattr(yardstick, "open_splits", gone)
    said = []
    made = fit(
        LLM,
        [f"run.folder={tmp_path}", f"run.cache={tmp_path / 'cache'}", "heads=null", "stages.voice=null"],
        say=said.append,
    )
    assert "no yardstick: data: the training data is not here any more" in said
    assert read_metrics(made.folder)["test"].metrics["uar"].value is not None
