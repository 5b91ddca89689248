"""The text encoder against transformers' own, from a folder that is saved here."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from affectkit_plugins.encoders.sentence_encoder import Settings, build, prepare
from transformers import BertConfig, BertModel, BertTokenizer

from affectkit import weights
from affectkit.blocks import ViewBlock
from affectkit.errors import InputError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "i", "am", "so", "happy", "sad", "today", "##ly", "!"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bert")
    (path / "words.txt").write_text("\n".join(WORDS))
    BertTokenizer(str(path / "words.txt")).save_pretrained(path)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(path)
    return str(path)


def batch(settings, texts):
    """The view block of texts, as the frame makes it."""
    ids = [prepare(settings, "text", text) for text in texts]
    values = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
    mask = torch.zeros(values.shape, dtype=torch.bool)
    for i, one in enumerate(ids):
        values[i, : len(one)], mask[i, : len(one)] = torch.from_numpy(one), True
    return ViewBlock("text", values, mask)


def test_tokens_equal_those_of_transformers_text_by_text(folder):
    texts = ["I am happy today!", "sad", "", "so so happy"]
    settings = Settings(folder, pool="none")
    with torch.no_grad():
        block = build(settings, {}, None).eval()(batch(settings, texts))["tokens"]
        theirs = BertModel.from_pretrained(folder).eval()
        words = BertTokenizer.from_pretrained(folder)
        for i, text in enumerate(texts):
            assert block.mask[i].sum() == (len(words(text)["input_ids"]) if text else 0)
            if text:
                expected = theirs(**words(text, return_tensors="pt")).last_hidden_state[0]
                torch.testing.assert_close(block.tokens[i, 0, : len(expected)], expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("unit", [False, True])
def test_the_pooled_token_is_the_mean_of_all(folder, unit):
    texts = ["I am happy today!", "", "sad"]
    alone, pooled = Settings(folder, pool="none"), Settings(folder, unit=unit)
    with torch.no_grad():
        tokens = build(alone, {}, None).eval()(batch(alone, texts))["tokens"]
        found = build(pooled, {}, None).eval()(batch(pooled, texts))["pooled"]
    for i in (0, 2):
        mean = tokens.tokens[i, 0][tokens.mask[i, 0]].mean(0)
        expected = mean / mean.norm() if unit else mean
        torch.testing.assert_close(found.tokens[i, 0, 0], expected, atol=2e-6, rtol=1e-5)
    assert found.mask.flatten().tolist() == [True, False, True]
    assert not found.tokens[1].any()


def test_a_long_text_keeps_its_end_and_what_opens_it(folder):
    ids = prepare(Settings(folder, most=4), "text", "I am so happy today !")
    assert [WORDS[i] for i in ids] == ["[CLS]", "today", "!", "[SEP]"]


def test_random_weights_want_no_hub():
    settings = Settings("nobody/nothing")
    with weights.using("random"):
        assert len(prepare(settings, "text", "so happy")) == len(prepare(Settings(), "text", "so happy"))


def test_more_tokens_than_the_network_has_places_for_are_refused(folder):
    (told,) = Settings(source=str(folder), most=100_000).problems()
    assert told[0] == "most"
    assert "places for tokens, got 100000" in told[1]


def test_words_without_a_source_are_numbered_by_their_hash():
    settings = Settings(vocab=50)
    first, second = prepare(settings, "text", "So sad"), prepare(settings, "text", "so happy")
    assert first[1] == second[1]
    assert first.max() < 50
    assert not len(prepare(settings, "text", " "))


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    BertModel(BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)).save_pretrained(
        tmp_path
    )
    with pytest.raises(InputError, match="tokenizer"):
        prepare(Settings(str(tmp_path)), "text", "sad")


def test_sizes_that_the_checkpoint_does_not_have_are_told(folder):
    with pytest.raises(InputError, match="layers"):
        build(Settings(folder, layers=3), {}, None)


def test_minilm_finds_the_nearest_feeling(small):
    settings = Settings(str(small("minilm")), unit=True)
    texts = ["happy", "furious", "afraid", "joyful", "angry", "terrified"]
    with torch.no_grad():
        pooled = build(settings, {}, None).eval()(batch(settings, texts))["pooled"].tokens[:, 0, 0]
    nearest = np.asarray(pooled[:3] @ pooled[3:].T).argmax(1)
    assert nearest.tolist() == [0, 1, 2]


def test_a_language_model_is_no_text_encoder(folder, tmp_path):
    for file in Path(folder).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    assert Settings(str(tmp_path)).problems() == []
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}))
    ((name, what),) = Settings(str(tmp_path)).problems()
    assert name == "source"
    assert "is a language model (LlamaForCausalLM), no text encoder" in what
    with pytest.raises(InputError, match="is a language model"):
        build(Settings(str(tmp_path)), {}, None)
    with weights.using("random"):
        assert Settings(str(tmp_path)).problems() == []
    (tmp_path / "modules.json").write_text("[]")  # sentence-transformers made a text encoder of it
    assert Settings(str(tmp_path)).problems() == []
