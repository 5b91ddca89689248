"""AffectGPT's checkpoints in: every key accounted for, the variant told from the keys, the published numbers, a run."""

import json

import published_affectgpt as small
import published_files as published
import pytest
import torch
from affectkit_plugins.backbones.packed_attention_net import Packed
from click.testing import CliRunner
from step_checks import reference

from affectkit.api import evaluate, load
from affectkit.blocks import TokenBlock
from affectkit.commands.convert import command as convert_command
from affectkit.errors import InputError
from affectkit.interop.checkpoint import lay_out
from affectkit.interop.contract import Importer, find_converter
from affectkit.model.model import build
from affectkit.registry import Registry
from affectkit.train.checkpoint import load_weights

REGISTRY = Registry.load()
KINDS = ("attention", "qformer")


def importer(*chosen):
    return find_converter(REGISTRY, "affectgpt", Importer, chosen)[1]


# -- the account ----------------------------------------------------------------------------------------------------


@published.needs_reference
@pytest.mark.parametrize(("kind", "taken", "unused"), [("attention", 410, 2), ("qformer", 570, 5)])
def test_every_published_key_is_accounted_for(kind, taken, unused):
    tensors = published.listed(f"keys_affectgpt_{kind}_saved")
    found = importer().read(tensors)
    assert (len(found.taken), len(found.unused)) == (taken, unused)
    assert len(found.weights) == taken
    assert not any("NOT KNOWN" in why for why in found.unused.values())
    stills = {key for key, why in found.unused.items() if "still images" in why}
    assert stills == {"image_llama_proj.weight", "image_llama_proj.bias"}
    assert all("constant" in why for key, why in found.unused.items() if key not in stills)


@published.needs_reference
def test_what_is_taken_is_all_that_trained():
    found = importer().read(published.listed("keys_affectgpt_attention_saved"))
    assert sum(w.numel() for w in found.weights.values()) == 40_370_176 + 16_798_468 - 2_756_096
    assert not found.overrides


@published.needs_reference
def test_the_sizes_of_q_formers_are_told_from_the_keys():
    found = importer().read(published.listed("keys_affectgpt_qformer_saved"))
    video, audio, multi = found.overrides
    assert video.startswith("streams.face.steps.projector={use: qformer, per: clip, cross_every: 1, question: null, ")
    assert "queries: 8, hidden: 768, layers: 2, intermediate: 3072, positions: 8, heads: 12}" in audio
    assert multi.startswith(
        "streams.multi.steps.fusion={use: qformer_fusion, video: face.encoder, audio: audio.encoder"
    )
    assert "queries: 16" in multi
    assert "positions: 264" in multi


@published.needs_reference
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("attention", 410), ("qformer", 570)])
def test_the_published_sizes_are_those_of_the_paper_recipe(kind, count):
    plan, found, missing = lay_out(importer(), published.listed(f"keys_affectgpt_{kind}_saved"))
    assert not missing
    assert len(found.weights) == count
    assert plan.backbone.settings.lora.rank == 16
    assert len(plan.backbone.settings.lora.targets) == 7
    assert plan.graph.steps["face.projector"].piece.name == {"attention": "weighted_sum"}.get(kind, kind)


@published.needs_reference
@published.files_but("affectgpt")
def test_another_known_file_is_refused_by_its_name(keys, kind):
    with pytest.raises(InputError, match=kind):
        importer().read(published.listed(keys))


def test_files_that_are_none_are_refused_with_what_is_in_them():
    with pytest.raises(InputError, match="it is empty"):
        importer().read({})
    with pytest.raises(InputError, match="looks like a LoRA adapter of peft"):
        importer().read({"base_model.model.model.layers.0.q_proj.lora_A.weight": torch.ones(2)})
    first = {k: v for k, v in small.checkpoint("qformer").items() if "lora" not in k and not k.startswith("affectgpt")}
    with pytest.raises(InputError, match="AffectGPT v1"):
        importer().read(first)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_nobody_knows_is_listed(kind):
    strange = ("mystery.weight", "video_Qformer.bert.pooler.weight", "multi_other.bias")
    published.lists_strangers(importer(), small.checkpoint(kind), strange)


def test_the_names_of_a_parallel_wrapper_are_the_same():
    state = small.checkpoint("attention")
    wrapped = importer().read({f"module.{key}": value for key, value in state.items()})
    assert wrapped.weights.keys() == importer().read(state).weights.keys()


def test_each_projection_has_a_kind_of_its_own():
    state = small.checkpoint("attention")
    state = {key: value for key, value in state.items() if not key.startswith("audio_")}
    other = {key: value for key, value in small.checkpoint("qformer").items() if key.startswith("audio_")}
    found = importer().read(state | other)
    assert [text.partition("=")[0] for text in found.overrides] == ["streams.audio.steps.projector"]


def test_a_projection_by_a_plain_mean_is_refused():
    state = small.checkpoint("attention")
    with pytest.raises(InputError, match=r"projection of audio is neither by attention .* nor by Q-Former"):
        importer().read({key: value for key, value in state.items() if "audio_attention_mlp" not in key})


def test_a_q_former_without_its_table_is_refused():
    state = small.checkpoint("qformer")
    del state["multi_position_embedding.weight"]
    with pytest.raises(InputError, match=r"has multi_query_tokens and no multi_position_embedding\.weight"):
        importer().read(state)


def test_its_settings_are_looked_at():
    with pytest.raises(InputError, match="no address"):
        importer("steps.video=face")
    with pytest.raises(InputError, match="must have video, audio, multi"):
        importer("steps={video: a.b}")


# -- the published numbers ------------------------------------------------------------------------------------------


def close(got, want, tolerance):
    assert got.shape == want.shape
    difference = float((got.double() - want.double()).abs().max() / want.double().abs().max())
    print(f"{difference:.2e}")
    assert difference <= tolerance


def at_the_size_of(meta, folder):
    """Overrides that make the paper's recipe a model of a fixture's sizes, fed behind its encoders."""
    config = meta["config"]
    made = ["data.use=puppets", "data.count=12", "run.accelerator=cpu"]
    for stream, width in (("face", config["d_v"]), ("audio", config["d_a"])):
        made.append(f"views.{stream}_features={{use: features, name: {stream}, width: {width}}}")
        made.append(f"streams.{stream}.steps.encoder={{use: mean, over: tokens, tokens: {stream}_features}}")
    if config["fusion"] == "attention":
        made.append(f"streams.multi.steps.fusion.common={max(config['d_v'], config['d_a'])}")
    blank = "layers=null width=null heads=null kv_heads=null mlp=null vocabulary=null context=null dtype=float32"
    blank += " start_token= lora.rank=4 lora.alpha=32"
    return [*made, *(f"backbone.{setting}" for setting in blank.split()), f"backbone.source={folder}"]


def language_model(meta, folder):
    """A Qwen2 of the fixture's sizes (its weights come through the converter), and a tokenizer that nobody asks."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    known = meta.get("llm") or {"layers": 1, "heads": 2, "kv_heads": 1, "ffn": 32, "vocab": 96, "lora_rank": 4}
    assert known["lora_rank"] == 4
    config = Qwen2Config(
        vocab_size=known["vocab"],
        hidden_size=meta["config"]["d_llm"],
        intermediate_size=known["ffn"],
        num_hidden_layers=known["layers"],
        num_attention_heads=known["heads"],
        num_key_value_heads=known["kv_heads"],
        rms_norm_eps=known.get("rms_norm_eps", 1e-6),
        rope_theta=known.get("rope_theta", 10000.0),
        tie_word_embeddings=False,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "<unk>": 2}, "<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    return folder


def through_the_converter(kind, folder):
    """(meta, inputs, outputs, model): a model by the recipe with the fixture's weights in it."""
    meta, state, inputs, outputs = reference(f"affectgpt_{kind}")
    if kind == "qformer":  # the set has no adapters, without which a file is none of AffectGPT's
        width = meta["config"]["d_llm"]
        at = f"{small.LAYERS}.0.self_attn.q_proj"
        state = state | {
            f"{at}.lora_A.default.weight": torch.ones(4, width),
            f"{at}.lora_B.default.weight": torch.zeros(width, 4),
        }
    own = at_the_size_of(meta, language_model(meta, folder / "llm"))
    reader = importer(f"heads={meta['config']['bert']['num_attention_heads']}")
    plan, found, missing = lay_out(reader, state, own)
    assert kind == "qformer" or not missing
    assert {key for key, why in found.unused.items() if "constant" not in why} == {
        "image_llama_proj.weight",
        "image_llama_proj.bias",
    }
    model, _ = build(plan, lambda: ())
    model.eval()
    assert found.weights.keys() <= model.state_dict().keys()
    load_weights(model, found.weights)
    return meta, inputs, outputs, model


def tokens_of(model, inputs):
    """What the three projections make of the fixture's features, [b, k, w] each."""
    blocks = {}
    for part, ours in (("face", "video"), ("audio", "audio")):
        features = inputs[f"{part}_features"].unsqueeze(2)
        blocks[ours] = TokenBlock(part, features, torch.ones(features.shape[:3], dtype=torch.bool))
    with torch.no_grad():
        found = {
            "face": model.steps.module("face.projector")(blocks["video"]),
            "audio": model.steps.module("audio.projector")(blocks["audio"]),
            "multi": model.steps.module("multi.fusion")(**blocks),
        }
    return {name: block["tokens"].tokens.flatten(1, 2) for name, block in found.items()}


def spliced(model, meta, ids, tokens):
    """Embeddings of ids, with the tokens of each modality where its placeholder stands."""
    places = {name: meta["placeholder_ids"][f"<{name.capitalize()}Here>"] for name in tokens}
    plain = ids.clone()
    for place in meta["placeholder_ids"].values():
        plain[plain == place] = 0
    with torch.no_grad():
        embeds = model.llm.embed(plain)
    for name, place in places.items():
        embeds[ids == place] = tokens[name].flatten(0, 1)
    return embeds


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_those_of_the_published_code(kind, tmp_path):
    meta, inputs, outputs, model = through_the_converter(kind, tmp_path)
    tokens = tokens_of(model, inputs)
    strict = meta["tolerance"]["strict"]
    for name, ours in tokens.items():
        close(ours, outputs[f"{name}_tokens"], strict)
    close(spliced(model, meta, inputs["spliced_input_ids"], tokens), outputs["spliced_inputs_embeds"], strict)


def test_the_language_model_says_the_same(tmp_path):
    meta, inputs, outputs, model = through_the_converter("attention", tmp_path)
    tolerance = meta["tolerance"]
    embeds = spliced(model, meta, inputs["llm.input_ids"], tokens_of(model, inputs))
    close(embeds, outputs["llm.inputs_embeds"], tolerance["strict"])
    real = inputs["llm.attention_mask"].bool()
    lengths = tuple(real.sum(1).tolist())
    more = {"position_ids": torch.cat([torch.arange(n) for n in lengths])[None], "layout": Packed(lengths)}
    with torch.no_grad():
        logits = model.llm.logits(embeds[real][None], torch.arange(sum(lengths)), more)
    close(logits, outputs["llm.logits"][real], tolerance.get("exceptions", {}).get("llm.logits", tolerance["strict"]))
    # what a place predicts is the label behind it: the end token too, which is hidden as an input
    following = torch.cat([labels[1 : n + 1] for labels, n in zip(inputs["llm.labels"], lengths, strict=True)])
    loss = torch.nn.functional.cross_entropy(logits, following, ignore_index=-100)
    close(loss.reshape(1), outputs["llm.loss"], tolerance["strict"])


# -- the run --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=KINDS)
def converted(request, tmp_path_factory):
    """(kind, run folder, what the command printed)."""
    folder = tmp_path_factory.mktemp("affectgpt")
    kind = request.param
    file = published.container(folder / "checkpoint_000060_loss_0.480.pth", small.checkpoint(kind))
    words = ["affectgpt", str(file), "--out", str(folder / "run"), "--set", "heads=2"]
    out = CliRunner().invoke(convert_command, [*words, *small.overrides(small.qwen(folder / "qwen"), kind)])
    assert out.exit_code == 0, f"{out.output}\n{out.exception}"
    return kind, folder / "run", out.output


def test_the_command_tells_the_variant(converted):
    kind, _, told = converted
    assert "the projection of still images" in told
    assert "MISSING" not in told
    assert ("by the file: streams.multi.steps.fusion={use: qformer_fusion" in told) == (kind == "qformer")


def test_the_weights_are_those_of_the_file(converted):
    kind, folder, _ = converted
    state, loaded = small.checkpoint(kind), load(folder)
    model = loaded.model.state_dict()
    projection = model["steps.built.multi__fusion.projector.weight"]
    assert torch.equal(projection, state["multi_llama_proj.weight"])
    if kind == "qformer":
        assert torch.equal(model["steps.built.face__projector.qformer.queries"], state["video_query_tokens"])
    lora = [name for name in model if "lora_" in name]
    assert len(lora) == 2 * 2 * 7
    theirs = state[f"{small.LAYERS}.1.mlp.down_proj.lora_B.default.weight"]
    assert torch.equal(model["backbone.lm.base_model.model.model.layers.1.mlp.down_proj.lora_B.default.weight"], theirs)
    assert loaded.plan.backbone.settings.lora.alpha == 8


def test_it_is_evaluated_and_asked_about_a_clip(converted):
    from affectkit.commands.predict import command as predict

    _, folder, _ = converted
    evaluated = evaluate(folder, say=lambda _: None)
    ledger = json.loads((evaluated.folder / "metrics.json").read_text())["test"]["ledger"]
    assert ledger["total"] > 0
    loaded = load(folder)
    sample = loaded.plan.data.piece.build(loaded.plan.data.settings, "test")[0]
    out = CliRunner().invoke(predict, [str(folder), str(sample.video), "--face", "whole", "--json"])
    assert out.exit_code == 0, f"{out.output}\n{out.exception}"
    assert json.loads(out.stdout.strip().splitlines()[0])
    origins = {o["address"]: o["origin"] for o in json.loads((folder / "run.json").read_text())["weights"]}
    assert origins["multi.fusion"].endswith(".pth")


# -- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_commands_of_the_page_run(kind, tmp_path, monkeypatch):
    import shlex
    import shutil

    from affectkit.__main__ import cli

    published.container(tmp_path / "checkpoint_000060_loss_0.480.pth", small.checkpoint(kind))
    (tmp_path / "models").mkdir()
    small.qwen(tmp_path / "models" / "qwen")
    monkeypatch.chdir(tmp_path)
    own = [o for o in small.overrides("models/qwen", kind) if not o.startswith("backbone.source")]
    lines = published.commands("AffectGPT in")
    assert len(lines) == 4
    for line in lines:
        words = shlex.split(line)[1:]
        if words[0] == "convert":
            source = [] if "--out" in words else ["backbone.source=models/qwen"]
            words += ["--set", "heads=2", *own, *source]
        if words[0] == "predict":
            data = load("runs/affectgpt").plan.data
            shutil.copy(data.piece.build(data.settings, "test")[0].video, "clip.mp4")
            words += ["--face", "whole"]
        out = CliRunner().invoke(cli, words)
        assert out.exit_code == 0, f"{line}\n{out.output}\n{out.exception}"
