"""GGUF files in: the weights that transformers reads, in a folder that it can load, and one clear message for any other file."""

import json
import struct

import numpy as np
import pytest
import torch
from affectkit_plugins.converters.gguf import affectkit_pieces
from click.testing import CliRunner

from affectkit.commands.convert import command as convert_command
from affectkit.errors import InputError

gguf = pytest.importorskip("gguf", reason="gguf is not installed (extra small)")

from affectkit_plugins.converters.gguf_net import write_example  # noqa: E402

PIECE = affectkit_pieces()[0]


def reader(**settings):
    return PIECE.build(PIECE.settings(**settings))


def refused(path):
    with pytest.raises(InputError) as error:
        reader().open(path)
    assert len(error.value.problems) == 1
    assert error.value.problems[0].place == str(path)
    return str(error.value)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_folder_is_read_by_transformers_and_says_what_the_file_says(dtype, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = write_example(tmp_path / "model.gguf")
    run = CliRunner().invoke(
        convert_command, ["gguf", str(file), "--out", str(tmp_path / "out"), "--set", f"dtype={dtype}"]
    )
    assert run.exit_code == 0, f"{run.output}\n{run.exception}"
    assert f"in a recipe: {{use: causal_lm, source: {tmp_path / 'out'}}}" in run.output
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=getattr(torch, dtype)).eval()
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=getattr(torch, dtype)).eval()
    assert not hasattr(ours.config, "quantization_config")
    assert ours.lm_head.weight is ours.model.embed_tokens.weight
    ids = torch.tensor([[1, 4, 5, 3]])
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)
    tokens = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokens.apply_chat_template([{"role": "user", "content": "ab"}], tokenize=False) == "ab"
    about = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert about["checkpoint"]["keys"] == len(about["taken"]) == 11


def test_quantised_numbers_become_plain_ones(tmp_path):
    value = np.random.default_rng(1).normal(0, 0.1, (32, 32)).astype(np.float32)
    few = gguf.quants.quantize(value, gguf.GGMLQuantizationType.Q8_0)
    types = {"blk.0.ffn_up.weight": (few, gguf.GGMLQuantizationType.Q8_0)}
    _, found = reader().open(write_example(tmp_path / "model.gguf", types=types))
    up = found.weights["model.layers.0.mlp.up_proj.weight"].numpy()
    assert 0 < np.abs(up - value).max() < 0.005
    np.testing.assert_array_equal(up, gguf.quants.dequantize(few, gguf.GGMLQuantizationType.Q8_0))


def test_files_of_another_kind_are_named(tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"PK\3\4 something else")
    assert "is no GGUF file: it begins with b'PK" in refused(file)
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 99, 0, 0))
    assert "is of version 99 of GGUF" in refused(file)
    assert "cannot be read: No such file" in refused(tmp_path / "absent.gguf")


def test_an_unknown_architecture_is_named_with_those_that_are_known(tmp_path):
    said = refused(write_example(tmp_path / "model.gguf", kind="whale"))
    assert "holds a 'whale', an architecture that transformers does not read from GGUF" in said
    assert "llama" in said


def test_an_unknown_quantisation_is_named(tmp_path):
    file = write_example(tmp_path / "model.gguf")
    data = bytearray(file.read_bytes())
    name = b"blk.0.ffn_up.weight"
    at = data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name) + 4 + 2 * 8
    data[at : at + 4] = struct.pack("<I", 250)
    file.write_bytes(data)
    assert "holds numbers of a quantisation that is not known (250)" in refused(file)


def test_a_tensor_that_nothing_takes_is_named(tmp_path):
    more = {"blk.0.attn_q.bias": (np.ones(32, np.float32), None)}
    assert "has blk.0.attn_q.bias, which no part of transformers' llama takes" in refused(
        write_example(tmp_path / "model.gguf", types=more)
    )


def test_numbers_that_are_not_finite_are_named(tmp_path):
    bad = {"output_norm.weight": (np.full(32, np.nan, np.float32), None)}
    assert "model.norm.weight has 32 of 32 numbers that are not finite" in refused(
        write_example(tmp_path / "model.gguf", types=bad)
    )


@pytest.mark.slow
def test_smollm2_goes_on_with_paris(small):
    from affectkit_plugins.backbones import causal_lm

    piece = causal_lm.affectkit_pieces()[0]
    backbone = piece.build(causal_lm.Settings(source=str(small("smollm2"))), list, None).eval()
    assert (backbone.packs, backbone.width, sum(p.numel() for p in backbone.parameters())) == (True, 576, 134_515_008)
    ids = torch.tensor([backbone.tokenise("The capital of France is")])
    with torch.no_grad():
        out = backbone.core.generate(ids, max_new_tokens=1, do_sample=False)
    assert backbone.untokenise(out[0, ids.shape[1] :].tolist()) == " Paris"
