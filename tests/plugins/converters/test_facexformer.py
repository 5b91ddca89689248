"""FaceXFormer's file in: every key accounted for, nothing of it run, the result a source of the encoder."""

import json
import re

import published_files as published
import pytest
import torch
from affectkit_plugins.encoders.facexformer import Settings, affectkit_pieces
from affectkit_plugins.encoders.facexformer_net import TASKS, FaceXFormer, Narrow
from click.testing import CliRunner
from safetensors.torch import load_file
from step_checks import close, reference

from affectkit.commands.convert import command as convert_command
from affectkit.errors import InputError
from affectkit.interop.contract import Importer, Network, find_converter
from affectkit.pieces import Shape
from affectkit.recipe.marked_yaml import parse
from affectkit.registry import Registry

REGISTRY = Registry.load()
ENCODER = affectkit_pieces()[0]
INPUTS = {"pixels": Shape("pixels", 3)}
SMALL = {"channels": 32, "depths": (1, 2, 1, 1), "window": 4, "width": 32, "layers": 3, "hidden": 24}


def reader(heads=4):
    return find_converter(REGISTRY, "facexformer", Network, [f"heads={heads}"])[1]


def network(**sizes):
    torch.manual_seed(2)
    return FaceXFormer(Settings(**{**SMALL, "heads": 4, **sizes})).eval()


def training_state(path, state):
    """A file as the published one is thought to be: a whole training state, a second network's weights in it."""
    other = {"weight": torch.zeros(3, 4)}
    optimiser = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    steps = {"state_optimizer": optimiser, "state_lr_scheduler": {"last_epoch": 3}, "epoch": 12, "global_step": 99}
    torch.save({"state_dict_backbone": state, "state_dict_other": other, **steps}, path)
    return path


def full_size():
    """The names of the full network, without memory."""
    with torch.device("meta"):
        return FaceXFormer(Settings()).state_dict()


# -- the account ----------------------------------------------------------------------------------------------------


@published.needs_reference
def test_every_published_key_is_one_of_the_network():
    """Each row of the list names keys by a pattern, which may fit more, with their shape and number."""
    mine, seen = full_size(), 0
    for line in (published.REFERENCE / "checkpoint_keys" / "keys_facexformer.tsv").read_text().splitlines():
        if line.startswith("TOTAL"):
            continue
        pattern, shape, kind, number = line.split("\t")
        sizes = [int(n) for n in re.findall(r"\d+", shape)]
        names = {n for n in published.spread(pattern) if n in mine and list(mine[n].shape) == sizes}
        assert len(names) == int(number.strip().removeprefix("x")), pattern
        assert {str(mine[n].dtype) for n in names} == {kind.strip()}
        seen += len(names)
    assert seen == 505


def test_the_published_sizes_are_told_from_the_weights():
    state = full_size()
    converter = reader(heads=8)
    found = converter.read(state)
    assert (len(found.taken), len(found.unused)) == (505, 0)
    assert sum(value.numel() for value in found.weights.values()) == 92_043_823
    assert converter.block(found) == {"use": "facexformer"}


def test_other_sizes_are_part_of_the_step():
    converter = reader()
    block = converter.block(converter.read(network().state_dict()))
    assert block == {"use": "facexformer", **SMALL, "depths": [1, 2, 1, 1], "heads": 4}


def test_a_key_that_nobody_knows_is_listed():
    published.lists_strangers(reader(), network().state_dict(), ["head.weight"])


def test_the_names_of_a_parallel_wrapper_are_the_same():
    state = network().state_dict()
    wrapped = reader().read({f"module.{key}": value for key, value in state.items()})
    assert wrapped.weights.keys() == state.keys()


@published.needs_reference
@published.files_but("facexformer")
def test_another_known_file_is_refused_by_its_name(keys, kind):
    with pytest.raises(InputError, match=kind):
        reader().read(published.listed(keys))


def test_a_file_that_lacks_weights_or_has_other_sizes_is_refused():
    state = network().state_dict()
    gone = {key: value for key, value in state.items() if ".age_" not in key}
    with pytest.raises(InputError, match=r"lacks 7 weights of this network: face_decoder\.age_prediction_head"):
        reader().read(gone)
    heads = {"face_decoder.race_prediction_head.layers.2.weight": torch.zeros(7, 32)}
    with pytest.raises(InputError, match="is 7 x 32 there, 5 x 32 in the network"):
        reader().read({**state, **heads})
    with pytest.raises(InputError, match="heads: 5 heads do not divide"):
        reader(heads=5).read(state)


# -- the published numbers ------------------------------------------------------------------------------------------


def test_decoder_and_heads_give_the_published_numbers(tmp_path):
    """The set has no backbone, and stage maps of widths that no Swin has; one of ours makes the file whole."""
    meta, state, inputs, outputs = reference("facexformer")
    sizes, heads = meta["config"], meta["head_sizes"]
    assert (heads["age"], heads["gender"], heads["race"]) == (8, 2, 5)
    chosen = {"width": sizes["dim"], "heads": sizes["heads"], "hidden": sizes["mlp_dim"], "layers": 2}
    rest = {key: value for key, value in state.items() if not key.startswith("linear_c.")}
    whole = {**network(**chosen).state_dict(), **rest}
    assert len(whole) == len(network(**chosen).state_dict())
    step = converted(training_state(tmp_path / "model.pt", whole), tmp_path / "out", sizes["heads"])
    model = step.frames.net.model
    narrow = torch.nn.ModuleList(Narrow(c, sizes["dim"]) for c in sizes["widths"])
    narrow.load_state_dict({k.removeprefix("linear_c."): v for k, v in state.items() if k.startswith("linear_c.")})
    model.linear_c = narrow
    strict = meta["tolerance"]["strict"]
    names = {"pose": "headpose", "attribute": "attributes"}
    with torch.no_grad():
        face = model.fuse([inputs[f"stage{i}"] for i in range(4)])
        close(face, outputs["fused_map"], strict)
        tokens, refined = model.face_decoder(face.flatten(2).transpose(1, 2), model.pe_layer(*face.shape[2:]))
        close(tokens, outputs["refined_tokens"], strict)
        close(refined, outputs["refined_map"], strict)
        close(model.face_decoder.parse(tokens, refined, face.shape[2]), outputs["segmentation"], strict)
        for task in TASKS:
            close(model.face_decoder.tell(task, tokens), outputs[names.get(task, task)], strict)


# -- the command ----------------------------------------------------------------------------------------------------


def converted(file, out, heads=4):
    """The encoder as the command says it, with the converted weights."""
    told = CliRunner().invoke(convert_command, ["facexformer", str(file), "--out", str(out), "--set", f"heads={heads}"])
    assert told.exit_code == 0, f"{told.output}\n{told.exception}"
    line = next(line for line in told.output.splitlines() if line.startswith("in a recipe: "))
    block, _, problems = parse(line.removeprefix("in a recipe: "), "the command")
    assert not problems
    assert block.pop("use") == ENCODER.name
    return ENCODER.build(
        Settings(**{**block, "depths": tuple(block.pop("depths", (2, 2, 18, 2)))}), INPUTS, None
    ).eval()


def test_the_result_is_a_source_of_the_encoder(tmp_path):
    theirs = network()
    file = training_state(tmp_path / "model.pt", theirs.state_dict())
    step = converted(file, tmp_path / "face")
    assert step.weights_origin == str(tmp_path / "face")
    ours = step.frames.net.model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.state_dict().items())
    assert sorted(p.name for p in (tmp_path / "face").iterdir()) == ["conversion.json", "model.safetensors"]
    assert load_file(tmp_path / "face" / "model.safetensors").keys() == theirs.state_dict().keys()
    about = json.loads((tmp_path / "face" / "conversion.json").read_text())
    assert about["checkpoint"]["keys"] == len(about["taken"]) == len(ours)
    assert about["block"]["source"] == str(tmp_path / "face")


def test_the_encoder_reads_the_training_state_itself(tmp_path):
    theirs = network()
    file = training_state(tmp_path / "model.pt", theirs.state_dict())
    step = ENCODER.build(Settings(**SMALL, heads=4, source=str(file)), INPUTS, None)
    pose = "face_decoder.pose_token.weight"
    assert torch.equal(step.frames.net.model.state_dict()[pose], theirs.state_dict()[pose])


def test_a_file_that_runs_code_is_refused(tmp_path):
    import subprocess

    torch.save({"state_dict_backbone": network().state_dict(), "epoch": subprocess.Popen}, tmp_path / "model.pt")
    told = CliRunner().invoke(convert_command, ["facexformer", str(tmp_path / "model.pt"), "--dry-run"])
    assert told.exit_code != 0
    assert "holds more than weights" in told.output + str(told.exception)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--dry-run"], "nothing was written"),
        (["--dry-run", "backbone.source=x"], "takes no overrides"),
        (["--out", "."], "is there already"),
    ],
)
def test_the_command_line(more, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training_state(tmp_path / "model.pt", network().state_dict())
    out = CliRunner().invoke(convert_command, ["facexformer", "model.pt", "--set", "heads=4", *more])
    assert told in out.output + str(out.exception)


def test_it_is_no_importer_of_a_whole_recipe():
    with pytest.raises(InputError, match="is no importer") as told:
        find_converter(REGISTRY, "facexformer", Importer)
    assert "affectgpt" in str(told.value)


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path, monkeypatch):
    """At full size: the recipe that names the result has the published sizes."""
    import shlex

    from affectkit.__main__ import cli

    monkeypatch.chdir(tmp_path)
    training_state(tmp_path / "model.pt", FaceXFormer(Settings()).state_dict())
    lines = published.commands("FaceXFormer in")
    assert len(lines) == 2
    for line in lines:
        words = [w.replace("recipes/paper/emo_llama.yaml", "paper/emo_llama") for w in shlex.split(line)[1:]]
        out = CliRunner().invoke(cli, words)
        assert out.exit_code == 0, f"{line}\n{out.output}\n{out.exception}"
    assert ENCODER.build(Settings(source="models/face"), INPUTS, None).weights_origin == "models/face"
