"""Sources of weights, looked at by `check` as far as the headers of their files tell."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from affectkit.errors import InputError
from affectkit.plan.check import check

RECIPE = """name: sources
data: {use: table, path: t.csv}
views: {wave: {use: wave, seconds: 2}}
streams:
  audio: {steps: {encoder: {use: hubert, wave: wave, width: 16}, projector: {use: mlp}}}
prompt: {use: template, parts: {audio: {use: slot, stream: audio}, ask: {use: label_question, wording: "Emotion?"}}}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
stages: {train: {train: [streams.audio.projector, backbone.model], max_steps: 4}}
score: {metrics: {uar: uar}}
"""
PLACES = ["backbone.source", "streams.audio.steps.encoder.source"]
STATE = {"a": torch.ones(40), "b": torch.ones(3)}


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(RECIPE)
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2})
    )
    return tmp_path / "r.yaml", folder


def told(recipe, place, source="source", *more):
    sizes = ["streams.audio.steps.encoder.width=null"] if "audio" in place else []
    try:
        check(recipe, [f"{place}={source}", *sizes, *more])
    except InputError as error:
        return "; ".join(f"{p.place}: {p.what}" for p in error.problems if "source" in p.place)
    return ""


def pointer(folder):
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def cut(folder):
    save_file(STATE, folder / "model.safetensors")
    os.truncate(folder / "model.safetensors", 120)


def cut_archive(folder):
    torch.save(STATE, folder / "pytorch_model.bin")
    os.truncate(folder / "pytorch_model.bin", 900)


def code(folder):
    torch.save({**STATE, "run": subprocess.Popen}, folder / "pytorch_model.bin")


def no_index(folder):
    save_file(STATE, folder / "model-00001-of-00002.safetensors")


def no_shard(folder):
    no_index(folder)
    names = {"a": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def not_in_shard(folder):
    no_index(folder)
    names = dict.fromkeys("abc", "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


BROKEN = {
    pointer: r"model\.safetensors is a pointer of Git LFS",
    cut: r"model\.safetensors is (cut|no safetensors file, or is cut)",
    cut_archive: r"pytorch_model\.bin is cut",
    code: r"pytorch_model\.bin holds more than weights: \w+\.Popen",
    no_index: "has 1 shards of weights .* and no index",
    no_shard: r"model-00002-of-00002\.safetensors cannot be read: No such file",
    not_in_shard: "lacks 1 weights that model.safetensors.index.json names: c",
    lambda folder: None: r"has a config\.json and no file of weights",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_a_broken_source_is_told_where_the_recipe_names_it(recipe, place, make):
    make(recipe[1])
    said = told(recipe[0], place)
    assert said.startswith(f"override '{place}=source': {place}: ")
    assert re.search(BROKEN[make], said), said
    assert not told(recipe[0], place, "source", "run.weights=random")


@pytest.mark.parametrize("place", PLACES)
def test_a_whole_source_is_not_told(recipe, place):
    save_file(STATE, recipe[1] / "model.safetensors")
    assert not told(recipe[0], place)
    torch.save({"w": torch.nn.Linear(2, 2).state_dict()}, recipe[1] / "other.bin")
    assert not told(recipe[0], place)


WORDS, LAYER = torch.ones(50, 32), torch.ones(4)
CONFIG = {"hidden_size": 32, "vocab_size": 50, "num_hidden_layers": 2}
LAYERS = {f"model.layers.{i}.mlp.experts.{j}.weight": LAYER.clone() for i in range(2) for j in range(4)}
SIZES = {
    "fewer layers": ({"model.layers.0.weight": LAYER}, {}, r"holds 1 layers \(model\.layers\), and its config\.json says 2"),
    "fewer layers beside many experts": (LAYERS, {"num_hidden_layers": 3}, "holds 2 layers .* says 3"),
    "another width": ({"model.embed_tokens.weight": WORDS}, {"hidden_size": 16}, "50 x 32, and its config.json says 50 x 16"),
    "other rows": ({"transformer.wte.weight": WORDS}, {"vocab_size": 60}, "wte.weight of 50 x 32, .* says 60 x 32"),
    "a section of its own": (
        {"language_model.model.embed_tokens.weight": WORDS}, {"text_config": {**CONFIG, "hidden_size": 64}}, "says 50 x 64"
    ),
    "as it says": ({"model.embed_tokens.weight": WORDS, **LAYERS}, {}, ""),
    "a narrow table": ({"embeddings.word_embeddings.weight": WORDS}, {"embedding_size": 32, "hidden_size": 64}, ""),
    "shared layers": ({"layer_groups.0.weight": LAYER}, {"num_hidden_groups": 1, "num_hidden_layers": 12}, ""),
    "no names that tell": ({"0.weight": LAYER, "a": torch.ones(2, 2)}, {"vocab_size": None}, ""),
}  # fmt: skip


@pytest.mark.parametrize("form", ["safetensors", "bin", "old bin", "shards"])
@pytest.mark.parametrize("case", SIZES)
def test_weights_of_other_sizes_than_their_config_says_are_told(recipe, case, form):
    state, config, said = SIZES[case]
    folder = recipe[1]
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    if form == "safetensors":
        save_file(state, folder / "model.safetensors")
    elif form == "shards":
        shard = "pytorch_model-00001-of-00001.bin"
        torch.save(state, folder / shard)
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(state, shard)}))
    else:
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "bin")
    found = told(recipe[0], PLACES[0])
    assert re.search(said, found) if said else not found, found


def test_a_file_is_looked_at_too(recipe):
    (recipe[1] / "tower.pth").write_bytes(b"<!doctype html><title>Too many requests</title>")
    said = told(recipe[0], PLACES[1], "source/tower.pth")
    assert "tower.pth is a web page" in said


def test_the_folder_of_a_clients_model_is_looked_at(recipe):
    pointer(recipe[1])
    with pytest.raises(InputError, match="pointer of Git LFS") as caught:
        check(recipe[0], ["score.metrics.clues={use: clue_overlap, client: {use: local_hf, folder: source}}"])
    assert any("client.folder" in p.place for p in caught.value.problems)


def test_it_needs_no_torch(recipe):
    code(recipe[1])
    script = (
        "import sys\nfrom affectkit.plan.check import check\nfrom affectkit.errors import InputError\n"
        "try:\n    check('r.yaml', ['backbone.source=source'])\nexcept InputError as e:\n    assert 'Popen' in str(e)\n"
        "else:\n    raise SystemExit('not told')\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=recipe[0].parent)


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("backbone.layers=1000000000", "backbone.layers: 1,000,000,000 layers cannot be built"),
        ("backbone.lora={rank: 1000000000}", "backbone.lora.rank: 1,000,000,000 as a rank cannot be built"),
        ("backbone.lora={dropout: 1.5}", "backbone.lora: dropout must be from 0 to below 1, is 1.5"),
        (
            "streams.audio.steps.encoder.layers=20000",
            "streams.audio.steps.encoder.layers: 20,000 layers cannot be built",
        ),
        ("run.workers=1000000", "run.workers: must be at most 1024: each is a process"),
        ("run.devices=1000000", "run.devices: must be at most 1024: each is a process"),
    ],
)
def test_sizes_that_nobody_builds(recipe, override, what):
    with pytest.raises(InputError) as told:
        check(recipe[0], [override])
    assert what in str(told.value)
    check(recipe[0], [override.partition("=")[0] + "=" + ("{rank: 4}" if "lora" in override else "2")])


@pytest.mark.parametrize(
    ("place", "family", "what"),
    [
        ("backbone.source", "whisper", "no language model"),
        ("backbone.source", "bert", "no language model"),
        ("streams.audio.steps.encoder.source", "whisper", "no encoder of speech"),
        ("streams.audio.steps.encoder.source", "llama", "no encoder of speech"),
    ],
)
def test_a_network_of_another_kind_shows_before_it_is_built(recipe, place, family, what):
    (recipe[1] / "config.json").write_text(json.dumps({"model_type": family, "hidden_size": 32}))
    assert f"source holds a network of the family {family}, {what}" in told(recipe[0], place)
    assert told(recipe[0], place, "source", "run.weights=random") == ""


def test_a_path_at_which_nothing_is_names_the_nearest(recipe, tmp_path):
    with pytest.raises(InputError) as wrong:
        check(recipe[0], [f"backbone.source={tmp_path}/sorce/model"])
    (problem,) = [p for p in wrong.value.problems if "sorce" in p.what]
    assert problem.fix == f"did you mean {str(tmp_path / 'source')!r}?"
    check(recipe[0], ["backbone.source=owner/model"])  # a hub id may be fetched
