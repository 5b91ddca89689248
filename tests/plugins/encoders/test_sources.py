"""Encoders with published weights: every parameter comes from the source, or the file and what is wrong with it are named."""

import json
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import transformers as hf
from affectkit_plugins.projectors import qformer
from encoder_inputs import PIECES
from safetensors.torch import load_file, save_file

from affectkit.errors import InputError
from affectkit.pieces import Shape
from affectkit.weight_files import inspect

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
SPEECH = {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
QFORMER = {"queries": 3, "hidden": 16, "layers": 2, "heads": 2, "intermediate": 24, "cross_every": 1}


def save_clip(folder):
    hf.CLIPVisionModelWithProjection(
        hf.CLIPVisionConfig(**SMALL, image_size=32, patch_size=8, projection_dim=8)
    ).save_pretrained(folder)
    return "clip_vision", {}


def save_hubert(folder):
    hf.HubertModel(hf.HubertConfig(**SMALL, **SPEECH)).save_pretrained(folder)
    return "hubert", {}


def save_videomae(folder):
    sizes = {"image_size": 32, "patch_size": 8, "num_frames": 4}
    hf.VideoMAEModel(hf.VideoMAEConfig(**SMALL, **sizes)).save_pretrained(folder)
    return "videomae", {}


def save_timm(folder):
    model = timm.create_model("test_vit", num_classes=7, img_size=64)
    timm.models.save_for_hf(model, folder, model_args={"img_size": 64}, safe_serialization=True)
    return "timm", {}


def save_open_clip(folder):
    vision = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 2, "head_width": 8}
    config = {
        "embed_dim": 12,
        "vision_cfg": vision,
        "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1},
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    return "open_clip", {}


def save_qformer(folder):
    made = qformer.build(qformer.Settings(**QFORMER), {"tokens": Shape("tokens", 2, 5, 8)}, 12)
    state = {
        "query_tokens" if name == "queries" else f"qformer.{name.removeprefix('model.')}": value
        for name, value in made.qformer.state_dict().items()
    }
    save_file(state, folder / "model.safetensors")
    return "qformer", QFORMER


def built(name, source, settings):
    if name == "qformer":
        return qformer.build(qformer.Settings(**settings, source=source), {"tokens": Shape("tokens", 2, 5, 8)}, 12)
    piece = PIECES[name]
    eats = piece.ports[0].eats
    inputs = {eats: Shape("pixels", 2) if eats == "pixels" else Shape("wave", 1, 40000, 16000)}
    return piece.build(piece.settings(**settings, source=source), inputs, None)


@pytest.fixture(
    scope="module", params=[save_clip, save_hubert, save_videomae, save_timm, save_open_clip, save_qformer],
    ids=lambda save: save.__name__.removeprefix("save_"),
)  # fmt: skip
def published(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    torch.manual_seed(0)
    return folder, *request.param(folder)


@pytest.fixture
def copy(published, tmp_path):
    """(name of the piece, its settings, a copy of the folder, its file of weights)."""
    folder, name, settings = published
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (file,) = tmp_path.glob("*.safetensors")
    return name, settings, tmp_path, file


def largest(state):
    """A matrix inside the network, which every one of these has."""
    return max(
        (n for n, t in state.items() if ("layer" in n or "block" in n) and t.ndim == 2 and "text" not in n), key=len
    )


def changed(state, name, value):
    return {**state, name: value}


CHANGES = {
    "another prefix": (lambda s, n: {f"net.inner.x_{k}": v for k, v in s.items()}, "lack|Missing"),
    "one missing": (lambda s, n: {k: v for k, v in s.items() if k != n}, "lacks 1 weights|Missing"),
    "another shape": (
        lambda s, n: changed(s, n, s[n][:-1].clone()),
        r"another shape|size mismatch|by the recipe's sizes",
    ),
    "not finite": (lambda s, n: changed(s, n, s[n] * float("nan")), "numbers that are not finite"),
    "whole numbers": (lambda s, n: changed(s, n, s[n].int()), "is I32 there|is int32 there"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_source_with_other_weights_is_refused(copy, change):
    name, settings, folder, file = copy
    make, told = CHANGES[change]
    state = load_file(file)
    save_file(make(state, largest(state)), file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=told) as caught:
        built(name, str(folder), settings)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("form", [torch.int32, torch.float8_e4m3fn], ids=str)
def test_a_file_of_torchs_is_refused_for_its_numbers_too(copy, form):
    """The libraries that read it themselves would turn them into fractions without a word."""
    name, settings, folder, file = copy
    state = load_file(file)
    other = "open_clip_pytorch_model.bin" if file.name.startswith("open_clip") else "pytorch_model.bin"
    torch.save(state, folder / other)
    file.unlink()
    assert built(name, str(folder), settings)
    key = largest(state)
    torch.save(changed(state, key, state[key].to(form)), folder / other)
    with pytest.raises(InputError, match=r"is (I32|int32|float8_e4m3fn)( there|: no parameter)") as caught:
        built(name, str(folder), settings)
    assert key.rpartition(".")[2] in str(caught.value)


FILES = {
    "empty": (lambda whole: b"", "is empty"),
    "cut": (lambda whole: whole[: len(whole) // 2], "is cut"),
    "pointer": (lambda whole: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
    "page": (lambda whole: b"<html>Sign in</html>", "web page"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_not_whole_is_named(copy, kind):
    name, settings, folder, file = copy
    make, told = FILES[kind]
    file.write_bytes(make(file.read_bytes()))
    assert told in str(inspect(folder)[0])
    with pytest.raises(InputError, match=told) as caught:
        built(name, str(folder), settings)
    assert file.name in str(caught.value)


def test_a_whole_source_is_taken(copy):
    name, settings, folder, file = copy
    net = built(name, str(folder), settings)
    state = load_file(file)
    there = state[largest(state)]
    assert any(p.shape == there.shape and torch.equal(p, there) for p in net.parameters())
    assert Path(folder).name in str([m.weights_origin for m in net.modules() if hasattr(m, "weights_origin")])
