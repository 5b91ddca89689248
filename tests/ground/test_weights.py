"""Where weights come from, and files of weights read without running code."""

import argparse
import subprocess

import pytest
import torch
from safetensors.torch import save_file

from affectkit import weights
from affectkit.errors import InputError
from affectkit.labels.npz import read_npz


def test_random_is_a_context():
    assert not weights.random()
    with weights.using("random"):
        assert weights.random()
        with weights.using("given"):
            assert not weights.random()
    assert not weights.random()


def test_load_state_reads_plain_tensors_only(tmp_path):
    state = {"a": torch.arange(3.0)}
    save_file(state, tmp_path / "w.safetensors")
    torch.save({"model": state, "epoch": 3, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        assert weights.load_state(tmp_path / name)["a"].tolist() == [0, 1, 2]
    torch.save({"model": state, "ema": state}, tmp_path / "two.pth")
    torch.save({"run": subprocess.Popen}, tmp_path / "bad.pth")
    (tmp_path / "torn.safetensors").write_bytes(b"123")
    cases = {
        "two.pth": "model, ema",
        "bad.pth": "more than weights",
        "torn.safetensors": "cut in its header",
        "no.pth": "no such",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            weights.load_state(tmp_path / name)
    (tmp_path / "w.npz").write_bytes(b"")
    with pytest.raises(InputError, match="not a file of weights"):
        weights.load_state(tmp_path / "w.npz")


def test_what_is_no_file_of_weights_is_refused_with_a_reason(tmp_path):
    whole = tmp_path / "whole.pth"
    torch.save({"model": {"a": torch.ones(300)}}, whole)
    torch.save({"run": subprocess.Popen}, tmp_path / "code.pth")
    torch.save({"run": subprocess.Popen}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    files = {
        "page.pth": b"<!DOCTYPE html>",
        "words.pth": b"hello",
        "none.pth": b"",
        "half.pth": whole.read_bytes()[:700],
    }
    files |= {"pickle.pth": b"\x80\x02nonsense"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    cases = {
        "page.pth": "is a web page",
        "words.pth": "no file of weights",
        "none.pth": "is empty",
        "half.pth": "is cut",
        "pickle.pth": "is broken",
        "code.pth": r"more than weights: \w+\.Popen would be called",
        "old.pth": r"more than weights: \w+\.Popen would be called",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message) as told:
            weights.load_state(tmp_path / name)
        assert "weights_only" not in str(told.value), name


def test_the_named_dictionary_comes_before_tensors_beside_it(tmp_path):
    torch.save({"model": {"a": torch.ones(1)}, "epoch": torch.tensor(3)}, tmp_path / "w.pth")
    assert list(weights.load_state(tmp_path / "w.pth", "model")) == ["a"]
    assert list(weights.load_state(tmp_path / "w.pth")) == ["epoch"]


def test_numbers_that_the_network_s_format_cannot_hold_are_refused():
    small, large = torch.nn.Parameter(torch.zeros(2, dtype=torch.float16)), torch.tensor([1.0, 1e6])
    assert weights.unfit(small, large) == "has 1 of 2 numbers that are not finite"
    assert weights.unfit(torch.nn.Parameter(torch.zeros(2)), large) == ""
    assert weights.unfit(torch.nn.Parameter(torch.zeros(2)), torch.tensor([1.0, 1e300], dtype=torch.double))
    eighth = torch.ones(2).to(torch.float8_e4m3fn)
    assert "is float8_e4m3fn there" in weights.unfit(torch.nn.Parameter(torch.zeros(2)), eighth)


def test_a_damaged_end_of_an_archive_ends_nothing(tmp_path):
    """Python's own test for archives raises where one claims to span several disks."""
    path = tmp_path / "w.pth"
    torch.save({"a": torch.ones(1)}, path)
    data = path.read_bytes()
    at = data.index(b"PK\x06\x07") + 4
    path.write_bytes(data[:at] + b"\x01" + data[at + 1 :])
    assert weights.load_state(path)["a"].tolist() == [1]  # torch does not mind
    with pytest.raises(InputError, match=r"w\.pth: cannot be read"):
        read_npz(path)
