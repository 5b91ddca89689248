"""CTranslate2's Whisper in: every tensor of the binary file, and what transformers then hears and writes."""

import csv
import json
import os
import re
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from affectkit_plugins.converters.whisper_ct2 import affectkit_pieces
from affectkit_plugins.converters.whisper_ct2_net import MULTILINGUAL, Binary, _generation, packed
from click.testing import CliRunner

from affectkit.commands.convert import command as convert_command
from affectkit.errors import InputError

PIECE = affectkit_pieces()[0]
REAL = Path(os.environ.get("AFFECTKIT_REFERENCE", "../shared/reference")) / "real"


@pytest.fixture
def converter():
    return PIECE.build(PIECE.settings())


def refused(converter, path):
    with pytest.raises(InputError) as error:
        converter.open(path)
    assert len(error.value.problems) == 1
    assert error.value.problems[0].place.startswith(str(path))
    return str(error.value)


def changed(converter, folder, **more):
    """The example with other tensors; None takes one out."""
    converter.example(folder)
    binary = Binary(folder / "model.bin")
    entries = {name: value.numpy() for name, value in binary.tensors.items()} | {
        k.replace("__", "/"): v for k, v in more.items()
    }
    kept = {name: value for name, value in entries.items() if value is not None}
    (folder / "model.bin").write_bytes(packed(kept, binary.aliases))
    return folder


def test_the_folder_is_a_whisper_of_transformers(converter, tmp_path):
    from transformers import AutoTokenizer, WhisperForConditionalGeneration

    (tmp_path / "ct2").mkdir()
    source = converter.example(tmp_path / "ct2")
    run = CliRunner().invoke(convert_command, ["whisper-ct2", str(source), "--out", str(tmp_path / "out")])
    assert run.exit_code == 0, f"{run.output}\n{run.exception}"
    assert f"in a recipe: {{use: whisper, source: {tmp_path / 'out'}}}" in run.output
    net, told = WhisperForConditionalGeneration.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    there = Binary(source / "model.bin").tensors
    stacked = there["decoder/layer_0/self_attention/linear_0/weight"]
    attention = net.model.decoder.layers[0].self_attn
    ours = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
    assert torch.equal(ours, stacked.to(ours.dtype))
    assert torch.equal(
        net.model.decoder.layers[0].final_layer_norm.weight, there["decoder/layer_0/ffn/layer_norm/gamma"]
    )
    assert net.proj_out.weight is net.model.decoder.embed_tokens.weight
    assert not net.generation_config.is_multilingual
    assert AutoTokenizer.from_pretrained(tmp_path / "out").eos_token_id == 3
    about = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert len(about["taken"]) + len(about["unused"]) == about["checkpoint"]["keys"] == len(there) + 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"encoder__conv1__weight": np.zeros((64, 8, 3), np.int8)}, "is quantised: encoder/conv1/weight is int8"),
        ({"decoder__layer_0__ffn__linear_0__bias": None}, "lacks model.decoder.layers.0.fc1.bias"),
        ({"decoder__layer_0__ffn__linear_1__bias": None}, "lacks 1 weights of WhisperForConditionalGeneration"),
        (
            {"decoder__scale_embeddings": np.array(1, np.int16)},
            "decoder/scale_embeddings is 1, which makes another network",
        ),
        (
            {"encoder__layer_0__ffn__linear_9__bias": np.ones(2, np.float32)},
            "has encoder/layer_0/ffn/linear_9/bias, which no",
        ),
        ({"encoder__layer_0__self_attention__linear_0__bias": np.ones(192, np.float32)}, "gives keys a bias"),
        ({"encoder__layer_norm__beta": np.full(64, np.inf, np.float32)}, "64 of 64 numbers that are not finite"),
    ],
)
def test_another_network_is_named(converter, tmp_path, more, said):
    assert said in refused(converter, changed(converter, tmp_path, **more))


def test_files_of_another_kind_are_named(converter, tmp_path):
    converter.example(tmp_path)
    file = tmp_path / "model.bin"
    whole = file.read_bytes()
    file.write_bytes(struct.pack("<I", 5) + whole[4:])
    assert "is of version 5 of CTranslate2's format; version 6 is read" in refused(converter, tmp_path)
    file.write_bytes(packed({}, {}, spec="TransformerSpec"))
    assert "holds a 'TransformerSpec' of CTranslate2, no Whisper" in refused(converter, tmp_path)
    file.write_bytes(whole + b"more")
    assert "has 4 bytes behind its end" in refused(converter, tmp_path)
    file.write_bytes(whole[:-1])
    assert "is cut" in refused(converter, tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("tokenizer.json", None, "tokenizer.json: is missing: Whisper's tokens are read from it"),
        ("tokenizer.json", "{}", "is no tokenizer of Whisper"),
        ("config.json", "{nope", "config.json: this is not JSON"),
        ("config.json", "[]", "config.json: a JSON object is wanted"),
        ("model.bin", None, "is no folder of CTranslate2: it has no model.bin"),
    ],
)
def test_a_folder_that_lacks_something_is_refused_before_its_account(converter, tmp_path, file, text, said):
    (tmp_path / "ct2").mkdir()
    source = converter.example(tmp_path / "ct2")
    (source / file).unlink(missing_ok=True)
    if text is not None:
        (source / file).write_text(text)
    assert said in refused(converter, source)
    run = CliRunner().invoke(convert_command, ["whisper-ct2", str(source), "--out", str(tmp_path / "out")])
    assert isinstance(run.exception, InputError)
    assert run.output == ""
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_converted_already_is_named_so(converter, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    said = refused(converter, tmp_path)
    assert "is a folder of converted weights already" in said
    assert f"fix: name it in a recipe: source={tmp_path}" in said


def test_languages_are_those_of_the_tokens_where_no_config_says_them():
    tokens = {"<|en|>": 7, "<|yue|>": 8, "<|notimestamps|>": 9, "<|transcribe|>": 10}
    config = SimpleNamespace(vocab_size=MULTILINGUAL, max_target_positions=448)
    assert _generation(tokens, {}, config)["lang_to_id"] == {"<|en|>": 7, "<|yue|>": 8}
    assert _generation(tokens, {"lang_ids": [8]}, config)["lang_to_id"] == {"<|yue|>": 8}


@pytest.mark.parametrize(("name", "many", "size"), [("whisper-base", True, 51865), ("whisper-tiny.en", False, 51864)])
def test_small_weights_say_which_languages_they_know(small, name, many, size):
    about = json.loads((small(name) / "generation_config.json").read_text())
    assert about["is_multilingual"] is many
    assert json.loads((small(name) / "config.json").read_text())["vocab_size"] == size
    assert len(about.get("lang_to_id", ())) == (99 if many else 0)
    if many:
        assert about["lang_to_id"]["<|de|>"] == 50261
        assert about["task_to_id"] == {"transcribe": 50359, "translate": 50358}


def clips():
    path = REAL / "speech.csv"
    return list(csv.DictReader(path.open())) if path.is_file() else []


def letters(text):
    return re.sub("[^a-z ]", "", text.lower()).strip()


@pytest.mark.slow
@pytest.mark.skipif(not clips(), reason=f"no speech in {REAL}")
def test_whisper_base_writes_31_of_32_clips_as_they_were_said(small):
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    from affectkit.data.views import look
    from affectkit.recipe.views import Wave
    from affectkit.sample import Sample

    folder = small("whisper-base")
    net = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = WhisperProcessor.from_pretrained(folder)
    right = 0
    for row in clips():
        sound = look(Sample(row["path"], audio=REAL / row["path"]), {"wave": Wave()})["wave"]
        heard = processor(sound.samples, sampling_rate=sound.rate, return_tensors="pt").input_features
        with torch.no_grad():
            ids = net.generate(heard, language="en", task="transcribe", max_new_tokens=24)
        right += letters(processor.batch_decode(ids, skip_special_tokens=True)[0]) == letters(row["subtitle"])
    assert right == 31
