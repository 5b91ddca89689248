"""Published checkpoints in: every key accounted for, wrong files refused, the result evaluated and asked."""

import json
import re

import published_files as published
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from affectkit import weights
from affectkit.api import evaluate, load
from affectkit.commands.convert import command as convert_command
from affectkit.errors import InputError
from affectkit.interop.checkpoint import account, convert, lay_out
from affectkit.interop.contract import Importer, find_converter
from affectkit.registry import Registry

REGISTRY = Registry.load()


def importer(chosen=()):
    return find_converter(REGISTRY, "emotion-llama", Importer, chosen)[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a tiny Llama, a tiny tower and a checkpoint."""
    folder = tmp_path_factory.mktemp("published")
    published.llama(folder / "llama")
    published.eva(folder / "eva_vit_g.pth")
    published.container(folder / "Emoation_LLaMA.pth", published.emotion_llama())
    published.container(folder / "minigptv2_checkpoint.pth", published.emotion_llama(projections=1, dead=False))
    return folder


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    """The checkpoint as a run."""
    plan, made = account(importer(), "emotion_llama", files / "Emoation_LLaMA.pth", published.overrides(files))
    return convert(plan, made, tmp_path_factory.mktemp("runs") / "published", {})


# -- files of weights -----------------------------------------------------------------------------------------------


def test_a_container_with_an_optimiser_is_unwrapped(files):
    state = weights.load_state(files / "Emoation_LLaMA.pth", "model")
    assert "llama_proj.weight" in state
    assert not any("exp_avg" in name for name in state)


def test_shards_are_read_by_their_index(tmp_path):
    torch.save({"a": torch.arange(3)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    names = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    assert set(weights.load_state(tmp_path)) == {"a", "b"}
    index.write_text(json.dumps({"weight_map": {**names, "c": "pytorch_model-00001-of-00002.bin"}}))
    with pytest.raises(InputError, match="lack 1 weights that the index names: c"):
        weights.load_state(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.bin"}}))
    with pytest.raises(InputError, match="outside its folder"):
        weights.load_state(tmp_path)
    index.write_text("[]")
    with pytest.raises(InputError, match="no index of shards"):
        weights.load_state(tmp_path)


def test_weights_are_written_one_at_a_time_as_safetensors_has_them(tmp_path):
    state = {
        "a": torch.randn(3, 4).T,
        "b": torch.tensor(2.5, dtype=torch.bfloat16),
        "c": torch.empty(0, 3),
        "d": torch.arange(5),
        "e": torch.tensor([True, False]),
    }
    weights.write_state(tmp_path / "deep" / "w.safetensors", state)
    again = load_file(tmp_path / "deep" / "w.safetensors")
    assert {n: t.dtype for n, t in again.items()} == {n: t.dtype for n, t in state.items()}
    assert all(torch.equal(again[n], state[n]) for n in state)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["w.safetensors"]


# -- the account ----------------------------------------------------------------------------------------------------


@published.needs_reference
@pytest.mark.parametrize(("table", "taken", "unused"), [(True, 138, 68), (False, 138, 36)])
def test_every_published_key_is_accounted_for(table, taken, unused):
    tensors = published.listed("keys_emotion_llama_saved")
    if not table:
        tensors = {k: v for k, v in tensors.items() if not k.endswith("inv_freq")}
    assert len(tensors) == (206 if table else 174)
    found = importer().read(tensors)
    assert (len(found.taken), len(found.unused)) == (taken, unused)
    assert sum(found.weights[w].numel() for w in found.weights if "post_layernorm" not in w) == 74_993_664
    assert not any("NOT KNOWN" in why for why in found.unused.values())


@published.needs_reference
@pytest.mark.slow
def test_the_published_sizes_are_those_of_the_paper_recipe():
    plan, found, missing = lay_out(importer(), published.listed("keys_emotion_llama_saved"))
    assert not missing
    assert len(found.weights) == 140
    assert plan.backbone.settings.lora.rank == 64


@published.needs_reference
@published.files_but("emotion_llama")
def test_another_known_file_is_refused_by_its_name(keys, kind):
    with pytest.raises(InputError, match=kind):
        importer().read(published.listed(keys))


@pytest.mark.parametrize(
    ("state", "told"), [({}, "it is empty"), ({"fc.weight": torch.ones(2)}, "first keys are fc.weight")]
)
def test_an_unknown_file_is_refused_with_what_is_in_it(state, told):
    with pytest.raises(InputError, match=told):
        importer().read(state)


def test_a_key_that_nobody_knows_is_listed():
    published.lists_strangers(importer(), published.emotion_llama(), ["mystery.weight"])


def test_the_norm_is_taken_where_the_file_has_it():
    state = published.emotion_llama() | {"ln_vision.weight": torch.full((24,), 2.0), "ln_vision.bias": torch.ones(24)}
    found = importer().read(state)
    assert not found.assumed
    assert found.weights["patches.encoder.net.model.post_layernorm.weight"][0] == 2
    without = importer().read(published.emotion_llama())
    assert len(without.assumed) == 2
    assert without.weights["patches.encoder.net.model.post_layernorm.weight"].tolist() == [1.0] * 24


def test_sizes_that_do_not_meet_are_told(files):
    small = [o for o in published.overrides(files) if "rank" not in o]
    with pytest.raises(InputError, match=r" is 4 x 32 there, 64 x 32 by the recipe's sizes") as told:
        account(importer(), "emotion_llama", files / "Emoation_LLaMA.pth", small)
    assert "overrides" in str(told.value)


def test_a_file_that_runs_code_is_refused(tmp_path):
    import subprocess

    torch.save({"model": published.emotion_llama(), "config": subprocess.Popen}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match="more than weights"):
        account(importer(), "emotion_llama", tmp_path / "bad.pth")


# -- the run --------------------------------------------------------------------------------------------------------


def test_the_run_says_where_it_came_from(run, files):
    import hashlib

    about = json.loads(run.about.read_text())["imported"]
    assert about["sha256"] == hashlib.sha256((files / "Emoation_LLaMA.pth").read_bytes()).hexdigest()
    told = json.loads((run.folder / "conversion.json").read_text())
    assert told["checkpoint"]["keys"] == len(told["taken"]) + len(told["unused"])
    assert told["missing"] == {}
    assert told["taken"]["llama_proj.weight"] == "patches.projector.layers.0.weight"


def test_a_folder_that_is_in_use_is_not_overwritten(run, files):
    plan, made = account(importer(), "emotion_llama", files / "Emoation_LLaMA.pth", published.overrides(files))
    with pytest.raises(InputError, match="there already"):
        convert(plan, made, run.folder, {})


def test_the_weights_are_those_of_the_file(run, files):
    loaded = load(run.folder)
    state = published.emotion_llama()
    model = loaded.model.state_dict()
    for name, ours in {"llama_proj": "patches", "feats_llama_proj1": "face", "feats_llama_proj2": "motion",
                       "feats_llama_proj3": "audio", "cls_tk_llama_proj": "cls"}.items():  # fmt: skip
        for kind in ("weight", "bias"):
            assert torch.equal(model[f"steps.built.{ours}__projector.layers.0.{kind}"], state[f"{name}.{kind}"])
    lora = [n for n in model if "lora_" in n]
    assert len(lora) == 8
    at = f"{published.LLM}.1.self_attn.v_proj"
    theirs = state[f"{at}.lora_B.weight"]
    assert any(torch.equal(model[n], theirs) for n in lora if "layers.1" in n and "v_proj.lora_B" in n)
    tower = model["steps.built.patches__encoder.net.model.embeddings.class_embedding"]
    assert torch.equal(tower, torch.load(files / "eva_vit_g.pth")["cls_token"])
    assert loaded.model.backbone.lm.peft_config["default"].lora_alpha == 2


def test_it_is_not_asked_as_a_model_with_more_layers(run, files, tmp_path):
    taller = tmp_path / "taller"
    published.llama(taller, layers=3)
    with pytest.raises(InputError, match=r"the run holds no weights for \S*layers\.2\S*lora_A\S* \(4 in all\)"):
        load(run.folder, [f"backbone.source={taller}", "backbone.layers=3"])


def test_it_is_asked_about_a_clip_and_evaluated(run):
    from affectkit.commands.predict import command as predict

    loaded = load(run.folder)
    samples = loaded.plan.data.piece.build(loaded.plan.data.settings, "test")
    out = CliRunner().invoke(predict, [str(run.folder), str(samples[0].video), "--face", "whole", "--json", "--reason"])
    assert out.exit_code == 0, out.output
    answer = json.loads(out.stdout.strip().splitlines()[0])
    assert answer["label"] in loaded.labels
    evaluated = evaluate(run.folder, say=lambda _: None)
    figures = json.loads((evaluated.folder / "metrics.json").read_text())["test"]
    assert figures["ledger"]["scored"] == figures["ledger"]["total"] == len(samples)
    origins = {o["address"]: o["origin"] for o in json.loads(run.about.read_text())["weights"]}
    assert origins["patches.projector"].endswith("Emoation_LLaMA.pth")
    assert origins["face.encoder"] == "random"


# -- the command ----------------------------------------------------------------------------------------------------


def test_the_command_prints_the_account_and_writes_nothing_on_a_dry_run(files, tmp_path):
    words = ["emotion-llama", str(files / "minigptv2_checkpoint.pth"), "--dry-run", *published.overrides(files)]
    out = CliRunner().invoke(convert_command, [*words, "--allow-missing", "*.projector"])
    assert out.exit_code == 0, out.output
    assert "rotary table" in out.output
    assert "llama_model.base_model.model.model.layers.*.self_attn.q" in out.output
    assert "MISSING: keeps the value that it starts with" in out.output
    assert "8 parameters that the recipe trains are not in the file" in out.output
    assert "nothing was written" in out.output


def test_the_warm_start_becomes_a_run_that_says_what_it_lacks(files, tmp_path):
    words = ["emotion_llama", str(files / "minigptv2_checkpoint.pth"), "--out", str(tmp_path / "warm")]
    allowed = [word for name in ("face", "motion", "audio", "cls") for word in ("--allow-missing", f"{name}.*")]
    out = CliRunner().invoke(convert_command, [*words, *allowed, *published.overrides(files)])
    assert out.exit_code == 0, out.output
    missing = json.loads((tmp_path / "warm" / "run.json").read_text())["imported"]["missing"]
    assert sorted({n.split(".")[2].split("__")[0] for n in missing}) == ["audio", "cls", "face", "motion"]
    told = {o["address"]: o.get("stand_in", "") for o in load(tmp_path / "warm").model.origins()}
    assert (
        "2 parameters of face.projector are not in minigptv2_checkpoint.pth and were never trained"
        in told["face.projector"]
    )
    assert not told["patches.projector"]


def _without(*parts):
    """The published checkpoint without the keys that have all of some parts."""
    return {k: v for k, v in published.emotion_llama().items() if not all(part in k for part in parts)}


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (_without("lora_B"), r"half\.pth: lacks 4 parameters of backbone\.lora, of which it has others: .*lora_B"),
        (_without("lora_", "layers.1"), r"lacks 4 parameters of backbone\.lora, of which it has others: .*layers\.1"),
        (
            _without("lora_A", "v_proj", "layers.0"),
            r"lacks 1 parameters of backbone\.lora.*layers\.0\.self_attn\.v_proj\.lora_A",
        ),
        (
            _without("llama_proj.bias"),
            r"lacks 1 parameters of \w+\.projector, of which it has others: ",
        ),
        (_without("cls_tk_llama_proj"), r"lacks 2 parameters of cls\.projector: "),
    ],
    ids=["no lora_B", "a layer without", "one matrix", "no biases", "a projector"],
)
@pytest.mark.parametrize("dry", [True, False])
def test_a_file_that_lacks_a_part_is_refused_by_what_it_lacks(files, tmp_path, state, told, dry):
    published.container(tmp_path / "half.pth", state)
    end = ["--dry-run"] if dry else ["--out", str(tmp_path / "run")]
    words = ["emotion_llama", str(tmp_path / "half.pth"), *end, *published.overrides(files)]
    out = CliRunner().invoke(convert_command, words)
    assert out.exit_code != 0
    assert re.search(told, str(out.exception)), out.exception
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.index_fill(0, torch.tensor([1]), float("nan")), r"llama_proj\.weight has 96 of 3,072 numbers that"),
        (lambda t: t.index_fill(0, torch.tensor([1]), float("-inf")), r"odd\.pth: llama_proj\.weight has 96 of 3,072 numbers"),
        (lambda t: t.to(torch.int32), r"odd\.pth: llama_proj\.weight is int32 there, float32 in the network"),
        (lambda t: t.to(torch.float8_e4m3fn), r"odd\.pth: llama_proj\.weight is float8_e4m3fn: no parameter can take that"),
        (lambda t: t.to_sparse(), r"odd\.pth: llama_proj\.weight is sparse"),
        (lambda t: t.to(torch.complex64), r"llama_proj\.weight is complex64"),
    ],
    ids=["nan", "inf", "int", "float8", "sparse", "complex"],
)  # fmt: skip
def test_values_that_are_no_weights_are_named(files, tmp_path, change, told):
    state = published.emotion_llama()
    published.container(tmp_path / "odd.pth", state | {"llama_proj.weight": change(state["llama_proj.weight"])})
    with pytest.raises(InputError, match=told):
        account(importer(), "emotion_llama", tmp_path / "odd.pth", published.overrides(files))


def test_the_file_is_named_by_its_path_where_it_is_another_kind(tmp_path):
    torch.save({"model": {"fc.weight": torch.ones(2)}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth: has no llama_proj"):
        account(importer(), "emotion_llama", tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["emotion-lama", "x.pth", "--dry-run"], "did you mean 'emotion_llama'?"),
        (["emotion-llama", "x.pth"], "--out DIR"),
        (["emotion-llama", "x.pth", "--dry-run"], "x.pth: is not there"),
        (["emotion-llama", "x.pth", "--dry-run", "--set", "vison=a.b"], "did you mean 'vision'?"),
        (["emotion-llama", "x.pth", "--dry-run", "--set", "vision=a"], "must be an address"),
        (["emotion-llama", "x.pth", "--dry-run", "--set", "vision"], "not of the form key=value"),
    ],
)
def test_mistakes_on_the_command_line_are_told(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = CliRunner().invoke(convert_command, words)
    assert out.exit_code != 0
    assert told in out.output + str(out.exception)


# -- the page -------------------------------------------------------------------------------------------------------


def more_for(words, folder):
    """What makes a command of the page one for small files: sizes, and puppets for data."""
    small = published.overrides(folder)
    if any(w.startswith("backbone.source") for w in words):
        small = [o for o in small if not o.startswith("backbone.source")]
    short = [f"stages.{stage}.{x}" for stage in ("coarse", "fine") for x in ("data=null", "epochs=1", "max_steps=1")]
    return {"convert": small, "fit": [*small, *short], "cache": [*small, *short], "predict": ["--face", "whole"]}.get(
        words[0], []
    )


@pytest.mark.slow
def test_the_commands_of_the_page_run(files, tmp_path, monkeypatch):
    import shlex
    import shutil

    from affectkit.__main__ import cli

    # those of other systems are run beside their converters
    lines = published.commands(without=("AffectGPT in", "LLaMA-VID in", "FaceXFormer in"))
    assert len(lines) >= 9
    for name in ("Emoation_LLaMA.pth", "minigptv2_checkpoint.pth", "eva_vit_g.pth"):
        shutil.copy(files / name, tmp_path / name)
    shutil.copytree(files / "llama", tmp_path / "models" / "llama")
    monkeypatch.chdir(tmp_path)
    made = load_clip()
    shutil.copy(made, tmp_path / "clip.mp4")
    for line in lines:
        words = shlex.split(line)[1:]
        words = [w.replace("recipes/paper/emotion_llama.yaml", "paper/emotion_llama") for w in words]
        out = CliRunner().invoke(cli, [*words, *more_for(words, files)])
        assert out.exit_code == 0, f"{line}\n{out.output}\n{out.exception}"
    assert len(list((tmp_path / "features").glob("*/*.npy"))) >= 3


def load_clip():
    """The path of a puppet clip."""
    from affectkit.plan.check import check

    plan = check("voice", ["data.count=12"])
    return plan.data.piece.build(plan.data.settings, "train")[0].video
