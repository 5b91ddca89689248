"""What the names of cached features hang on: the code of pieces, detectors and of the frame's own looking."""

import importlib.metadata
import os
import sys
from types import SimpleNamespace

from affectkit_plugins.encoders import log_mel
from torch import nn

from affectkit.code_hash import code_hash, sources
from affectkit.data import faces, views
from affectkit.data import image as stills
from affectkit.data import video as media
from affectkit.encode import cache as cache_keys
from affectkit.encode.cache import Keys, Memo
from affectkit.plan.check import check
from affectkit.registry import Registry
from affectkit.studies.sweep_run import stage_keys

ENCODER = """
from dataclasses import dataclass

import numpy as np

import affectkit
from affectkit.pieces import Piece, Port, Shape
from affectkit_plugins.encoders.log_mel import build


@dataclass(frozen=True)
class Settings:
    \"\"\"How bright it is.\"\"\"


def prepare(settings, port, raw):
    return np.abs(raw.arrays)


def shapes(settings, inputs, width):
    return {"frames": Shape("tokens", 1, 4, 8)}


@affectkit.hookimpl
def affectkit_pieces():
    ports = (Port("pixels", "pixels"),)
    return [Piece("encoder", "mine", Settings, build, shapes, ports, prepare=prepare, objective=True)]
"""
DETECTOR = """
from dataclasses import dataclass

import affectkit
from affectkit.pieces import Piece


@dataclass(frozen=True)
class Settings:
    \"\"\"Nobody anywhere.\"\"\"


def build(settings):
    return lambda frames: [[] for _ in frames]


@affectkit.hookimpl
def affectkit_pieces():
    return [Piece("detector", "finder", Settings, build)]
"""
RECIPE = """
name: code
data: {use: puppets, count: 42}
views:
  frames: {use: frames, count: 2}
  face: {use: faces, of: frames, detector: {use: finder}}
streams: {head: {steps: {encoder: {use: mine, pixels: face}, projector: {use: mlp}}}}
prompt: {use: template, parts: {head: {use: slot, stream: head}, ask: {use: label_question}}}
backbone: {use: causal_lm, width: 32, heads: 2, layers: 1}
stages:
  look: {train: [streams.head.encoder], objective: head.encoder}
  train: {train: [streams.head.projector]}
run: {accelerator: cpu}
"""


def names(folder, encoder=ENCODER, detector=DETECTOR):
    """The names of everything that could be kept, and of a stage that runs of a sweep could share."""
    files = {"mine.py": encoder, "finder.py": detector, "code.yaml": RECIPE}
    for name, text in files.items():
        (folder / name).write_text(text)
    plan = check(folder / "code.yaml", plugins=[folder / "mine.py", folder / "finder.py"])
    keys = Keys(plan, SimpleNamespace(module=lambda address: nn.Identity()), Memo(folder / "memo"))
    return {
        "frames": keys.view("frames"),
        "face": keys.view("face"),
        "seen": keys.views(["face"]),
        "port": keys.port("head.encoder:pixels"),
        "step": keys.step("head.encoder"),
        "after": keys.step("head.projector"),
        "stage": stage_keys(plan)["look"],
    }


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_the_same_code_gives_the_same_names(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    assert names(tmp_path) == names(tmp_path / "elsewhere")


def test_an_edited_plugin_file_renames_what_it_makes(tmp_path):
    """It has no version: its source is one."""
    old = names(tmp_path)
    assert changed(old, names(tmp_path, ENCODER.replace("raw.arrays)", "raw.arrays) + 1"))) == {
        "port", "step", "after", "stage",
    }  # fmt: skip
    assert changed(old, names(tmp_path, detector=DETECTOR.replace("[] for", "[None] for"))) == {
        "face", "seen", "port", "step", "after", "stage",
    }  # fmt: skip
    assert names(tmp_path) == old


def test_an_installed_piece_is_known_by_its_version_and_its_code(monkeypatch):
    registry = Registry.load()
    piece = registry.piece("encoder", "log_mel")
    plugin = registry.plugin_of(piece)
    assert registry.fingerprint(piece) == [plugin.source, plugin.version, code_hash(log_mel.__name__)]
    assert registry.fingerprint(piece)[:2] == ["affectkit", importlib.metadata.version("affectkit")]
    monkeypatch.setattr("affectkit.registry.code_hash", lambda module: "edited")
    assert registry.fingerprint(piece)[2:] == ["edited"]


def test_the_frames_own_looking_renames_everything(tmp_path, monkeypatch):
    old = names(tmp_path)
    monkeypatch.setattr(cache_keys, "code_hash", lambda module: "another way to crop")
    assert changed(old, names(tmp_path)) == {"frames", "face", "seen", "port", "step", "after"}
    assert {m.__name__ for m in (views, faces, media, stills)} <= set(sources(views.look_at.__module__))


def test_a_package_is_read_as_far_as_it_is_used(tmp_path, monkeypatch):
    package = tmp_path / f"pack{os.getpid()}"
    (package / "inner").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "enc.py": "from . import sizes\ndef build():\n    from .inner.net import Net\n    return Net\n",
        "sizes.py": "SIZE = 1\n",
        "inner/__init__.py": "",
        "inner/net.py": f"import {package.name}.deep\nfrom ..words import Word\nclass Net: pass\n",
        "deep.py": "",
        "words.py": "Word = str\n",
        "other.py": "raise RuntimeError('never imported')\n",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    __import__(package.name)
    module = f"{package.name}.enc"
    used = {"enc", "sizes", "inner.net", "deep", "words"}
    assert set(sources(module)) == {f"{package.name}.{name}" for name in used}
    assert not {name for name in sys.modules if name.startswith(f"{package.name}.")}
    first = code_hash(module)
    for name, same in (("other.py", True), ("inner/net.py", False), ("words.py", False)):
        (package / name).write_text(files[name] + "# another line\n")
        code_hash.cache_clear()
        assert (code_hash(module) == first) is same, name
        first = code_hash(module)


def test_what_has_no_file_has_no_source():
    assert sources("nobody_imported_this") == sources("sys") == {}
    assert code_hash("nobody_imported_this") == code_hash("sys")
    assert {"affectkit_plugins.encoders.log_mel_net"} <= set(sources(log_mel.__name__))
