"""The miner `face_info_mining`: promises, zero gate, frames without a face, gradients, golden numbers."""

from __future__ import annotations

import dataclasses
import itertools

import parity_context
import pytest
import torch
from affectkit_plugins.encoders.face_analysis import REGIONS
from affectkit_plugins.miners import face_info_mining as fim
from affectkit_plugins.projectors import context_content
from step_checks import reference

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.errors import InputError
from affectkit.pieces import Shape

B, T, N, D = 3, 4, 5, 8
PIECE = fim.affectkit_pieces()[0]
INPUTS = {
    "tokens": Shape("tokens", T, N, D),
    "global_prior": Shape("tokens", T, 9, 6),
    "local_prior": Shape("tokens", T, 3, 10),
}


def block(name: str, seed: int = 0) -> TokenBlock:
    shape = INPUTS[name]
    g = torch.Generator().manual_seed(seed + len(name))
    tokens = torch.randn(B, T, shape.tokens, shape.width, generator=g)
    return TokenBlock(name, tokens, torch.ones(tokens.shape[:3], dtype=torch.bool))


def masked(b: TokenBlock, where: torch.Tensor, filler: float = 0.0) -> TokenBlock:
    mask = b.mask & ~where
    return TokenBlock(b.name, b.tokens.masked_fill(~mask[..., None], filler), mask)


def miner(gates: float = 0.0, inputs=INPUTS, **changes):
    torch.manual_seed(0)
    net = fim.build(fim.Settings(**{"heads": 2, **changes}), inputs, 32).eval()
    for look in net.look.values():
        torch.nn.init.constant_(look.gate, gates)
    return net


def run(net, tokens=None, global_prior=None, local_prior=None):
    given = {"tokens": tokens, "global_prior": global_prior, "local_prior": local_prior}
    return net(**{name: b or block(name) for name, b in given.items()})


@pytest.mark.parametrize(
    ("inject", "order", "use_global", "use_local"),
    list(
        itertools.product(
            ["enrich", "tokens", "both"],
            ["parallel", "global_then_local", "local_then_global"],
            [True, False],
            [True, False],
        )
    ),
)
def test_puts_out_exactly_what_shapes_announce(inject, order, use_global, use_local):
    s = fim.Settings(heads=2, inject=inject, order=order, use_global=use_global, use_local=use_local)
    assert bool(s.problems()) == (not use_global and not use_local)
    if s.problems():
        return
    announced = fim.shapes(s, INPUTS, 32)
    assert next(iter(announced)) == "enriched"
    assert ("face_tokens" in announced) == (inject != "enrich" and (use_global or use_local))
    out = run(fim.build(s, INPUTS, 32))
    assert list(out) == list(announced)
    for name, b in out.items():
        assert b.name == name
        assert b.tokens.shape == (B, announced[name].time, announced[name].tokens, announced[name].width)
        assert b.mask.shape == b.tokens.shape[:3]
        assert b.mask.all()


@pytest.mark.parametrize("order", ["parallel", "global_then_local", "local_then_global"])
def test_tokens_pass_unchanged_at_the_start_and_not_with_open_gates(order):
    tokens = block("tokens")
    assert torch.equal(run(miner(order=order), tokens)["enriched"].tokens, tokens.tokens)
    changed = run(miner(0.5, order=order), tokens)["enriched"].tokens - tokens.tokens
    assert changed.abs().flatten(0, 2).amax(1).min() > 1e-4


def test_where_it_only_puts_out_tokens_the_scene_passes_unchanged_whatever_is_learned():
    tokens = masked(block("tokens"), torch.arange(5) > 3)
    out = run(miner(0.5, inject="tokens"), tokens)
    assert torch.equal(out["enriched"].tokens, tokens.tokens * tokens.mask[..., None])
    assert torch.equal(out["enriched"].mask, tokens.mask)


def test_orders_differ_and_parallel_is_the_sum_of_both_paths():
    outs = {o: run(miner(0.7, order=o))["enriched"].tokens for o in ("parallel", "global_then_local")}
    assert (outs["parallel"] - outs["global_then_local"]).abs().max() > 1e-4
    net, tokens = miner(0.7), block("tokens")
    alone = []
    for name in ("global_prior", "local_prior"):
        prior = block(name)
        alone.append(net.look[name](tokens.tokens, net.enter[name](prior.tokens), prior.mask))
    assert torch.allclose(outs["parallel"], tokens.tokens + alone[0] + alone[1], atol=1e-6)


def test_attention_equals_torchs_own():
    net, tokens, prior = miner(0.3), block("tokens"), masked(block("global_prior"), torch.arange(9) > 6)
    look, entered = net.look["global_prior"], net.enter["global_prior"](prior.tokens)
    theirs = torch.nn.MultiheadAttention(D, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([look.query.weight, look.key.weight, look.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([look.query.bias, look.key.bias, look.value.bias]))
        theirs.out_proj.load_state_dict(look.out.state_dict())
    flat = [x.flatten(0, 1) for x in (look.norm(tokens.tokens), entered, ~prior.mask)]
    expected = theirs(flat[0], flat[1], flat[1], key_padding_mask=flat[2])[0]
    got = look(tokens.tokens, entered, prior.mask).flatten(0, 1)
    assert torch.allclose(got, look.gate.tanh() * expected, atol=1e-6)


def test_frames_do_not_see_each_other():
    net = miner(0.5)
    one, other = run(net), run(net, local_prior=masked_change(block("local_prior"), time=2))
    for name in one:
        moved = (one[name].tokens - other[name].tokens).abs().amax((0, 2, 3))
        assert moved[2] > 1e-4
        assert moved[[0, 1, 3]].max() == 0


def masked_change(b: TokenBlock, time: int) -> TokenBlock:
    tokens = b.tokens.clone()
    tokens[:, time] += torch.randn(tokens.shape[2:], generator=torch.Generator().manual_seed(9))
    return TokenBlock(b.name, tokens, b.mask)


def test_a_frame_without_a_face_keeps_its_tokens_and_tells_the_learned_token():
    net, tokens = miner(0.5), block("tokens")
    gone = torch.zeros(B, T, 1, dtype=torch.bool)
    gone[0, 1] = gone[2] = True  # one frame of row 0, all frames of row 2
    out = run(net, tokens, masked(block("global_prior"), gone), masked(block("local_prior"), gone))
    faceless = gone[..., 0]
    assert torch.equal(out["enriched"].tokens[faceless], tokens.tokens[faceless])
    learned = torch.stack([net.tell["global_prior"].nobody, net.tell["local_prior"].nobody])
    assert torch.equal(out["face_tokens"].tokens[faceless], learned.expand(int(gone.sum()), 2, D))
    full = run(net, tokens)
    for name in full:
        assert torch.allclose(out[name].tokens[~faceless], full[name].tokens[~faceless], atol=1e-6)
        assert (out[name].mask == full[name].mask).all()


def test_no_prior_at_run_time_is_no_face():
    net, tokens = miner(0.5), block("tokens")
    out = net(tokens=tokens, global_prior=None, local_prior=None)
    assert torch.equal(out["enriched"].tokens, tokens.tokens)
    assert torch.equal(out["face_tokens"].tokens[1, 2, 0], net.tell["global_prior"].nobody)


def test_padding_does_not_leak():
    net = miner(0.5)
    hide = torch.zeros(B, T, 3, dtype=torch.bool)
    hide[:, :, 2] = True
    zero, junk = (run(net, local_prior=masked(block("local_prior"), hide, f)) for f in (0.0, 7.0))
    for name in zero:
        assert torch.equal(zero[name].tokens, junk[name].tokens)
    short = masked(block("tokens"), torch.tensor([False, False, False, True])[None, :, None])
    out = run(net, short)
    for b in out.values():
        assert (b.tokens[~b.mask] == 0).all()
        assert not b.mask[:, 3].any()
        assert b.mask[:, :3].all()


def test_gradients_reach_everything_even_with_faceless_frames():
    net = miner(0.0).train()
    gone = torch.zeros(B, T, 1, dtype=torch.bool)
    gone[0, 1] = gone[2] = True
    given = [block("tokens"), masked(block("global_prior"), gone), masked(block("local_prior"), gone)]
    for b in given:
        b.tokens.requires_grad_()
    sum(b.tokens.square().sum() for b in run(net, *given).values()).backward()
    for name, p in net.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
    assert all(look.gate.grad.abs() > 1e-6 for look in net.look.values())
    for b in given:
        assert b.tokens.grad.isfinite().all()
        assert b.tokens.grad[1].abs().max() > 0
    for prior in given[1:]:
        assert prior.tokens.grad[2].abs().max() == 0
    net = miner(0.5).train()
    sum(b.tokens.square().sum() for b in run(net, *given).values()).backward()
    for name, p in net.named_parameters():
        if "key.bias" not in name:  # a constant added to every key changes no soft-max
            assert p.grad.abs().max() > 1e-8, name


MARKED = {**INPUTS, "landmarks": Shape("tokens", T, 68, 2)}


def marks(seed: int = 0) -> TokenBlock:
    g = torch.Generator().manual_seed(seed)
    points = 0.2 + 0.6 * torch.rand(B, T, 68, 2, generator=g)
    return TokenBlock("landmarks", points, torch.ones(B, T, 68, dtype=torch.bool))


def look_at(net, landmarks, **given):
    with torch.no_grad():
        return net(
            **{n: given.get(n, block(n)) for n in ("tokens", "global_prior", "local_prior")}, landmarks=landmarks
        )


def test_landmarks_become_a_local_token_for_each_region():
    net, points = miner(0.5, MARKED), marks()
    assert [layer[0].in_features for layer in net.regions.each] == [2 * n for n in REGIONS]
    low, high = points.tokens.amin(2, keepdim=True), points.tokens.amax(2, keepdim=True)
    face = (points.tokens - (low + high) / 2) / ((high - low) / 2).amax(-1, keepdim=True)
    assert torch.allclose(face.abs().amax((2, 3)), torch.ones(B, T))
    parts = [layer(p.flatten(2)) for layer, p in zip(net.regions.each, face.split(REGIONS, 2), strict=True)]
    local = block("local_prior")
    words = torch.cat([torch.stack(parts, 2), net.enter["local_prior"](local.tokens)], 2)
    real = torch.ones(words.shape[:3], dtype=torch.bool)
    tokens, whole = block("tokens"), block("global_prior")
    seen = net.look["local_prior"](tokens.tokens, words, real)
    other = net.look["global_prior"](tokens.tokens, net.enter["global_prior"](whole.tokens), whole.mask)
    out = look_at(net, points)
    assert torch.allclose(out["enriched"].tokens, tokens.tokens + seen + other, atol=1e-5)
    told = net.tell["local_prior"].mlp(words.mean(2))
    assert torch.allclose(out["face_tokens"].tokens[:, :, 1], told, atol=1e-5)


def test_where_a_face_is_and_how_large_counts_only_for_landmarks_as_given():
    points, moved = marks(), marks()
    moved.tokens.mul_(0.5).add_(0.3)
    for coordinates, counts in (("face", False), ("given", True)):
        net = miner(0.5, MARKED, coordinates=coordinates)
        far = look_at(net, points)["enriched"].tokens - look_at(net, moved)["enriched"].tokens
        assert (far.abs().max() > 1e-4) == counts


def test_landmarks_alone_are_a_local_path_and_frames_that_lack_one_have_none():
    inputs = {name: MARKED[name] for name in ("tokens", "landmarks")}
    net, tokens, points = miner(0.5, inputs, region_hidden=0), block("tokens"), marks()
    assert list(net.look) == list(net.tell) == ["local_prior"]
    assert isinstance(net.regions.each[0], torch.nn.Linear)
    points.mask[0, 1, 5] = False
    points.mask[2] = False
    points.tokens[~points.mask] = 1e3
    with torch.no_grad():
        out = net(tokens=tokens, landmarks=points)
        none = net(tokens=tokens, landmarks=TokenBlock("x", torch.zeros(B, T, 1, 2), torch.zeros(B, T, 1).bool()))
    gone = torch.zeros(B, T, dtype=torch.bool)
    gone[0, 1] = gone[2] = True
    assert torch.equal(out["enriched"].tokens[gone], tokens.tokens[gone])
    assert (out["enriched"].tokens[~gone] != tokens.tokens[~gone]).any(-1).all()
    assert torch.equal(out["face_tokens"].tokens[gone][:, 0], net.tell["local_prior"].nobody.expand(5, D))
    assert torch.equal(none["enriched"].tokens, tokens.tokens)
    assert fim.paths(fim.Settings(use_local=False), MARKED) == {"global_prior": ("global_prior",)}


def test_landmarks_pass_gradients_on():
    net, points = miner(0.5, MARKED).train(), marks()
    points.tokens.requires_grad_()
    points.mask[1] = False
    out = net(**{n: block(n) for n in INPUTS}, landmarks=points)
    sum(b.tokens.square().sum() for b in out.values()).backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().max() > 0 for p in net.regions.parameters())
    assert points.tokens.grad.isfinite().all()
    assert points.tokens.grad[1].abs().max() == 0 < points.tokens.grad[0].abs().max()


def test_at_step_0_the_model_is_llama_vid():
    """The largest difference is 0.0: the aggregator's tokens, on the published numbers, with the miner before it."""
    meta, weights, inputs, outputs = reference("llamavid_context")
    sizes = meta["config"]
    settings = context_content.Settings(**parity_context.sizes_of(meta, weights))
    _, clip, question = list(parity_context.cases(meta, inputs))[-1]
    scene = TokenBlock("x", clip.tokens[:1], clip.mask[:1])
    question = ViewBlock("question", question.values[:1], question.mask[:1])
    _, time, count, width = scene.tokens.shape
    given = {"tokens": Shape("tokens", time, count, width), "question": Shape("text", 1, 64)}
    aggregator = context_content.build(settings, given, sizes["d_llm"]).eval()
    aggregator.load_state_dict(parity_context.from_llama_vid(weights))
    g = torch.Generator().manual_seed(0)
    priors = {
        "global_prior": torch.randn(1, time, 49, 256, generator=g),
        "local_prior": torch.randn(1, time, 10, 256, generator=g),
        "landmarks": torch.rand(1, time, 68, 2, generator=g),
    }
    shapes = {name: Shape("tokens", *x.shape[1:]) for name, x in priors.items()}
    faces = {name: TokenBlock(name, x, torch.ones(x.shape[:3], dtype=torch.bool)) for name, x in priors.items()}
    mine = fim.build(fim.Settings(heads=4), {"tokens": given["tokens"], **shapes}, sizes["d_llm"]).eval()
    with torch.no_grad():
        enriched = mine(tokens=scene, **faces)["enriched"]
        bare = aggregator(scene, question)["tokens"].tokens
        mined = aggregator(enriched, question)["tokens"].tokens
        torch.nn.init.constant_(mine.look["global_prior"].gate, 0.1)
        opened = aggregator(mine(tokens=scene, **faces)["enriched"], question)["tokens"].tokens
    assert float((mined - bare).abs().max()) == 0.0
    published = outputs["mean.video0.tokens"][:1]
    far = (mined.flatten(1, 2) - published).abs().max() / published.abs().max()
    assert far <= meta["tolerance"]["strict"]
    assert float((opened - bare).abs().max()) > 1e-4, "an open gate shows"


def test_works_without_its_optional_ports():
    inputs = {"tokens": INPUTS["tokens"]}
    net, tokens = miner(inputs=inputs), block("tokens")
    assert list(net(tokens=tokens)) == list(fim.shapes(fim.Settings(heads=2), inputs, 32)) == ["enriched"]
    assert torch.equal(net(tokens=tokens)["enriched"].tokens, tokens.tokens)


def test_says_what_is_wrong():
    shorter = {**INPUTS, "local_prior": dataclasses.replace(INPUTS["local_prior"], time=3)}
    with pytest.raises(InputError) as caught:
        fim.shapes(fim.Settings(heads=3), shorter, 32)
    said = str(caught.value)
    assert "port local_prior: has 3 time steps where the visual tokens have 4" in said
    assert "3 heads do not divide the width 8" in said
    with pytest.raises(InputError, match="port landmarks: has 68 points a frame where the regions have 5"):
        fim.shapes(fim.Settings(heads=2, regions=(2, 3)), MARKED, 32)
    assert fim.shapes(fim.Settings(heads=2, use_local=False), shorter, 32)
    late = block("local_prior")
    late = TokenBlock("local_prior", late.tokens[:, :3], late.mask[:, :3])
    with pytest.raises(InputError, match=r"port local_prior: has \(rows, time steps\) \(3, 3\)"):
        run(miner(), local_prior=late)
    with pytest.raises(InputError, match="neither is given"):
        fim.shapes(fim.Settings(heads=2, inject="tokens"), {"tokens": INPUTS["tokens"]}, 32)
    wrong = fim.Settings(heads=0, hidden=0, dropout=1.0, inject="tokens", use_global=False, use_local=False, regions=())
    assert [field for field, _ in wrong.problems()] == ["heads", "hidden", "regions", "dropout", "use_local"]
    assert not fim.Settings().problems()


def test_settings_shape_the_network():
    assert miner(hidden=3).tell["global_prior"].mlp[0].out_features == 3
    assert set(miner(inject="enrich").state_dict()) & set(miner(inject="tokens").state_dict()) == {
        f"enter.{port}_prior.{i}.{p}" for port in ("global", "local") for i in (0, 1) for p in ("weight", "bias")
    }
    net = miner(0.5, dropout=0.5).train()
    assert not torch.equal(run(net)["enriched"].tokens, run(net)["enriched"].tokens)
    assert torch.equal(run(net)["face_tokens"].tokens, run(net)["face_tokens"].tokens)


def test_golden_numbers():
    # net = miner(0.5); out = run(net)
    # [round(float(x), 5) for x in out["enriched"].tokens[1, 2, 3, :3]] and of
    # out["face_tokens"].tokens[2, 3, :, 1]
    # 1])]
    out = run(miner(0.5))
    got = torch.stack([*out["enriched"].tokens[1, 2, 3, :3], *out["face_tokens"].tokens[2, 3, :, 1]])
    assert torch.allclose(got, torch.tensor(GOLDEN), atol=2e-5), got.tolist()


GOLDEN = [1.46721, -0.95382, 2.46298, -0.07558, 0.06287]


def test_a_prior_without_a_face_may_be_shorter_than_the_clip():
    net = miner(gates=1.0)
    none = torch.ones(B, T, 1, dtype=torch.bool)
    whole = run(net, global_prior=masked(block("global_prior"), none), local_prior=masked(block("local_prior"), none))
    short = {n: masked(block(n), none) for n in ("global_prior", "local_prior")}
    cut = run(net, **{n: TokenBlock(n, b.tokens[:, :1], b.mask[:, :1]) for n, b in short.items()})
    for name in whole:
        torch.testing.assert_close(cut[name].tokens, whole[name].tokens)
    seen = block("global_prior")
    with pytest.raises(InputError, match="cut the faces from the same frames"):
        run(net, global_prior=TokenBlock(seen.name, seen.tokens[:, :2], seen.mask[:, :2]))
