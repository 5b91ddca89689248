"""Headers of weight files: what they hold, and whether the files are whole, without torch."""

import json
import os
import pickle
from argparse import Namespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from affectkit.errors import InputError
from affectkit.weight_files import contradictions, header, inspect, inspect_local, pickled_names, torch_header
from affectkit.weights import load_state

STATE = {"a.weight": torch.ones(3, 4), "b": torch.ones(5, dtype=torch.bfloat16), "empty": torch.ones(0)}

ENDLESS = b'{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,0]}}'


@pytest.fixture
def whole(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "model.safetensors"


def test_a_header_says_names_formats_and_shapes(whole):
    assert header(whole) == {"a.weight": ("F32", (3, 4)), "b": ("BF16", (5,)), "empty": ("F32", (0,))}
    assert inspect(whole.parent) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda whole: b"", "is empty"),
        (lambda whole: whole[: len(whole) // 2], "is cut"),
        (lambda whole: whole[:20], "cut in its header"),
        (lambda whole: whole + b"more", "holds more than its header says"),
        (lambda whole: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n", "pointer of Git LFS"),
        (lambda whole: b"<!DOCTYPE html><html>Not found</html>", "is a web page"),
        (lambda whole: b"\x80\x02}q\x00.", "is no safetensors file"),
        (lambda whole: (8).to_bytes(8, "little") + b"[1, 2, 3" + b" " * 8, "its header cannot be read"),
        (lambda whole: (64).to_bytes(8, "little") + ENDLESS + b" " * (64 - len(ENDLESS)), "its header cannot be read"),
    ],
)
def test_a_file_that_is_not_whole_is_named_with_its_cause(whole, data, said):
    whole.write_bytes(data(whole.read_bytes()))
    with pytest.raises(InputError, match=said) as caught:
        header(whole)
    assert str(whole) in str(caught.value)
    assert [str(whole) in str(problem) for problem in inspect(whole.parent)] == [True]


FORMATS = {
    "a": (torch.ones(2, 3).to(torch.float8_e4m3fn), "float8_e4m3fn"),
    "b": (torch.nn.Parameter(torch.ones(2).bfloat16()), "BF16"),
    "c": (torch.arange(4), "I64"),
    "d": (torch.ones(3, dtype=torch.uint16), "uint16"),
    "e": (torch.ones(2, 2, dtype=torch.complex64), "complex64"),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("entry", ["", "model"])
def test_the_header_of_a_file_of_torch_is_followed_and_nothing_of_it_run(tmp_path, legacy, entry):
    state = torch.nn.Linear(2, 3).state_dict()
    state.update({name: tensor for name, (tensor, _) in FORMATS.items() if not legacy or name in "bc"})
    path = tmp_path / "a.bin"
    torch.save(
        {entry: state, "args": Namespace(lr=1)} if entry else state, path, _use_new_zipfile_serialization=not legacy
    )
    expected = {name: (FORMATS[name][1] if name in FORMATS else "F32", tuple(t.shape)) for name, t in state.items()}
    assert torch_header(path) == expected
    torch.save({"a": torch.eye(2).to_sparse(), "run": os.system}, path)
    assert torch_header(path) == {"a": ("sparse", ())}
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"a\.bin: is broken"):
        torch_header(path)


def test_shards_and_their_index(tmp_path):
    for number, name in enumerate(("a.weight", "b"), 1):
        save_file({name: STATE[name]}, tmp_path / f"model-{number}.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    names = {"a.weight": "model-1.safetensors", "b": "model-2.safetensors"}
    index.write_text(json.dumps({"weight_map": names}))
    assert inspect(tmp_path) == []
    index.write_text(json.dumps({"weight_map": {**names, "c": "model-2.safetensors"}}))
    assert "lacks 1 weights that model.safetensors.index.json names: c" in str(inspect(tmp_path)[0])
    index.write_text(json.dumps({"weight_map": {**names, "c": "model-3.safetensors"}}))
    (missing,) = inspect(tmp_path)
    assert "model-3.safetensors: cannot be read: No such file" in str(missing)
    index.write_text("{")
    assert "is no index of shards" in str(inspect(tmp_path)[0])


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_bare_pickle_says_which_code_it_carries(tmp_path, protocol):
    path = tmp_path / "model.pth"
    for value, named in (
        ({"a": np.arange(3)}, "numpy.dtype"),
        ({"a": torch.ones(2)}, "torch._utils._rebuild_tensor_v2"),
    ):
        path.write_bytes(pickle.dumps(value, protocol))
        assert named in (pickled_names(path) or [])
        with pytest.raises(InputError, match=rf"model\.pth: is a bare pickle, .* it carries code: .*{named}"):
            load_state(path)
    path.write_bytes(pickle.dumps({"a": 1.0}, protocol))
    with pytest.raises(InputError, match="plain data and no weights"):
        load_state(path)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", '{"a": 1, "a": 2}', "[]", '{"weight_map": 3}'])
def test_a_broken_index_of_shards_is_named(tmp_path, text):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(text)
    assert [p.place for p in inspect(tmp_path)] == [str(index)]
    with pytest.raises(InputError, match=index.name):
        load_state(tmp_path)


@pytest.mark.parametrize("legacy", [False, True])
def test_what_torch_saved_is_no_bare_pickle(tmp_path, legacy):
    path = tmp_path / "model.pt"
    torch.save(STATE, path, _use_new_zipfile_serialization=not legacy)
    assert load_state(path).keys() == STATE.keys()
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match=r"torch\.nn\.modules\.linear\.Linear would be called"):
        load_state(path)
    path.write_bytes(b"<html>")
    assert pickled_names(path) is None
    path.write_bytes(b"\x80\x02\x8e" + (2**62).to_bytes(8, "little"))  # bytes, more than there is memory
    assert pickled_names(path) is None
    with pytest.raises(InputError, match=r"model\.pt: is broken"):
        load_state(path)


def test_a_hub_id_of_which_only_a_part_lies_here_is_not_told(tmp_path, monkeypatch):
    snapshot = tmp_path / "hub" / "models--somebody--llm" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert inspect_local("somebody/llm") == inspect_local("") == []
    assert "no file of weights" in str(inspect_local(str(snapshot))[0])


@pytest.mark.parametrize(
    ("shards", "said"), [({}, "an index of no weights"), ({"a": "model\0.safetensors"}, "cannot be read")]
)
def test_an_index_that_names_nothing_that_can_be_is_told(tmp_path, shards, said):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (problem,) = inspect(tmp_path)
    assert said in problem.what


def test_code_is_seen_in_pickles_of_any_protocol(tmp_path):
    for protocol in (2, 4):
        torch.save({"a": torch.ones(2), "code": print}, tmp_path / "pytorch_model.bin", pickle_protocol=protocol)
        (problem,) = inspect(tmp_path)
        assert "print would be called" in problem.what
        torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model.bin", pickle_protocol=protocol)
        assert inspect(tmp_path) == []


LLAMA = {"num_hidden_layers": 2, "hidden_size": 4, "vocab_size": 9}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"num_hidden_layers": 3}, "holds 2 layers (model.layers), and its config.json says 3"),
        ({"hidden_size": 8}, "of 9 x 4, and its config.json says 9 x 8"),
        ({"vocab_size": 10}, "of 9 x 4, and its config.json says 10 x 4"),
    ],
)
def test_a_config_that_contradicts_the_headers_beside_it_is_told(tmp_path, change, said):
    state = {"model.embed_tokens.weight": torch.ones(9, 4), "h.0.attn.bias": torch.ones(1, 1, 4, 4) > 0}  # a mask
    state |= {f"model.layers.{i}.mlp.up_proj.weight": torch.ones(2, 4) for i in range(2)}
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, **change}))
    assert [said in p.what for p in contradictions(str(tmp_path))] == [True] * (said is not None)
    save_file({**state, "model.norm.weight": torch.ones(4) > 0}, tmp_path / "model.safetensors")
    assert "holds 1 weights that are no fractions (model.norm.weight is BOOL)" in str(contradictions(str(tmp_path))[-1])
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, **change, "quantization_config": {}}))
    assert "fractions" not in str(contradictions(str(tmp_path)))


def test_files_that_only_a_converter_reads_are_named(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(60))
    (tmp_path / "ct2").mkdir()
    (tmp_path / "ct2" / "config.json").write_text("{}")
    (tmp_path / "ct2" / "model.bin").write_bytes(b"\6\0\0\0\x0c\0WhisperSpec\0" + bytes(60))
    for source, kind in (("model.gguf", "a GGUF file"), (".", "a GGUF file"), ("ct2", "a file of CTranslate2")):
        (problem,) = inspect(tmp_path / source)
        assert problem.what == f"is {kind}, which no part of a recipe reads as it is"
        assert "affectkit convert" in problem.fix
