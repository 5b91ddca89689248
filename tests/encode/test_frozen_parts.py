"""An encoder freezes exactly what its blocks do not pass, however it was loaded, and trains on any sound."""

import pytest
import torch
from affectkit_plugins.encoders._frames_net import freeze_unused

from affectkit.blocks import ViewBlock
from affectkit.pieces import Shape
from affectkit.registry import Registry

REGISTRY = Registry.load()


def built(name, **settings):
    piece = REGISTRY.piece("encoder", name)
    eats = piece.ports[0].eats
    inputs = {eats: Shape("pixels", 2) if eats == "pixels" else Shape("wave", 1, 8000, 16000)}
    torch.manual_seed(0)
    return piece.build(piece.settings(**{**piece.tiny, **settings}), inputs, 32)


def frozen(step):
    return {n for n, p in step.named_parameters() if not p.requires_grad}


CLIP_LAST = "net.model.vision_model.encoder.layers.1."
HEAD = {"net.model.visual_projection.weight"}
NORM = {f"net.model.vision_model.post_layernorm.{p}" for p in ("weight", "bias")}


@pytest.mark.parametrize(
    ("settings", "left_out"),
    [({"pool": "projected"}, set()), ({"pool": "none"}, HEAD | NORM), ({"pool": "mean"}, HEAD | NORM)],
    ids=lambda case: case.get("pool") if isinstance(case, dict) else "",
)
def test_clip_vision_trains_what_its_pooling_uses(settings, left_out):
    assert frozen(built("clip_vision", **settings)) == left_out


def test_layers_above_the_one_that_is_taken_are_frozen():
    found = frozen(built("clip_vision", take=-2))
    every = {n for n, _ in built("clip_vision").named_parameters() if ".layers.1." in n}
    assert every
    assert found == HEAD | NORM | every


def test_open_clip_and_timm_freeze_heads_that_nobody_named():
    assert frozen(built("open_clip")) == {"net.visual.proj"}
    assert frozen(built("open_clip", pool="projected")) == set()
    model = {"model": "test_vit2", "size": 64}
    whole = built("timm", **model, pool="head")
    assert frozen(whole) == set()
    part = frozen(built("timm", **model))
    assert part < {n for n, _ in whole.named_parameters()}
    assert all("pool" in n or "norm" in n for n in part)


def test_facexformer_freezes_its_backbone_s_unused_norm():
    found = frozen(built("facexformer"))
    assert {n.split(".model.")[1].split(".")[0] for n in found} == {"backbone"}
    assert all(".backbone.1." in n for n in found)


def test_looking_for_them_computes_and_draws_nothing():
    net = built("clip_vision").net
    before, draws = {n: v.clone() for n, v in net.state_dict().items()}, torch.get_rng_state()
    freeze_unused(net, 16)
    assert torch.equal(torch.get_rng_state(), draws)
    assert all(torch.equal(v, before[n]) for n, v in net.state_dict().items())
    assert all(p.grad is None and p.device.type == "cpu" for p in net.parameters())


def test_what_was_frozen_before_stays_so():
    net = built("vit_mae").net.requires_grad_(False)
    freeze_unused(net, 16)
    assert not any(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("name", ["hubert", "wav2vec2", "wavlm"])
def test_a_speech_encoder_trains_on_sound_of_a_tenth_of_a_second(name):
    """Their configurations mask stretches of 0.2 s while training, and skip whole layers."""
    step = built(name).train()
    assert {n.rpartition(".")[2] for n in frozen(step)} == {"masked_spec_embed"}
    wave = ViewBlock("wave", torch.randn(2, 1600), torch.ones(2, 1600, dtype=torch.bool))
    for _ in range(5):
        step.zero_grad()
        step(wave)["frames"].tokens.square().sum().backward()
        assert all(p.grad is not None for p in step.parameters() if p.requires_grad)
