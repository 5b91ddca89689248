"""A run that is killed at any moment and resumed ends with the weights and figures of an unbroken one, bit for bit."""

import hashlib
import json
import random
import signal
import time

import pytest
import tiny_run

MOMENTS = [
    ("cache", 2),  # while the cache is filled
    ("training", 2),  # mid-epoch, in the first stage
    ("training", 7),  # mid-epoch, mid-accumulation, in the second stage
    ("validation", 2),  # in validation
    ("checkpoint", 3),  # a checkpoint is written and not yet renamed
    ("before a checkpoint", 5),
    ("stage weights", 1),  # the stage is over, its weights are not written
    ("stage done", 2),  # between stages
    ("scoring", 1),  # all is trained, nothing is scored
]


def outcome(run):
    """What must be equal: weights of each stage, metrics, answers, losses."""
    files = sorted(run.glob("stages/*/*")) + [run / n for n in ("metrics.json", "predictions.jsonl", "curves.jsonl")]
    assert not [f for f in files if f.suffix in (".pt", ".tmp")]
    return {str(f.relative_to(run)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.name[0] != "."}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    recipe = tiny_run.write_recipe(folder)
    assert tiny_run.fit(recipe, [f"run.folder={folder}/runs"], cache=folder / "cache") == 0
    return outcome(folder / "runs" / "last")


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: f"{m[0]} {m[1]}")
def test_resume_is_exact(moment, unbroken, tmp_path):
    recipe = tiny_run.write_recipe(tmp_path)
    code = tiny_run.fit(recipe, [f"run.folder={tmp_path}/runs"], kill=moment, cache=tmp_path / "cache")
    assert code == -signal.SIGKILL, "the run ended before the moment came"
    run = (tmp_path / "runs" / "last").resolve()
    assert tiny_run.fit(recipe, [], resume=run) == 0
    assert outcome(run) == unbroken


@pytest.mark.slow
@pytest.mark.parametrize("moment", [("training", 2), ("training", 6)], ids=lambda m: f"{m[0]} {m[1]}")
def test_a_fitted_step_goes_on_with_what_it_measured(moment, tmp_path):
    recipe = tiny_run.write_recipe(tmp_path)
    scaled = ["streams.audio.steps.adapter={use: standardise}", "stages.lora=null"]
    assert tiny_run.fit(recipe, [*scaled, f"run.folder={tmp_path}/whole"], cache=tmp_path / "cache") == 0
    killed = tiny_run.fit(recipe, [*scaled, f"run.folder={tmp_path}/runs"], kill=moment, cache=tmp_path / "cache")
    assert killed == -signal.SIGKILL, "the run ended before the moment came"
    run = (tmp_path / "runs" / "last").resolve()
    assert tiny_run.fit(recipe, [], resume=run) == 0
    assert outcome(run) == outcome((tmp_path / "whole" / "last").resolve())


@pytest.mark.slow
@pytest.mark.parametrize(
    "share", [random.Random(f"moment {number}").uniform(0.1, 1.0) for number in range(6)], ids=range(6)
)
def test_resume_is_exact_from_any_moment(share, unbroken, tmp_path):
    """Wherever the kill falls: before the run folder, in the cache, in a stage, in the evaluation, in the report."""
    recipe = tiny_run.write_recipe(tmp_path)
    overrides = [f"run.folder={tmp_path}/runs"]
    begun = time.monotonic()
    assert tiny_run.fit(recipe, [f"run.folder={tmp_path}/whole"], cache=tmp_path / "whole cache") == 0
    seconds = share * (time.monotonic() - begun)
    tiny_run.fit(recipe, overrides, cache=tmp_path / "cache", seconds=seconds)
    last = tmp_path / "runs" / "last"
    resume = last.resolve() if last.exists() else None
    assert tiny_run.fit(recipe, overrides, resume=resume, cache=None if resume else tmp_path / "cache") == 0
    assert outcome(last.resolve()) == unbroken
    assert (last / "report.html").is_file()


@pytest.mark.slow
def test_workers_that_last_change_nothing(unbroken, tmp_path):
    """Loader processes live through all epochs of a stage, and through none of them twice: killed, resumed, the same."""
    recipe = tiny_run.write_recipe(tmp_path)
    overrides = [f"run.folder={tmp_path}/runs", "run.workers=2"]
    code = tiny_run.fit(recipe, overrides, kill=("training", 9), cache=tmp_path / "cache")
    assert code == -signal.SIGKILL, "the run ended before the moment came"
    run = (tmp_path / "runs" / "last").resolve()
    assert tiny_run.fit(recipe, [], resume=run) == 0
    assert outcome(run) == unbroken


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """Same rows a step, loss over all its tokens: DDP changes nothing but the order of a sum."""
    import torch
    from safetensors.torch import load_file

    recipe = tiny_run.write_recipe(tmp_path)
    calm = [
        "backbone.dropout=0",
        "streams.audio.steps.adapter.dropout=0",
        "score.reasons=0",
        f"run.cache={tmp_path}/cache",
    ]
    one = [
        *calm,
        f"run.folder={tmp_path}/one",
        "stages.align.batch=16",
        "stages.instruct.batch=12",
        "stages.lora.batch=16",
    ]
    halves = [
        *calm,
        f"run.folder={tmp_path}/two",
        "stages.align.batch=8",
        "stages.instruct.batch=6",
        "stages.lora.batch=8",
    ]
    assert tiny_run.fit(recipe, one) == 0
    code = tiny_run.command(["fit", str(recipe), *halves, "run.devices=2", "run.strategy=ddp"])
    assert code == 0
    for stage in ("align", "instruct", "lora"):
        first = load_file(tmp_path / "one" / "last" / "stages" / stage / "weights.safetensors")
        second = load_file(tmp_path / "two" / "last" / "stages" / stage / "weights.safetensors")
        assert first.keys() == second.keys()
        worst = max((first[k] - second[k]).abs().max().item() for k in first)
        assert worst < 1e-4, f"stage {stage}: weights differ by {worst}"
        assert any(not torch.equal(first[k], torch.zeros_like(first[k])) for k in first)
    losses = [[r["loss"] for r in _rows(tmp_path / n / "last") if r["kind"] == "val"] for n in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def _rows(run):
    return [json.loads(line) for line in (run / "curves.jsonl").read_text().splitlines()]
