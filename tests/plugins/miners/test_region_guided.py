"""The miner `region_guided`: the published attention in torch's own words, places, stills and clips, frames without a face."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from affectkit_plugins.encoders.face_analysis import REGIONS
from affectkit_plugins.miners import region_guided

from affectkit.blocks import TokenBlock
from affectkit.errors import InputError
from affectkit.pieces import Shape

B, T, N, D = 3, 4, 17, 8
INPUTS = {"tokens": Shape("tokens", T, N, D), "landmarks": Shape("tokens", T, 68, 2)}
PUBLISHED = {"proximity": False}


def block(name: str, seed: int = 0) -> TokenBlock:
    shape = INPUTS[name]
    g = torch.Generator().manual_seed(seed + len(name))
    tokens = torch.randn(B, T, shape.tokens, shape.width, generator=g)
    tokens = tokens.sigmoid() if name == "landmarks" else tokens
    return TokenBlock(name, tokens, torch.ones(tokens.shape[:3], dtype=torch.bool))


def miner(inputs=INPUTS, **changes):
    torch.manual_seed(0)
    net = region_guided.build(region_guided.Settings(**{"heads": 2, **changes}), inputs, 32).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=0.5)
    return net


def run(net, tokens=None, landmarks=None):
    with torch.no_grad():
        return net(tokens=tokens or block("tokens"), landmarks=landmarks or block("landmarks"))


def regions_of(points):
    """The projector as the paper says it: a linear layer a region, and one for all points, added to each."""
    return points.split(REGIONS, 2)


@pytest.mark.parametrize("changes", [PUBLISHED, {}, {"grid": "row_col", "projection": False}])
def test_equals_the_description_in_torchs_own_words(changes):
    net, tokens, marks = miner(**changes), block("tokens"), block("landmarks")
    theirs = torch.nn.MultiheadAttention(D, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([net.query.weight, net.key.weight, net.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([net.query.bias, net.key.bias, net.value.bias]))
        if changes.get("projection", True):
            theirs.out_proj.load_state_dict(net.out.state_dict())
        else:
            theirs.out_proj.weight.copy_(torch.eye(D))
            theirs.out_proj.bias.zero_()
    face = net.whole(marks.tokens.reshape(B, T, 136))
    parts = [layer(p.reshape(B, T, -1)) for layer, p in zip(net.local.each, regions_of(marks.tokens), strict=True)]
    words = (torch.stack(parts, 2) + face[:, :, None]).flatten(0, 1)
    bias = None
    if changes.get("proximity", True):
        middles = torch.stack([p.mean(2) for p in regions_of(marks.tokens)], 2)  # [b t 9 2]
        far = torch.zeros(B, T, N, 9)
        for patch in range(N - 1):
            row, column = divmod(patch, 4)
            place = torch.tensor([column, row] if changes.get("grid", "xy") == "xy" else [row, column])
            far[:, :, 1 + patch] = (middles - (place + 0.5) / 4).norm(dim=-1)
        bias = (-far).softmax(-1).flatten(0, 1).repeat_interleave(2, 0)
    flat = tokens.tokens.flatten(0, 1)
    seen = theirs(flat, words, words, attn_mask=bias)[0]
    expected = flat + 0.1 * net.linear(net.norm(flat + seen))
    out = run(net, tokens, marks)
    assert torch.allclose(out["enriched"].tokens.flatten(0, 1), expected, atol=1e-5)
    assert torch.allclose(out["face_tokens"].tokens[:, :, 0], face, atol=1e-6)


def test_a_patch_is_drawn_to_the_region_beside_it_and_a_class_token_to_none():
    net, marks = miner(), block("landmarks")
    marks.tokens[..., 48:60, :] = torch.tensor([0.875, 0.125])  # the lips: last column, first row
    marks.tokens[..., :48, :] = marks.tokens[..., 60:, :] = 0.5
    near = net.near(marks.tokens, N)
    assert near.shape == (B, T, N, 9)
    assert torch.allclose(near[:, :, 0], torch.tensor(1 / 9))
    lips = near[0, 0, 1:, 7].unflatten(0, (4, 4))
    assert lips.argmax() == 3, "row 0, column 3"
    swapped = miner(grid="row_col").near(marks.tokens, N)[0, 0, 1:, 7]
    assert swapped.argmax() == 12, "as the released code: row 3, column 0"


@pytest.mark.parametrize(("tokens", "class_token"), [(16, "auto"), (17, "auto"), (17, "first"), (16, "none")])
@pytest.mark.parametrize("time", [1, T])
def test_works_on_stills_and_clips_with_and_without_a_class_token(tokens, class_token, time):
    inputs = {"tokens": Shape("tokens", time, tokens, D), "landmarks": Shape("tokens", time, 68, 2)}
    net = miner(inputs, class_token=class_token)
    b, marks = block("tokens"), block("landmarks")
    b = TokenBlock("tokens", b.tokens[:, :time, :tokens], b.mask[:, :time, :tokens])
    marks = TokenBlock("landmarks", marks.tokens[:, :time], marks.mask[:, :time])
    out = run(net, b, marks)
    assert out["enriched"].tokens.shape == (B, time, tokens, D)
    assert out["face_tokens"].tokens.shape == (B, time, 1, D)
    assert (out["enriched"].tokens != b.tokens).any(-1).all()


def test_landmarks_count_when_nothing_trains():
    net, moved = miner(), block("landmarks", seed=5)
    assert not net.training
    one, other = run(net), run(net, landmarks=moved)
    assert (one["enriched"].tokens - other["enriched"].tokens).abs().amax((0, 3)).min() > 1e-5


def test_a_frame_without_all_landmarks_keeps_its_tokens():
    net, tokens, marks = miner(), block("tokens"), block("landmarks")
    marks.mask[0, 1] = False
    marks.mask[1, 2, 30] = False
    marks.mask[2] = False
    gone = torch.zeros(B, T, dtype=torch.bool)
    gone[0, 1] = gone[1, 2] = gone[2] = True
    marks.tokens[~marks.mask] = 1e3
    out, full = run(net, tokens, marks), run(net, tokens)
    assert torch.equal(out["enriched"].tokens[gone], tokens.tokens[gone])
    assert torch.allclose(out["enriched"].tokens[~gone], full["enriched"].tokens[~gone], atol=1e-6)
    assert torch.equal(out["face_tokens"].mask[..., 0], ~gone)
    assert (out["face_tokens"].tokens[gone] == 0).all()
    few = TokenBlock("landmarks", marks.tokens[:, :, :1] * 0, torch.zeros(B, T, 1, dtype=torch.bool))
    for empty in (few, None):
        with torch.no_grad():
            out = net(tokens=tokens, landmarks=empty)
        assert torch.equal(out["enriched"].tokens, tokens.tokens)
        assert not out["face_tokens"].mask.any()


def test_scale_is_what_stands_before_the_branch():
    tokens = block("tokens")
    branch = [run(miner(scale=s), tokens)["enriched"].tokens - tokens.tokens for s in (0.001, 0.1)]
    assert torch.allclose(100 * branch[0], branch[1], atol=1e-4)
    assert torch.equal(run(miner(scale=0.0), tokens)["enriched"].tokens, tokens.tokens)


def test_frames_do_not_see_each_other():
    net, moved = miner(), block("landmarks")
    moved.tokens[:, 2] = block("landmarks", seed=9).tokens[:, 2]
    one, other = run(net), run(net, landmarks=moved)
    for name in one:
        far = (one[name].tokens - other[name].tokens).abs().amax((0, 2, 3))
        assert far[2] > 1e-5
        assert far[[0, 1, 3]].max() == 0


@pytest.mark.parametrize("proximity", [True, False])
def test_gradients_reach_everything(proximity):
    net = miner(proximity=proximity).train()
    given = [block("tokens"), block("landmarks")]
    given[1].mask[1] = False
    for b in given:
        b.tokens.requires_grad_()
    out = net(tokens=given[0], landmarks=given[1])
    sum(b.tokens.square().sum() for b in out.values()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.isfinite().all(), name
        if name != "key.bias":  # a constant added to every key changes no soft-max
            assert parameter.grad.abs().max() > 1e-8, name
    assert given[1].tokens.grad[1].abs().max() == 0
    assert given[1].tokens.grad[0].abs().min() > 0


def test_says_what_is_wrong():
    shapes = region_guided.shapes
    with pytest.raises(InputError, match="nothing fills the port 'landmarks'"):
        shapes(region_guided.Settings(), {"tokens": INPUTS["tokens"]}, 32)
    wrong = {
        "tokens": dataclasses.replace(INPUTS["tokens"], tokens=13),
        "landmarks": Shape("tokens", 3, 5, 1),
    }
    with pytest.raises(InputError) as caught:
        shapes(region_guided.Settings(heads=3), wrong, 32)
    said = str(caught.value)
    assert "port landmarks: has 3 time steps where the visual tokens have 4" in said
    assert "has 5 points a frame where the regions have 68" in said
    assert "1 number a point where x and y are two" in said
    assert "3 heads do not divide the width 8" in said
    assert "the places of 12 patches a frame are not known" in said
    unknown = {**INPUTS, "tokens": Shape("tokens", T, None, D)}
    with pytest.raises(InputError, match="number of visual tokens a frame is not known"):
        region_guided.build(region_guided.Settings(heads=2), unknown, 32)
    assert region_guided.build(region_guided.Settings(heads=2, proximity=False), unknown, 32)
    assert [f for f, _ in region_guided.Settings(heads=0, regions=(0,)).problems()] == ["heads", "regions"]


def test_golden_numbers():
    # out = run(miner()); [*out["enriched"].tokens[1, 2, 3, :3], *out["face_tokens"].tokens[2, 3, 0, :2]]
    out = run(miner())
    got = torch.stack([*out["enriched"].tokens[1, 2, 3, :3], *out["face_tokens"].tokens[2, 3, 0, :2]])
    assert torch.allclose(got, torch.tensor(GOLDEN), atol=2e-5), got.tolist()


GOLDEN = [1.41122, 0.57926, -2.34673, 1.56391, 2.79573]
