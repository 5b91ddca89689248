"""LLaMA-VID's shards in: every key accounted for, the published numbers of tower and aggregator, a run to start from."""

import json

import parity_context
import published_files as published
import published_llama_vid as small
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from step_checks import reference

from affectkit import weights
from affectkit.api import evaluate, fit, load
from affectkit.commands.convert import command as convert_command
from affectkit.errors import InputError
from affectkit.interop.checkpoint import account, lay_out
from affectkit.interop.contract import Importer, find_converter
from affectkit.model.model import build
from affectkit.registry import Registry
from affectkit.train.checkpoint import load_weights

REGISTRY = Registry.load()


def importer(*chosen):
    return find_converter(REGISTRY, "llama-vid", Importer, chosen)[1]


def close(got, want, tolerance):
    assert got.shape == want.shape
    difference = float((got.detach().double() - want.double()).abs().max() / want.double().abs().max())
    print(f"{difference:.2e}")
    assert difference <= tolerance


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a tiny Llama and the shards of a tiny LLaMA-VID."""
    folder = tmp_path_factory.mktemp("llama_vid")
    published.llama(folder / "llama")
    small.shards(folder / "shards", small.checkpoint())
    small.bert(folder / "bert")
    return folder


# -- the account ----------------------------------------------------------------------------------------------------


@published.needs_reference
@pytest.mark.parametrize(("table", "unused"), [(True, 33), (False, 1)])
def test_every_published_key_is_accounted_for(table, unused):
    tensors = published.listed("keys_llamavid_7b")
    if not table:
        tensors = {key: value for key, value in tensors.items() if not key.endswith("inv_freq")}
    assert len(tensors) == (665 if table else 633)
    found = importer().read(tensors)
    assert (len(found.taken), len(found.unused), len(found.weights)) == (632, unused, 632)
    assert all("constant" in why for why in found.unused.values())


@published.needs_reference
@pytest.mark.slow
def test_the_published_sizes_are_those_of_the_paper_recipe():
    _, found, missing = lay_out(importer(), published.listed("keys_llamavid_7b"))
    assert len(found.weights) == 632
    lacking = {"lora" if "lora_" in name else ".".join(name.split(".")[2:3]) for name in missing}
    assert lacking == {"lora", "scene__miner", "face__projector"}, "what EMO-LLaMA adds, and nothing else"


@published.needs_reference
@pytest.mark.slow
def test_the_published_sizes_are_those_of_the_base_alone():
    _, found, missing = lay_out(importer("adapted=[]"), published.listed("keys_llamavid_7b"), small.BASE)
    assert len(found.weights) == 632
    assert not missing


@published.needs_reference
def test_pretrained_projectors_have_no_language_model():
    whole = published.listed("keys_llamavid_7b")
    tensors = {key: value for key, value in whole.items() if "vlm_att" in key or "mm_projector" in key}
    found = importer().read(tensors)
    assert not any(ours.startswith("backbone.") for ours in found.weights)
    assert len(found.taken) == len(tensors) - 1


@published.needs_reference
@published.files_but("llamavid")
def test_another_known_file_is_refused_by_its_name(keys, kind):
    with pytest.raises(InputError, match=kind):
        importer().read(published.listed(keys))


def test_files_that_are_none_are_refused_with_what_is_in_them():
    with pytest.raises(InputError, match="it is empty"):
        importer().read({})
    with pytest.raises(InputError, match="a language model of transformers"):
        importer().read(small.language())
    plain = {key: value for key, value in small.checkpoint().items() if "vlm_att" not in key}
    with pytest.raises(InputError, match="a LLaVA model without the context attention"):
        importer().read(plain)
    with pytest.raises(InputError, match="its vision tower is another"):
        importer().read(small.checkpoint() | {"model.vlm_att_bert_proj.weight": torch.ones(2, 2)})


def test_a_key_that_nobody_knows_is_listed():
    strange = ("model.mystery.weight", "model.vlm_att_encoder.bert.pooler.weight", "model.mm_projector.5.weight")
    published.lists_strangers(importer(), small.checkpoint(), strange)


def test_weights_below_an_adapter_have_their_own_name(files):
    found = importer("adapted=[q_proj]").read(small.checkpoint())
    at = "backbone.lm.base_model.model.model.layers.1.self_attn"
    assert f"{at}.q_proj.base_layer.weight" in found.weights
    assert f"{at}.k_proj.weight" in found.weights
    with pytest.raises(InputError, match=r"the recipe's model has no backbone\.lm\.lm_head\.weight"):
        account(importer("adapted=[]"), "llama_vid", files / "shards", small.overrides(files / "llama"))


def tower(state):
    return {f"model.vision_tower.vision_tower.{key}": value for key, value in state.items()}


def test_a_copy_of_the_tower_is_left_unless_it_is_asked_for(tmp_path):
    state = tower(torch.load(published.eva(tmp_path / "eva.pth")))
    left = importer().read(small.checkpoint() | state)
    assert state.keys() <= left.unused.keys()
    assert not left.overrides
    taken = importer("tower=take", "tower_layers=2").read(small.checkpoint() | state)
    assert taken.overrides == ("streams.scene.steps.encoder.source=",)
    unused = {key for key in taken.unused if "vision_tower" in key}
    assert unused
    assert all(".blocks.2." in key for key in unused), "the published file has a block that nothing uses"
    assert not any("NOT KNOWN" in why for why in taken.unused.values())


# -- the published numbers ------------------------------------------------------------------------------------------


def built(state, own, *chosen):
    """A model by the recipe with the weights in it."""
    plan, found, _ = lay_out(importer(*chosen), state, own)
    model, _ = build(plan, lambda: ())
    model.eval()
    assert found.weights.keys() <= model.state_dict().keys()
    load_weights(model, found.weights)
    return model


@pytest.mark.parametrize("grid", ["as saved", "larger"])
def test_the_tower_gives_the_published_features(files, grid):
    meta, state, inputs, outputs = reference("eva_vit")
    sizes, large = meta["config"], grid == "larger"
    side = sizes["img_size" if large else "ckpt_img"]
    if large:  # a model for larger images is saved with its positions interpolated
        state = state | {"pos_embed": outputs["pos_embed_interpolated"]}
    chosen = {
        "size": side,
        "trained_size": sizes["ckpt_img"],
        "patch": sizes["patch_size"],
        "width": sizes["embed_dim"],
        "layers": sizes["depth"],
        "heads": sizes["num_heads"],
        "hidden": meta["mlp_width"],
    }
    assert sizes["embed_dim"] == small.VISION, "the aggregator beside it has this width"
    own = [*small.overrides(files / "llama"), *(f"streams.scene.steps.encoder.{k}={v}" for k, v in chosen.items())]
    kept = {key: value for key, value in state.items() if not key.startswith("ln_vision")}
    model = built(small.checkpoint() | tower(kept), [*own, "streams.scene.steps.miner.heads=4"], "tower=take")
    with torch.no_grad():
        got = model.steps.module("scene.encoder").net(inputs["images" if large else "images_small"])["tokens"]
    close(got, outputs["features" if large else "small_features"], meta["tolerance"]["strict"])


def sized(meta, state, folder):
    """Overrides that make the recipe one of the fixture's sizes; its language model is a table of words."""
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    config = meta["config"]
    words = len(state["model.embed_tokens.weight"])
    sizes = {"vocab_size": words, "hidden_size": config["d_llm"], "intermediate_size": 16}
    llm = LlamaConfig(**sizes, num_hidden_layers=1, num_attention_heads=2)
    LlamaForCausalLM(llm).save_pretrained(folder)
    inner = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "<unk>": 2}, "<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    side = 14 * int(config["n"] ** 0.5)
    encoder = f"size={side} trained_size={side} width={config['c_vis']} layers=1 heads=1 hidden=8"
    tokens = parity_context.sizes_of(meta, state)
    made = [o for o in small.overrides(folder) if not o.startswith("streams.scene.steps.tokens")]
    made += [f"streams.scene.steps.encoder.{setting}" for setting in encoder.split()]
    made += [f"streams.scene.steps.tokens.{name}={value}" for name, value in tokens.items()]
    return [*made, "backbone.tokenizer_mode=auto"]


@pytest.mark.parametrize("compress", ["mean", "grid:2", "none"])
def test_context_and_content_tokens_are_those_of_the_published_code(compress, tmp_path):
    meta, state, inputs, outputs = reference("llamavid_context")
    own = [*sized(meta, state, tmp_path / "llm"), f"streams.scene.steps.tokens.compress='{compress}'"]
    model = built(state, own)
    step = model.steps.module("scene.tokens")
    strict = meta["tolerance"]["strict"]
    for case, block, question in parity_context.cases(meta, inputs):
        with torch.no_grad():
            got = step(block, question)["tokens"].tokens.flatten(1, 2)
        close(got, outputs[f"{compress.replace(':', '')}.{case}.tokens"], strict)
        if compress == "mean" and case == "video0":
            close(spliced(model, inputs["splice.input_ids"], got[:1]), outputs["splice.inputs_embeds"], strict)


def spliced(model, ids, tokens):
    """Words around the tokens of a clip, which stand where the id -200 does."""
    place = int((ids[0] == -200).nonzero())
    with torch.no_grad():
        before, after = model.llm.embed(ids[:, :place]), model.llm.embed(ids[:, place + 1 :])
    return torch.cat([before, tokens, after], 1)


# -- the run --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(files):
    """The run folder and what the command printed."""
    words = ["llama-vid", str(files / "shards"), "--out", str(files / "run"), *small.overrides(files / "llama")]
    out = CliRunner().invoke(convert_command, words)
    assert out.exit_code == 0, f"{out.output}\n{out.exception}"
    return files / "run", out.output


def test_the_command_tells_what_is_left_to_train(run):
    folder, told = run
    assert "train before you ask it" in told
    missing = json.loads((folder / "run.json").read_text())["imported"]["missing"]
    assert missing
    assert all("lora_" in name or "scene__miner" in name or "face__projector" in name for name in missing)


def test_the_weights_are_those_of_the_shards(run):
    model, state = load(run[0]).model.state_dict(), small.checkpoint()
    at = "backbone.lm.base_model.model.model.layers.1"
    assert torch.equal(model[f"{at}.mlp.up_proj.base_layer.weight"], state["model.layers.1.mlp.up_proj.weight"])
    assert torch.equal(model[f"{at}.input_layernorm.weight"], state["model.layers.1.input_layernorm.weight"])
    assert torch.equal(model["backbone.lm.base_model.model.lm_head.weight"], state["lm_head.weight"])
    assert torch.equal(model["steps.built.scene__tokens.content.2.bias"], state["model.mm_projector.2.bias"])
    words = "vlm_att_encoder.bert.embeddings.word_embeddings.weight"
    ours = "steps.built.scene__tokens.qformer.model.embeddings.word_embeddings.weight"
    assert torch.equal(model[ours], state[f"model.{words}"])


def test_a_folder_with_one_file_is_read_too(tmp_path):
    save_file(small.checkpoint(), tmp_path / "model.safetensors")
    assert len(importer().read(weights.load_state(tmp_path)).taken) > 40


def test_the_base_alone_is_evaluated(files):
    words = ["llama-vid", str(files / "shards"), "--out", str(files / "base"), "--set", "adapted=[]"]
    out = CliRunner().invoke(convert_command, [*words, *small.overrides(files / "llama", base=True)])
    assert out.exit_code == 0, f"{out.output}\n{out.exception}"
    assert "MISSING" not in out.output
    evaluated = evaluate(files / "base", say=lambda _: None)
    assert json.loads((evaluated.folder / "metrics.json").read_text())["test"]["ledger"]["total"] > 0


def test_published_weights_are_not_asked_with_hashed_words(run, files, tmp_path):
    hashed = "streams.scene.steps.tokens.tokenizer="
    with pytest.raises(InputError, match="numbered by their hash") as told:
        load(run[0], [hashed])
    assert "streams.scene.steps.tokens" in str(told.value)
    assert "trained elsewhere" in str(told.value)
    own = [*small.overrides(files / "llama"), hashed, f"run.start={run[0]}", f"run.folder={tmp_path}"]
    own += ["stages.joint.data=null", "stages.joint.max_steps=1"]
    with pytest.raises(InputError, match="numbered by their hash"):
        fit("paper/emo_llama", own, say=lambda _: None)
    model = load(run[0]).model
    told = {part["address"]: part["stand_in"] for part in model.origins() if "stand_in" in part}
    assert told.keys() == {"scene.miner", "face.projector", "backbone"}
    assert all("are not in shards and were never trained" in said for said in told.values())


@pytest.mark.slow
def test_training_starts_from_it(run, files, tmp_path):
    short = ["stages.joint.data=null", "stages.joint.batch=2", "stages.joint.accumulate=1", "stages.joint.max_steps=1"]
    own = [*small.overrides(files / "llama"), *short, f"run.start={run[0]}", f"run.folder={tmp_path}"]
    said = []
    made = fit("paper/emo_llama", own, say=said.append)
    told = next(line for line in said if "starts from" in line)
    assert "backbone.model" in told
    assert "scene.tokens" in told
    state = small.checkpoint()["model.layers.0.mlp.down_proj.weight"]
    again = load(made.folder).model.state_dict()
    assert torch.equal(again["backbone.lm.base_model.model.model.layers.0.mlp.down_proj.base_layer.weight"], state)


# -- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_commands_of_the_page_run(files, tmp_path, monkeypatch):
    import shlex
    import shutil

    from affectkit.__main__ import cli

    models = tmp_path / "models"
    shutil.copytree(files / "llama", models / "llama")
    shutil.copytree(files / "shards", models / "llama-vid")
    small.bert(models / "bert")
    monkeypatch.chdir(tmp_path)
    given = ("backbone.source=", "streams.scene.steps.tokens.tokenizer=")  # the page says them
    own = [o for o in small.overrides("models/llama") if not o.startswith(given)]
    base = [o for o in small.overrides("models/llama", base=True) if not o.startswith(given)]
    short = ["stages.joint.data=null", "stages.joint.batch=2", "stages.joint.accumulate=1", "stages.joint.max_steps=1"]
    lines = published.commands("LLaMA-VID in")
    assert len(lines) == 4
    for line in lines:
        words = shlex.split(line)[1:]
        words = [w.replace("recipes/paper/emo_llama.yaml", "paper/emo_llama") for w in words]
        more = {"fit": [*own, *short], "convert": base if "runs/base" in words else own}
        out = CliRunner().invoke(cli, [*words, *more.get(words[0], [])])
        assert out.exit_code == 0, f"{line}\n{out.output}\n{out.exception}"
