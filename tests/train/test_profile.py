"""Where training time goes: seconds add up, steps are parts of their own, and nothing else changes."""

import json

import pytest
import tiny_run
import torch

from affectkit.api import train
from affectkit.plan.check import check
from affectkit.report.page import Grid
from affectkit.report.run import profile_blocks, profile_table
from affectkit.train import profile as profiling
from affectkit.train.checkpoint import read_weights
from affectkit.train.profile import BACKWARD, DATA, FORWARD, READING, REST, UPDATE, VALIDATION, Clock
from affectkit.train.run_folder import start


@pytest.fixture
def clock(monkeypatch):
    """A clock whose seconds pass where the test says so."""
    made = Clock()
    made.now = 0.0
    monkeypatch.setattr(profiling.time, "perf_counter", lambda: made.now)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return made


def test_a_part_counts_without_the_parts_inside_it(clock):
    for name, seconds in [
        ("run_training_epoch", 1), ("[Strategy]X.training_step", 2), ("part: scene.miner", 4), (None, 8), (None, 0),
        ("[LightningModule]Training.optimizer_step", 16), ("[Strategy]X.backward", 32), ("[Callback]Y.on_after_backward", 64),
        (None, 0), (None, 0), (None, 0), ("[Loop].train_dataloader_next", 128), (None, 0), (None, 0),
    ]:  # fmt: skip
        clock.start(name) if name else clock.stop("")
        clock.now += seconds
    assert clock.seconds == {
        REST: 1, FORWARD: 2 + 8, "scene.miner": 4, UPDATE: 16, BACKWARD: 32 + 64, DATA: 128
    }  # fmt: skip
    assert clock.open == []


def test_what_happens_in_validation_is_validation_except_the_steps(clock):
    for name in ("[Loop].validation_step", "[Callback]Y.anything", "part: face.projector"):
        clock.start(name)
        clock.now += 1
    for name in ("c", "b", "a"):
        clock.stop(name)
    clock.now += 9  # nothing is open
    clock.start("[LightningModule]Training.setup")
    clock.now += 1
    clock.stop("")
    assert clock.seconds == {VALIDATION: 2, "face.projector": 1, READING: 1}


def profiled(tmp_path, name, *overrides):
    folder = tmp_path / name
    folder.mkdir()
    words = ["data.count=28", "data.size=48", f"run.folder={folder}", "stages.align=null", "stages.lora=null"]
    plan = check(tiny_run.write_recipe(folder), [*words, f"run.cache={folder}/cache", *overrides])
    run = start(plan)
    model = train(plan, run, lambda line: None)
    return run, model, json.loads(run.about.read_text())["stages"]["instruct"]


def test_a_profiled_run_tells_its_parts_and_learns_the_same(tmp_path):
    run, model, about = profiled(tmp_path, "with", "run.profile=true")
    plain, _, without = profiled(tmp_path, "without")
    told = about["profile"]
    assert "profile" not in without
    assert {"audio.encoder", READING} <= told["before"].keys()
    assert {"audio.adapter", "audio.projector", FORWARD, BACKWARD, UPDATE, DATA} <= told["training"].keys()
    assert "audio.encoder" not in told["training"], "its features were kept"
    assert all(seconds >= 0 for part in ("before", "training") for seconds in told[part].values())
    assert sum(told["before"].values()) + sum(told["training"].values()) <= about["seconds"]
    assert told["samples"] > 0
    assert told["samples_per_second"] > 0
    assert told["most_bytes"]["process"] > 1e8
    hooks = [h for m in model.modules() for h in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    assert not [h for h in hooks if getattr(getattr(h, "func", None), "__module__", "") == "affectkit.train.profile"]
    mine, theirs = read_weights(run.weights("instruct")), read_weights(plain.weights("instruct"))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_steps_whose_features_are_not_kept_count_in_training(tmp_path):
    _, _, about = profiled(tmp_path, "none", "run.profile=true", "streams.audio.cache=none")
    assert "audio.encoder" in about["profile"]["training"]


def test_the_table_has_a_column_for_each_stage_and_says_nothing_where_nothing_was_measured():
    one = {"before": {}, "training": {"backward": 3.0, "optimizer": 1.0}, "samples_per_second": 12.34}
    two = {"before": {READING: 2.0}, "training": {"backward": 1.0}, "samples_per_second": None}
    held = [{"most_bytes": {"process": 2e9}}, {"most_bytes": {"gpu": 3e9}}]
    stages = {"a": {"profile": one | held[0]}, "b": {"profile": two | held[1]}, "c": {"seconds": 3}}
    head, rows = profile_table({"stages": stages})
    assert head == ("", "part", "a", "b")
    assert rows == [
        ("before training", READING, "–", "2.0 s, 100%"),
        ("training", "backward", "3.0 s, 75%", "1.0 s, 100%"),
        ("training", "optimizer", "1.0 s, 25%", "–"),
        ("", "samples a second", "12.3", "–"),
        ("", "memory of the process, at most", "2.00 GB", "–"),
        ("", "GPU memory, at most", "–", "3.00 GB"),
    ]
    assert any(isinstance(block, Grid) for block in profile_blocks({"stages": stages}))
    assert not list(profile_blocks({"stages": {"c": {"seconds": 3}}}))
