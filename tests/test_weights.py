"""Where weights come from, and files of weights read without running code."""

import argparse
import subprocess

import pytest
import torch
from safetensors.torch import save_file

from affectkit import weights
from affectkit.errors import InputError


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
        "torn.safetensors": "not a readable",
        "no.pth": "no such",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            weights.load_state(tmp_path / name)
    (tmp_path / "w.npz").write_bytes(b"")
    with pytest.raises(InputError, match="not a file of weights"):
        weights.load_state(tmp_path / "w.npz")
