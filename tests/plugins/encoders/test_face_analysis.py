"""The encoder `face_analysis`: promises, landmarks, estimates, the objective, learning, golden numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from affectkit_plugins.encoders import face_analysis as fa
from affectkit_plugins.encoders.face_analysis_net import MIRROR, Jitter, upright

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.errors import InputError
from affectkit.pieces import Shape
from affectkit.raw import RawPixels
from affectkit.sample import Fact

B, T = 2, 3
PIECE = fa.affectkit_pieces()[0]
TINY = fa.Settings(**PIECE.tiny)
PER_FRAME = {"action_units", "landmarks", "crop_box"}


def net(settings=TINY):
    torch.manual_seed(0)
    return fa.build(settings, {"pixels": Shape("pixels", T)}, 32).eval()


def view(boxes=None, size=TINY.size):
    values = torch.randint(0, 256, (B, T, 3, size, size), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[True, False, True], [True, True, False]])
    return ViewBlock("pixels", values.to(torch.uint8), mask, boxes)


def facts(**values):
    return {name: Fact(v, per_frame=name in PER_FRAME) for name, v in values.items()}


def test_puts_out_what_shapes_announce():
    out, announced = net()(pixels=view()), fa.shapes(TINY, {"pixels": Shape("pixels", T)}, 32)
    names = ["global", "local", "landmarks", "units", "valid", "age", "gender", "skin_tone"]
    assert list(out) == list(announced) == names
    for name, b in out.items():
        assert b.name == name
        assert b.tokens.shape == (B, announced[name].time, announced[name].tokens, announced[name].width)
        assert torch.equal(b.mask, view().mask[:, :, None].expand(b.tokens.shape[:3]))
        assert (b.tokens[~b.mask] == 0).all()
        assert b.tokens.isfinite().all()
    assert torch.equal(out["valid"].tokens[..., 0, 0], view().mask.float())
    for name in ("age", "gender", "skin_tone"):
        assert torch.allclose(out[name].tokens.sum(-1), out[name].mask.float(), atol=1e-6)
    assert 0 < out["units"].tokens[0, 0].min() < out["units"].tokens.max() < 1


def test_published_settings_build_and_announce_the_same():
    settings = fa.Settings()
    assert not settings.problems()
    out = net(settings)(view(size=settings.size))
    announced = fa.shapes(settings, {"pixels": Shape("pixels", T)}, 32)
    assert {n: b.tokens.shape[2:] for n, b in out.items()} == {n: (s.tokens, s.width) for n, s in announced.items()}
    assert announced["global"].tokens == announced["local"].tokens == 9


def test_a_frame_stands_alone():
    module, whole = net(), view()
    out = module(whole)
    junk = whole.values.clone()
    junk[~whole.mask] = 200
    for name, b in module(ViewBlock("pixels", junk, whole.mask)).items():
        assert torch.equal(b.tokens, out[name].tokens)
    one = module(ViewBlock("pixels", whole.values[1:, 1:2], whole.mask[1:, 1:2]))
    for name, b in one.items():
        assert torch.allclose(b.tokens[0, 0], out[name].tokens[1, 1], atol=1e-5)


def test_a_batch_without_faces_gives_empty_blocks():
    none = ViewBlock("pixels", view().values, torch.zeros(B, T, dtype=torch.bool))
    module = net()
    out = module(none)
    assert all((b.tokens == 0).all() and not b.mask.any() for b in out.values())
    assert module.facts(out)[0]["age"].origin == "missing"
    assert module.loss(out, [{}, {}]) == 0


def test_landmarks_are_fractions_of_the_whole_frame():
    boxes = torch.tensor([0.5, 0.25, 0.75, 0.5]).expand(B, T, 4)
    module = net()
    inside, outside = (module(view(b))["landmarks"].tokens[view().mask] for b in (None, boxes))
    assert torch.allclose(outside[..., 0], 0.5 + 0.25 * inside[..., 0], atol=1e-6)
    assert torch.allclose(outside[..., 1], 0.25 + 0.25 * inside[..., 1], atol=1e-6)


def test_upright_forgets_place_size_and_turn():
    points = torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(2))
    there = upright(points)
    assert torch.allclose(there[:, [36, 45]], torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), atol=1e-5)
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    assert torch.allclose(upright(1.7 * points @ turn + 3), there, atol=1e-4)
    assert upright(torch.zeros(1, 68, 2)).isfinite().all()


def place_of(bright: torch.Tensor) -> torch.Tensor:
    """The middle [N 2] of what is bright in maps [N 1 h x], in fractions."""
    share = (bright - bright.amin((2, 3), keepdim=True)).square()
    share = share / share.sum((2, 3), keepdim=True)
    at = (torch.arange(bright.shape[-1]) + 0.5) / bright.shape[-1]
    return torch.stack([(share.sum(2)[:, 0] * at).sum(1), (share.sum(3)[:, 0] * at).sum(1)], 1)


def test_jitter_knows_the_way_back():
    image = torch.full((4, 3, 32, 32), -1.0)
    y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    image += 2 * torch.exp(-((x - 20.5) ** 2 + (y - 13.5) ** 2) / 8)
    torch.manual_seed(3)
    jitter = Jitter.draw(4, image.device)
    seen = place_of(jitter.crop(image)[:, :1])  # a jitter of the light moves no peak
    true = torch.tensor([20.5 / 32, 13.5 / 32])
    assert (seen - true).abs().max() > 0.03
    sides = jitter.scale[:, 0].sign().tolist()
    assert set(sides) == {1.0, -1.0}
    assert (jitter.back(seen[:, None].expand(-1, 68, -1)) - true).abs().max() < 0.01
    named = torch.rand(4, 68, 2)
    twice = jitter.back(named)
    for i, side in enumerate(sides):
        straight = ((named[i] * 2 - 1) * jitter.scale[i] + jitter.shift[i] + 1) / 2
        assert torch.allclose(twice[i], straight[list(MIRROR)] if side < 0 else straight)


def test_a_mirror_swaps_left_and_right_landmarks():
    assert [MIRROR[i] for i in MIRROR] == list(range(68))
    begin = 0
    for region, other in zip(fa.REGIONS, (0, 2, 1, 3, 4, 6, 5, 7, 8), strict=True):
        start = sum(fa.REGIONS[:other])
        assert {MIRROR[i] for i in range(begin, begin + region)} == set(range(start, start + fa.REGIONS[other]))
        begin += region
    # the outer corner of one eye is the other's, a mouth's corner the other one, the tip of the nose itself
    assert (MIRROR[36], MIRROR[48], MIRROR[30], MIRROR[8], MIRROR[0]) == (45, 54, 30, 8, 16)


def test_augment_is_for_training_and_repeats_with_the_seed():
    module = net(dataclasses.replace(TINY, augment=True))
    plain = net()(view())["global"].tokens
    assert torch.equal(module(view())["global"].tokens, plain)
    module.train()
    runs = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        runs.append(module(view())["global"].tokens)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert not torch.equal(runs[0], plain)


def test_grey_sees_no_colour():
    red, blue = (
        torch.zeros(1, 1, 3, 16, 16, dtype=torch.uint8),
        torch.zeros(1, 1, 3, 16, 16, dtype=torch.uint8),
    )
    red[:, :, 0] = 57
    blue[:, :, 2] = 150  # as bright: 57 * 0.299 = 150 * 0.114 to 0.06
    there = torch.ones(1, 1, dtype=torch.bool)
    for grey, equal in ((True, True), (False, False)):
        module = net(dataclasses.replace(TINY, grey=grey))
        a, b = (module(ViewBlock("pixels", c, there))["units"].tokens for c in (red, blue))
        assert torch.allclose(a, b, atol=2e-3) == equal


def test_prepare_resizes_crops_and_leaves_faceless_frames_black():
    wide = np.zeros((20, 30, 3), np.uint8)
    wide[:, :, 0] = 90
    frames = (wide, np.full((50, 50, 3), 7, np.uint8), np.full((16, 16, 3), 7, np.uint8))
    raw = RawPixels(frames, np.arange(3), np.arange(3.0), np.array([True, False, True]))
    out = fa.prepare(TINY, "pixels", raw)
    assert out.dtype == np.uint8
    assert out.shape == (3, 3, 16, 16)
    assert (out[0] == np.array([90, 0, 0])[:, None, None]).all()
    assert (out[1] == 0).all()
    assert (out[2] == 7).all()


def test_estimates_average_probabilities_over_valid_frames():
    tokens = torch.zeros(B, T, 1, 2)
    tokens[0] = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.1, 0.9]])[:, None]
    mask = torch.tensor([[True, False, True], [False] * 3])[:, :, None]
    blocks = net()(view())
    blocks["gender"] = TokenBlock("gender", tokens, mask)
    got = net().facts(blocks)
    assert len(got) == B
    assert got[0]["gender"].value == "male"
    assert got[0]["gender"].origin == "estimate"
    assert got[0]["gender"].probability == pytest.approx(0.65)
    assert got[1]["gender"].origin == "missing"
    assert set(got[0]) == {"age", "gender", "skin_tone"}


def test_the_landmark_objective_is_zero_at_the_labels_whatever_the_crop():
    module, size, box = net(), (100, 200), np.array([40.0, 20.0, 100.0, 80.0])
    boxes = torch.tensor(box / [200, 100, 200, 100], dtype=torch.float32).expand(B, T, 4)
    out = module(view(boxes))
    pixels = out["landmarks"].tokens.detach().numpy() * [200, 100]
    extra = {"crop_box": np.tile(box, (T, 1)), "frame_size": size}
    rows = [facts(landmarks=pixels[i], **extra) for i in range(B)]
    assert module.loss(out, rows) < 1e-8
    moved = [facts(landmarks=pixels[i] + [6.0, 0.0], **extra) for i in range(B)]  # a tenth of the crop in x
    assert module.loss(out, moved).item() == pytest.approx(20 * (0.1 - 0.01) / 2, rel=1e-3)
    whole = module(view())
    pixels = whole["landmarks"].tokens.detach().numpy() * [200, 100]
    assert module.loss(whole, [facts(landmarks=p, frame_size=size) for p in pixels]) < 1e-8


def test_the_unit_objective_is_least_at_the_labels():
    module = net()
    out = module(view())
    exact = out["units"].tokens[:, :, 0].detach().numpy()
    assert abs(module.loss(out, [facts(action_units=a) for a in exact])) < 1e-6
    assert module.loss(out, [facts(action_units=a * 0.5) for a in exact]) > 0.05


def test_only_labels_are_learned_from_and_gaps_are_left_out():
    module = net()
    out = module(view())
    sure = [facts(age="70+"), {}]
    assert module.loss(out, sure) > 0
    guess = [{"age": Fact("70+", "estimate", 0.9), "landmarks": Fact(None, "missing")}, {}]
    assert module.loss(out, guess) == 0
    assert module.loss(out, [facts(age=74), {}]) == module.loss(out, sure)
    units = np.random.default_rng(0).random((T, len(TINY.units))).astype(np.float32)
    base = module.loss(out, [facts(action_units=units), {}])
    units[1] = np.nan  # frame 1 has no face anyway
    assert module.loss(out, [facts(action_units=units), {}]) == base
    units[0, 3] = np.nan
    assert module.loss(out, [facts(action_units=units), {}]).isfinite()
    short = module.loss(out, [facts(action_units=units[:2]), {}])
    assert short.isfinite()
    assert short != base


def test_units_are_found_by_their_names():
    module = net()
    out = module(view())
    units = np.random.default_rng(0).random((T, len(TINY.units))).astype(np.float32)
    turned = [facts(action_units=units[:, ::-1], action_unit_names=TINY.units[::-1]), {}]
    assert module.loss(out, turned) == module.loss(out, [facts(action_units=units), {}])
    some = [facts(action_units=np.full((T, 2), 0.5), action_unit_names=("AU12", "AU99")), {}]
    alone = units * np.nan
    alone[:, TINY.units.index("AU12")] = 0.5
    assert module.loss(out, some) == module.loss(out, [facts(action_units=alone), {}])
    with pytest.raises(InputError, match=r"none of its columns \(AU99\) is predicted"):
        module.loss(out, [facts(action_units=np.zeros((T, 1)), action_unit_names=("AU99",)), {}])


def test_gradients_reach_every_part():
    module = net(dataclasses.replace(TINY, augment=True)).train()
    out = module(view(torch.tensor([0.2, 0.2, 0.8, 0.8]).expand(B, T, 4)))
    box = np.tile([20.0, 20.0, 80.0, 80.0], (T, 1))
    rows = [
        facts(
            action_units=np.full((T, len(TINY.units)), 0.3), landmarks=np.full((T, 68, 2), 40.0),
            crop_box=box, frame_size=(100, 100), age="20-29",
            gender="male", skin_tone=TINY.skin_tones[i],
        )
        for i in range(B)
    ]  # fmt: skip
    module.loss(out, rows).backward()
    for name, p in module.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        assert p.grad.abs().max() > 0, name


def test_says_what_is_wrong():
    module = net()
    out = module(view())
    with pytest.raises(InputError, match=r"fact gender: unknown word 'femal'(?s:.*)did you mean 'female'"):
        module.loss(out, [facts(gender="femal"), {}])
    with pytest.raises(InputError, match=r"fact action_units: each frame has \(5,\) values .* \(16,\)"):
        module.loss(out, [facts(action_units=np.zeros((T, 5))), {}])
    wrong = fa.Settings(
        size=20, channels=(8, 8, 9), heads=5, grid=4, layers=-1, units=(), genders=("a", "a"), skin_tones=()
    )
    fields = ["size", "channels", "heads", "grid", "layers", "units", "genders", "skin_tones"]
    assert [field for field, _ in wrong.problems()] == fields


def drawn(count: int, side: int, rng: np.random.Generator):
    """A bright disc on dark ground: unit 0 is its size, all landmarks its centre, gender the colour."""
    y, x = np.mgrid[:side, :side] + 0.5
    size, place = rng.random(count), rng.uniform(0.3, 0.7, (count, 2)) * side
    red = rng.random(count) < 0.5
    inside = (x - place[:, :1, None]) ** 2 + (y - place[:, 1:, None]) ** 2 < (2 + 3 * size[:, None, None]) ** 2
    values = np.zeros((count, 1, 3, side, side), np.uint8)
    values[:, 0, 1][inside] = 120
    values[:, 0, 0][inside & red[:, None, None]] = 220
    rows = []
    for i in range(count):
        units = np.zeros((1, len(TINY.units)))
        units[0, 0] = size[i]
        points = np.tile(place[i], (1, 68, 1))
        gender = "male" if red[i] else "female"
        rows.append(facts(action_units=units, landmarks=points, frame_size=(side, side), gender=gender))
    there = torch.ones(count, 1, dtype=torch.bool)
    return ViewBlock("pixels", torch.from_numpy(values), there), rows


@pytest.mark.usefixtures("one_thread")
def test_learns_sizes_places_and_colours():
    rng = np.random.default_rng(0)
    module = net(dataclasses.replace(TINY, channels=(8, 16, 16), width=16)).train()
    best = torch.optim.AdamW(module.parameters(), lr=5e-3)
    for _ in range(110):
        pixels, rows = drawn(32, TINY.size, rng)
        best.zero_grad()
        module.loss(module(pixels), rows).backward()
        best.step()
    pixels, rows = drawn(64, TINY.size, rng)
    out = module.eval()(pixels)
    units, points = out["units"].tokens[:, 0, 0, 0].detach(), out["landmarks"].tokens[:, 0, 0].detach()
    size = torch.tensor([r["action_units"].value[0, 0] for r in rows])
    place = torch.tensor(np.stack([r["landmarks"].value[0, 0] for r in rows])) / TINY.size
    assert torch.corrcoef(torch.stack([units.double(), size]))[0, 1] > 0.8
    assert (points - place).abs().mean() < 0.06
    guessed = [f["gender"].value for f in module.facts(out)]
    assert np.mean([g == r["gender"].value for g, r in zip(guessed, rows, strict=True)]) > 0.9


def test_golden_numbers():
    # out = net()(view()); each of `global`, `local`, `landmarks`, `units`, `age` at .tokens[1, 1, 0, 1]
    out = net()(view())
    got = [out[name].tokens[1, 1, 0, 1].item() for name in ("global", "local", "landmarks", "units", "age")]
    assert got == pytest.approx(GOLDEN, abs=2e-5)


GOLDEN = [1.00588, -0.92514, 0.489, 0.55383, 0.08702]
