"""`run.start`: training goes on from another run's weights, keeps what it does not train, and refuses what does not fit."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_run import write_recipe

from affectkit.api import fit, load
from affectkit.errors import InputError
from affectkit.train.run_folder import Run

FAST = ("data.count=14", "data.size=64", "data.seconds=1", "data.fps=8", "score.reasons=0", "stages.instruct.epochs=1")
LORA_ALONE = (*FAST, "stages.align=null", "stages.instruct=null", "stages.lora.lr=1e-9")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A tiny run and its recipe."""
    folder = tmp_path_factory.mktemp("starting")
    recipe = write_recipe(folder)
    return recipe, fit(recipe, [*FAST, f"run.folder={folder / 'first'}"], say=lambda _: None)


def test_a_run_starts_where_another_ended(first, tmp_path):
    recipe, before = first
    said = []
    run = fit(recipe, [*LORA_ALONE, f"run.start={before.folder}", f"run.folder={tmp_path}"], say=said.append)
    was, now = (load_file(r.weights("lora")) for r in (before, run))
    assert was.keys() == now.keys(), "what was taken over is kept, though only LoRA trains"
    assert all(torch.equal(was[n], now[n]) for n in was if "lora_" not in n)
    assert any("starts from" in line and "audio.adapter" in line for line in said)
    origins = {o["address"]: o["origin"] for o in json.loads(run.about.read_text())["weights"]}
    assert origins["audio.adapter"] == f"run {before.folder.name}"
    assert (run.tokenizer / "tokenizer.json").read_text() == (before.tokenizer / "tokenizer.json").read_text()
    weights = load(run.folder).model.state_dict()
    assert all(torch.equal(weights[n], t) for n, t in now.items())


def test_without_it_a_run_starts_anew(first, tmp_path):
    recipe, before = first
    run = fit(recipe, [*LORA_ALONE, "run.seed=5", f"run.folder={tmp_path}"], say=lambda _: None)
    was, now = (load_file(r.weights("lora")) for r in (before, run))
    assert any(not torch.equal(was[n], now[n]) for n in was if "lora_" not in n)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["run.start=nowhere"], "is no run folder"),
        (["streams.audio.steps.adapter.width=16"], r"is .* in .*, .* by this recipe"),
    ],
)
def test_what_does_not_fit_is_refused(first, tmp_path, overrides, told):
    recipe, before = first
    start = [] if "run.start" in overrides[0] else [f"run.start={before.folder}"]
    with pytest.raises(InputError, match=told):
        fit(recipe, [*LORA_ALONE, *start, *overrides, f"run.folder={tmp_path}"], say=lambda _: None)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("backbone.layers=2", r"no weights for \S*layers\.1\S* .*they would be random"),
        ("streams.audio.steps.adapter.width=16", r"is .* in the run, .* with these overrides"),
    ],
)
def test_a_run_is_not_asked_as_a_model_that_it_never_trained(first, override, told):
    with pytest.raises(InputError, match=told):
        load(first[1].folder, [override])


def test_a_stream_may_be_taken_out_of_a_run(first):
    taken = ["streams.audio=null", "prompt.parts.audio=null", "stages.align=null"]
    loaded = load(first[1].folder, [*taken, "stages.instruct.train=[backbone.model]"])
    assert not list(loaded.plan.graph.steps)


CHANGES = {
    "nan": (lambda t: t * float("nan"), r"weights\.safetensors: \S+ has [\d,]+ of [\d,]+ numbers that are not finite"),
    "int": (lambda t: t.int(), r"weights\.safetensors: \S+ is int32 there, float32 in the network"),
    "float8": (lambda t: t.to(torch.float8_e5m2), r"weights\.safetensors: \S+ is F8_E5M2: no parameter can take that"),
}


@pytest.mark.parametrize("kind", [*CHANGES, "cut"])
def test_weights_that_are_none_are_named_by_file_and_tensor(first, tmp_path, kind):
    recipe, before = first
    copy = Run(shutil.copytree(before.folder, tmp_path / "odd"))
    file = copy.weights("lora")
    if kind == "cut":
        told = r"weights\.safetensors: is cut"
        file.write_bytes(file.read_bytes()[:-9])
    else:
        change, told = CHANGES[kind]
        state = load_file(file)
        name = next(n for n in state if n.startswith("steps.") and state[n].is_floating_point())
        save_file({**state, name: change(state[name])}, file)
    with pytest.raises(InputError, match=told):
        load(copy.folder)
    with pytest.raises(InputError, match=told):
        fit(recipe, [*LORA_ALONE, f"run.start={copy.folder}", f"run.folder={tmp_path}"], say=lambda _: None)


def test_a_run_that_has_a_part_of_the_model_is_no_start_for_it(first, tmp_path):
    recipe, before = first
    deeper = [*LORA_ALONE, "backbone.layers=2", f"run.start={before.folder}", f"run.folder={tmp_path}"]
    with pytest.raises(InputError, match=r"has some parameters of backbone\.(model|lora) and lacks \d+ \(.*layers\.1"):
        fit(recipe, deeper, say=lambda _: None)
