"""A published language model: every weight of it comes from its source, or it is not built."""

import json
from pathlib import Path

import pytest
import torch
from affectkit_plugins.backbones.causal_lm import Lora, Settings, build, shapes
from affectkit_plugins.backbones.tokenizers_net import train
from affectkit_plugins.clients import local_hf
from safetensors.torch import load_file, save_file
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from affectkit.errors import InputError
from affectkit.evaluation.clients import Message

TINY_BERT = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
TINY_BART = {"vocab_size": 300, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llm")
    tokens = train(["happy sad angry Emotion? because"] * 3, 300)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokens.inner), tie_word_embeddings=False, **sizes)
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokens.inner.save_pretrained(folder)
    return folder


@pytest.fixture
def changed(published, tmp_path):
    """A copy of the source whose weights go through a function."""

    def make(change):
        for file in published.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        state = change(load_file(published / "model.safetensors"))
        save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
        return str(tmp_path)

    return make


def built(source):
    return build(Settings(source=source), lambda: (), None)


def test_a_whole_source_is_built_with_its_weights(published):
    model = built(str(published))
    there = load_file(published / "model.safetensors")
    assert model.weights_origin == str(published)
    torch.testing.assert_close(model.core.lm_head.weight, there["lm_head.weight"], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {f"language_model.x.{k}": v for k, v in s.items()}, r"lacks \d+ weights .* no part of the network takes"),
        (lambda s: {k: v for k, v in s.items() if "layers.1" not in k}, r"lacks 9 weights of this network \(model\.layers\.1"),
        (lambda s: {k: v for k, v in s.items() if k != "lm_head.weight"}, r"lacks 1 weights of this network \(lm_head\.weight"),
        (lambda s: {k: v[:-1].clone() if "gate" in k else v for k, v in s.items()},
         r"has 2 of another shape .*gate_proj\.weight \[63, 32\] there"),
    ],
    ids=["another prefix", "too few layers", "one missing", "another shape"],
)  # fmt: skip
def test_weights_that_would_stay_random_are_named(changed, change, said):
    with pytest.raises(InputError, match=said):
        built(changed(change))


def test_a_config_with_fewer_layers_than_the_source_is_refused(changed):
    source = changed(dict)
    config = Path(source, "config.json")
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_hidden_layers": 1}))
    with pytest.raises(InputError, match=r"has more layers than its config\.json says: .*model\.layers\.1\."):
        built(source)


def test_a_tied_head_needs_no_weights_of_its_own(changed, published):
    source = changed(lambda s: {k: v for k, v in s.items() if k != "lm_head.weight"})
    config = Path(source, "config.json")
    config.write_text(json.dumps({**json.loads(config.read_text()), "tie_word_embeddings": True}))
    assert built(source).weights_origin == source


@pytest.mark.parametrize("cut", [0, 0.5])
def test_broken_files_are_named(changed, cut):
    source = changed(dict)
    file = f"{source}/model.safetensors"
    with open(file, "rb+") as opened:
        opened.truncate(int(cut * len(opened.read())))
    with pytest.raises(InputError, match=r"model\.safetensors: is (cut|empty)"):
        built(source)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t * float("inf"), r"mlp\.up_proj\.weight has 2,048 of 2,048 numbers that are not finite"),
        (lambda t: t.to(torch.int8), r"mlp\.up_proj\.weight is I8 there"),
        (lambda t: t.to(torch.float8_e4m3fn), r"mlp\.up_proj\.weight is F8_E4M3 there"),
    ],
    ids=["infinite", "whole numbers", "float8"],
)
def test_numbers_that_are_no_weights_are_named(changed, change, said):
    with pytest.raises(InputError, match=said):
        built(
            changed(lambda s: {k: change(v) if k == "model.layers.1.mlp.up_proj.weight" else v for k, v in s.items()})
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.to(torch.int8), r"mlp\.up_proj\.weight is I8 there"),
        (lambda t: t > 0, r"mlp\.up_proj\.weight is BOOL there"),
        (lambda t: t.to(torch.float8_e4m3fn), r"mlp\.up_proj\.weight is float8_e4m3fn there"),
        (lambda t: t.to(torch.complex64), r"mlp\.up_proj\.weight is complex64 there"),
    ],
    ids=["whole numbers", "truths", "float8", "complex"],
)
def test_numbers_that_are_no_weights_are_named_in_torchs_files_too(changed, change, said):
    name = "model.layers.1.mlp.up_proj.weight"
    source = Path(changed(dict))
    state = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    torch.save(state, source / "pytorch_model.bin")
    assert built(str(source)).weights_origin == str(source)
    torch.save({**state, name: change(state[name])}, source / "pytorch_model.bin")
    with pytest.raises(InputError, match=said):
        built(str(source))


def test_the_judge_too_takes_every_weight_from_its_folder(changed):
    source = changed(lambda s: {f"language_model.{k}": v for k, v in s.items()})
    tokenizer = Path(source, "tokenizer_config.json")
    tokenizer.write_text(
        json.dumps({**json.loads(tokenizer.read_text()), "chat_template": "{{ messages[0].content }}"})
    )
    client = local_hf.build(local_hf.Settings(source))
    with pytest.raises(InputError, match=r"client\.folder: .*lacks \d+ weights of this network"):
        client.ask([Message("Hello?")])
    Path(source, "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"model\.safetensors: is empty"):
        local_hf.build(local_hf.Settings(source))


def test_the_judge_names_a_tokenizer_that_cannot_be_read(changed):
    source = changed(dict)
    Path(source, "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match="its tokenizer cannot be read"):
        local_hf.build(local_hf.Settings(source)).ask([Message("Hello?")])


@pytest.mark.parametrize("config", ["[1, 2]", '{"hidden_size": "32"}', '{"text_config": null, "n_embd": 1.5}'])
def test_a_config_of_another_kind_is_named(tmp_path, config):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match=r"config\.json: (a JSON object is wanted|says that the model is)"):
        shapes(Settings(source=str(tmp_path)), {}, None)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (("embed_tokens",), "embed_tokens is an embedding or the head"),
        (("q_proj", "model.lm_head"), "lm_head is an embedding or the head"),
    ],
)
def test_adapters_on_embeddings_are_refused_by_the_settings(targets, said):
    assert said in Settings(lora=Lora(targets=targets)).problems()[0][1]


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (
            ("input_layernorm",),
            r"input_layernorm is a layer of the kind LlamaRMSNorm \(model\.layers\.0\.input_layernorm\)",
        ),
        (("q_proj", "v_porj"), "the model has no layer named v_porj"),
        (("self_attn",), "self_attn is a layer of the kind LlamaAttention"),
        (("lm_head",), r"lm_head is the head"),
    ],
)
def test_adapters_beside_other_layers_are_refused_with_the_linear_ones(published, targets, said):
    with pytest.raises(InputError, match=said) as caught:
        build(Settings(source=str(published), lora=Lora(targets=targets)), lambda: (), None)
    assert "q_proj" in str(caught.value)
    whole = build(Settings(source=str(published), lora=Lora(targets=("q_proj", "mlp.up_proj"))), lambda: (), None)
    assert {n.split(".")[-4] for n, _ in whole.named_parameters() if "lora_A" in n} == {"q_proj", "up_proj"}


@pytest.mark.parametrize(
    ("kind", "config", "said"),
    [
        (BertForMaskedLM, BertConfig(**TINY_BERT), "bert is no language model .* what comes after a word changes"),
        (BartForConditionalGeneration, BartConfig(**TINY_BART), "bart is no language model .* an encoder of its own"),
    ],
)
def test_a_network_that_does_not_go_on_with_a_text_is_refused(published, tmp_path, capfd, kind, config, said):
    """Whole and readable, they would train: one by copying the word that it is to foretell, one on half of itself."""
    kind(config).save_pretrained(tmp_path)
    for file in published.glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    capfd.readouterr()
    with pytest.raises(InputError, match=said):
        built(str(tmp_path))
    assert "MISSING" not in capfd.readouterr().err


def test_a_folder_of_something_else_is_named_as_a_source_and_not_by_its_tokenizer(tmp_path):
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(InputError, match=r"^backbone\.source: cannot read a model from"):
        built(str(tmp_path))
