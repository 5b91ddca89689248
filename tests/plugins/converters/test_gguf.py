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
    known = said.partition("known: ")[2].partition("\n")[0].split(", ")
    assert "llama" in known
    assert not {"general", "tokenizer"} & set(known)
    general = write_example(tmp_path / "model.gguf", kind="general")
    assert "holds a 'general', an architecture that" in refused(general)


def test_an_unknown_quantisation_is_named(tmp_path):
    file = write_example(tmp_path / "model.gguf")
    data = bytearray(file.read_bytes())
    name = b"blk.0.ffn_up.weight"
    at = data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name) + 4 + 2 * 8
    data[at : at + 4] = struct.pack("<I", 250)
    file.write_bytes(data)
    assert "holds blk.0.ffn_up.weight in a number format that is not known (250)" in refused(file)


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


def rows(*shape):
    return np.ones(shape, np.float32), None


def converted(file, out):
    return CliRunner().invoke(convert_command, ["gguf", str(file), "--out", str(out)])


def refused_quietly(file, capfd):
    """What is said of a file, and nothing beside it: no account, no bars and reports of libraries, no folder."""
    run = converted(file, file.parent / "out")
    assert isinstance(run.exception, InputError)
    assert (run.output, *capfd.readouterr()) == ("", "", "")
    assert not (file.parent / "out").exists()
    return str(run.exception)


def test_a_tensor_of_another_shape_is_named_with_both(tmp_path, capfd):
    said = refused_quietly(write_example(tmp_path / "m.gguf", types={"blk.0.attn_k.weight": rows(32, 32)}), capfd)
    assert "holds blk.0.attn_k.weight of 32 x 32, which is 16 x 32 by the sizes that it says of its llama" in said
    assert "fetch it again" not in said


def test_a_renamed_tensor_is_named_beside_what_it_should_be(tmp_path, capfd):
    file = write_example(tmp_path / "m.gguf")
    file.write_bytes(file.read_bytes().replace(b"blk.0.attn_q.weight", b"blk.0.attn_z.weight"))
    said = refused_quietly(file, capfd)
    assert "lacks blk.0.attn_q.weight, which transformers' llama wants, and has blk.0.attn_z.weight, which no" in said


@pytest.mark.parametrize("key", ["llama.attention.head_count", "llama.block_count", "llama.embedding_length"])
def test_a_size_that_is_not_said_is_named_and_never_a_default(key, tmp_path, capfd):
    file = write_example(tmp_path / "m.gguf")
    name = struct.pack("<Q", len(key)) + key.encode()
    file.write_bytes(file.read_bytes().replace(name, name[:-1] + b"_"))
    assert f"does not say its {key}" in refused_quietly(file, capfd)


def test_sizes_that_make_no_network_are_no_traceback(tmp_path):
    file = write_example(tmp_path / "m.gguf")
    key = b"llama.attention.head_count" + struct.pack("<I", 4)
    file.write_bytes(file.read_bytes().replace(key + struct.pack("<I", 2), key + struct.pack("<I", 7)))
    assert "its sizes cannot be read (" in (said := refused(file))
    assert "attention heads (7)" in said


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.int64])
def test_an_integer_tensor_is_no_weight(kind, tmp_path):
    whole = {"blk.0.attn_norm.weight": (np.ones(32, kind), None)}
    said = refused(write_example(tmp_path / "m.gguf", types=whole))
    assert f"holds blk.0.attn_norm.weight as I{8 * kind().itemsize}: an integer tensor is no weight" in said


def test_a_quantisation_that_gguf_has_no_reader_for_is_named(tmp_path):
    few = gguf.GGMLQuantizationType.Q8_K
    raw = np.zeros((32, gguf.GGML_QUANT_SIZES[few][1]), np.uint8)
    said = refused(write_example(tmp_path / "m.gguf", types={"blk.0.ffn_up.weight": (raw, few)}))
    assert "holds blk.0.ffn_up.weight as Q8_K, a quantisation that cannot be turned into plain numbers" in said


def test_a_cut_file_says_how_much_is_there(tmp_path):
    file = write_example(tmp_path / "m.gguf")
    whole = file.read_bytes()
    file.write_bytes(whole[:-200])
    said = refused(file)
    assert f"is cut: it has {len(whole) - 200:,} bytes, and by its header {len(whole):,}; 1 of 11 tensors" in said
    file.write_bytes(whole[:1200])
    assert "is cut in its header: it has 1,200 bytes" in refused(file)
    file.write_bytes(whole[:8] + struct.pack("<Q", 2**60) + whole[16:])
    assert "says that it holds 1,152,921,504,606,846,976 tensors" in refused(file)
    file.write_bytes(whole.replace(b"general.architecture", b"general.architecturf"))
    assert "does not say its general.architecture" in refused(file)


def test_bytes_behind_the_last_tensor_are_told(tmp_path):
    file = write_example(tmp_path / "m.gguf")
    file.write_bytes(file.read_bytes() + b"more" * 20)
    run = converted(file, tmp_path / "out")
    assert run.exit_code == 0
    assert "note: 80 bytes behind the last tensor are not read" in run.output
    assert json.loads((tmp_path / "out" / "conversion.json").read_text())["notes"]


def test_a_file_without_a_tokenizer_is_refused_before_its_account(tmp_path, capfd):
    file = write_example(tmp_path / "m.gguf")
    file.write_bytes(file.read_bytes().replace(b"tokenizer.ggml.tokens", b"tokenizer.ggml.tokenz"))
    said = refused_quietly(file, capfd)
    assert "holds no tokenizer: it has no tokenizer.ggml.tokens" in said
    assert "backbone.tokenizer" not in said


def test_a_file_that_is_not_there_and_a_folder_are_named(tmp_path, capfd):
    write_example(tmp_path / "model.gguf")
    said = refused_quietly(tmp_path / "modl.gguf", capfd)
    assert "is not there" in said
    assert "fix: did you mean 'model.gguf'?" in said
    assert f"name the file: {tmp_path / 'model.gguf'}" in refused(tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "config.json").write_text("{}")
    assert "is a folder of converted weights already" in refused(tmp_path / "made")


def test_a_folder_that_is_in_use_is_refused_before_the_file_is_read(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    run = converted(tmp_path / "absent.gguf", tmp_path / "out")
    assert "out: is there already" in str(run.exception)
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


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
