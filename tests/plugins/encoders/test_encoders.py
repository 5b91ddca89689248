"""What every encoder promises: the blocks it announced, frames and sounds that do not touch each other, exact
pixels."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from affectkit_plugins.encoders._pixels import Preprocessing, pixels
from affectkit_plugins.encoders._sound import at_rate, receptive, spread
from affectkit_plugins.encoders.speech import KERNELS, RATE, STRIDES
from encoder_inputs import MODULES, PIECES, frames, made, noise, view

from affectkit import weights
from affectkit.blocks import ViewBlock
from affectkit.errors import InputError
from affectkit.pieces import Shape
from affectkit.raw import RawPixels, RawWave

IMAGE = [name for name, piece in PIECES.items() if piece.ports[0].eats == "pixels"]
BY_FRAME = [name for name in IMAGE if name != "videomae"]
SOUND = [name for name, piece in PIECES.items() if piece.ports[0].eats == "wave"]
SPEECH = ["hubert", "wav2vec2", "wavlm"]
POOLED = [
    ("clip_vision", "mean"),
    ("clip_vision", "cls"),
    ("clip_vision", "projected"),
    ("eva_clip_g", "mean"),
    ("eva_clip_g", "cls"),
    ("image_patches", "mean"),
    ("open_clip", "mean"),
    ("open_clip", "projected"),
    ("timm", "mean"),
    ("timm", "cls"),
    ("timm", "head"),
    ("videomae", "mean"),
    ("vit_mae", "mean"),
    ("vit_mae", "cls"),
    ("hubert", "mean"),
    ("whisper", "mean"),
]


def some(name, seed=0):
    return frames(4, seed=seed) if name in IMAGE else noise(8000, seed)


@pytest.mark.parametrize("name", PIECES)
def test_puts_out_what_it_announced(name):
    step, settings, announced = made(name)
    with torch.no_grad():
        out = step(view(name, settings, [some(name), some(name, 1)]))
    assert list(out) == list(announced)
    for block, shape in announced.items():
        b, t, n, d = out[block].tokens.shape
        assert out[block].mask.shape == (b, t, n)
        assert (b, t) == (2, shape.time)
        assert shape.tokens in (None, n)
        assert shape.width in (None, d)
        assert out[block].tokens.isfinite().all()
        assert out[block].tokens[out[block].mask].abs().sum() > 0


@pytest.mark.parametrize(("name", "pool"), POOLED)
def test_pooling_gives_one_token_a_time_step(name, pool):
    step, settings, announced = made(name, pool=pool)
    with torch.no_grad():
        out = step(view(name, settings, [some(name)]))
    assert list(out) == list(announced)
    assert next(iter(out)) == "pooled"
    assert out["pooled"].tokens.shape[2] == 1
    assert announced["pooled"].width in (None, out["pooled"].tokens.shape[3])
    if pool == "mean" and name not in ("timm", "open_clip"):
        full, _, _ = made(name)
        full.load_state_dict(step.state_dict())
        with torch.no_grad():
            block = next(iter(full(view(name, settings, [some(name)])).values()))
        torch.testing.assert_close(out["pooled"].tokens, block.tokens.mean(2, keepdim=True), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", IMAGE)
def test_frames_without_a_face_are_not_seen_and_give_zeros(name):
    step, settings, _ = made(name)
    holes = frames(4, [1, 0, 1, 0])
    with torch.no_grad():
        out = step(view(name, settings, [holes, frames(2, seed=3)], spoil=True))
        alone = step(view(name, settings, [frames(2, seed=3)]))
    for block, tokens in out.items():
        assert (tokens.tokens[~tokens.mask] == 0).all()
        t = 1 if name == "videomae" else 2
        torch.testing.assert_close(tokens.tokens[1:, :t], alone[block].tokens, atol=1e-5, rtol=0)
        if name != "videomae":
            assert tokens.mask.any(2).tolist() == [[True, False, True, False], [True, True, False, False]]


@pytest.mark.parametrize("name", BY_FRAME)
def test_the_tower_runs_on_real_frames_only(name):
    step, settings, _ = made(name)
    seen = []
    step.net.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    with torch.no_grad():
        step(view(name, settings, [frames(4, [1, 0, 0, 1]), frames(3, [0, 1, 0])]))
        nothing = step(view(name, settings, [frames(3, [0, 0, 0])]))
    assert seen == [3, 1]
    assert all((block.tokens == 0).all() and not block.mask.any() for block in nothing.values())


def test_videomae_draws_real_frames_evenly():
    from affectkit_plugins.encoders.videomae_net import evenly

    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]).bool()
    assert evenly(mask, 4).tolist()[:3] == [[0, 1, 2, 3], [0, 0, 2, 2], [3, 3, 3, 3]]
    assert evenly(torch.ones(1, 9).bool(), 3).tolist() == [[1, 4, 7]]
    step, settings, _ = made("videomae")
    with torch.no_grad():
        out = step(view("videomae", settings, [frames(4, [0, 0, 0, 0]), frames(4)]))["patches"]
    assert out.mask.any(2).tolist() == [[False], [True]]
    assert (out.tokens[0] == 0).all()


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_sound_gives_the_same_alone_and_beside_longer_sound(name, norm):
    if norm == "group" and name not in SPEECH:
        pytest.skip("only speech models on the wave have that norm")
    step, settings, announced = made(name, 16000, **({"norm": norm} if name in SPEECH else {}))
    short, long = noise(7013), noise(16000, 1)
    with torch.no_grad():
        both = step(view(name, settings, [short, long], spoil=True))["frames"]
        alone = step(view(name, settings, [short]))["frames"]
    n = alone.tokens.shape[2]
    assert both.mask[0, 0].sum() == n
    assert n < both.tokens.shape[2] == announced["frames"].tokens
    torch.testing.assert_close(both.tokens[0, 0, :n], alone.tokens[0, 0], atol=2e-5, rtol=0)
    assert (both.tokens[~both.mask] == 0).all()


@pytest.mark.parametrize("name", SPEECH)
def test_pads_says_which_norm_minds_padding(name):
    """The reason for `pads`: group norm mixes padding into its statistics, layer norm does not."""
    for norm, minds in (("layer", False), ("group", True)):
        step, settings, _ = made(name, norm=norm)
        wave = torch.from_numpy(PIECES[name].prepare(settings, "wave", noise(5000)))
        padded = torch.zeros(1, 9000)
        padded[0, :5000] = wave
        mask = (torch.arange(9000) < 5000)[None].long()
        with torch.no_grad():
            alone, beside = step.hear(wave[None], None), step.hear(padded, mask)
        apart = (alone - beside[:, : alone.shape[1]]).abs().max().item()
        assert apart > 1e-2 if minds else apart < 1e-4
        assert PIECES[name].pads(settings) is not minds
    _, clips, _ = made(name, norm="group", clips=3)
    assert PIECES[name].pads(clips)


@pytest.mark.parametrize("name", SOUND)
def test_very_short_and_missing_sound(name):
    step, settings, announced = made(name, 100)
    assert PIECES[name].prepare(settings, "wave", noise(0)).shape == (0,)
    with torch.no_grad():
        out = step(view(name, settings, [noise(100)]))["frames"]
        mixed = step(view(name, settings, [noise(0), noise(4000)]))["frames"]
        nothing = step(ViewBlock("wave", torch.zeros(1, 800), torch.zeros(1, 800, dtype=torch.bool)))["frames"]
    assert out.mask.sum() == 1 == announced["frames"].tokens
    assert not mixed.mask[0].any()
    assert (mixed.tokens[0] == 0).all()
    assert mixed.mask[1].any()
    assert not nothing.mask.any()
    assert (nothing.tokens == 0).all()


def test_clips_are_spread_over_the_sound():
    assert [list(cut) for cut in spread(np.arange(10), 3, 4)] == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    step, settings, announced = made("hubert", clips=8, seconds=0.1, take="last_four", layers=4, pool="mean")
    with torch.no_grad():
        out = step(view("hubert", settings, [noise(16000), noise(900, 1)]))["pooled"]
    assert out.tokens.shape == (2, 8, 1, 32)
    assert out.mask.all()
    assert announced["pooled"] == Shape("tokens", 8, 1, 32)
    # A sound shorter than one clip is the same clip eight times.
    torch.testing.assert_close(out.tokens[1, 0], out.tokens[1, 7], atol=1e-5, rtol=0)
    assert (out.tokens[0, 0] - out.tokens[0, 7]).abs().max() > 1e-3
    wave = PIECES["hubert"].prepare(settings, "wave", noise(16000))
    cuts = wave.reshape(8, -1)
    np.testing.assert_allclose(cuts.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(cuts.std(1), 1, atol=1e-3)


def test_the_receptive_field_is_25_ms():
    assert receptive(KERNELS, STRIDES) == 400


def test_sound_is_brought_to_rate():
    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100).astype(np.float32)
    there = at_rate(RawWave(tone, 44100), RATE)
    assert abs(len(there) - RATE) <= 32
    peak = np.abs(np.fft.rfft(there * np.hanning(len(there)))).argmax() * RATE / len(there)
    assert abs(peak - 440) < 2


# Pixels


def test_invalid_frames_stay_black_and_pixels_stay_uint8():
    raw = frames(3, [1, 0, 1], size=(50, 40))
    out = pixels(raw, Preprocessing(16))
    assert out.shape == (3, 3, 16, 16)
    assert out.dtype == np.uint8
    assert not out[1].any()
    assert out[0].any()
    assert pixels(RawPixels((), np.arange(0), np.zeros(0), np.zeros(0, bool)), Preprocessing(8)).shape == (0, 3, 8, 8)


def test_ways_to_a_square():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20] = 255
    one = RawPixels((wide,), np.zeros(1, int), np.zeros(1), np.ones(1, bool))
    squash, crop = pixels(one, Preprocessing(12)), pixels(one, Preprocessing(12, "crop"))
    pad = pixels(one, Preprocessing(12, "pad", mean=(1.0, 0.5, 0.0)))
    assert squash[0, 0, 6, 1] == 255
    assert squash[0, 0, 6, 10] == 0
    assert crop[0].max() < 30
    assert pad[0, :, 0, 6].tolist() == [255, 127, 0]
    assert pad[0, :, 6, 10].max() <= 2


def test_normalising_is_in_the_network():
    step, settings, _ = made("clip_vision")
    seen = []
    step.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    block = view("clip_vision", settings, [frames(1)])
    with torch.no_grad():
        step(block)
        step.to(torch.bfloat16)(block)
    from affectkit_plugins.encoders._pixels import CLIP_MEAN, CLIP_STD

    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (CLIP_MEAN, CLIP_STD))
    expected = (block.values[0].float() / 255 - mean) / std
    torch.testing.assert_close(seen[0], expected)
    # Mean and deviation keep their precision where the weights are bfloat16.
    torch.testing.assert_close(seen[1], expected.to(torch.bfloat16), atol=0, rtol=0)


# Weights

PARAMETERS = {  # name: settings, millions of parameters as published
    "clip_vision": ({}, 303.97),  # CLIP ViT-L/14 with its projection
    "eva_clip_g": ({}, 985.95),  # BLIP-2's vision model without the final norm
    "vit_mae": ({}, 303.30),  # ViT-L/16 without head
    "videomae": ({}, 303.88),
    "hubert": ({}, 315.44),
    "wav2vec2": ({}, 315.44),
    "wavlm": ({}, 315.45),
    "whisper": ({}, 636.78),
}


@pytest.mark.parametrize(
    # VideoMAE's table of positions is made in Python, which takes seconds.
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name == "videomae" else name for name in PARAMETERS],
)
def test_published_sizes_by_default(name):
    settings, millions = PARAMETERS[name]
    piece = PIECES[name]
    inputs = {piece.ports[0].name: Shape(piece.ports[0].eats)}
    with torch.device("meta"), weights.using("random"):
        step = piece.build(piece.settings(source="some/hub-id", **settings), inputs, 4096)
    assert sum(p.numel() for p in step.parameters()) / 1e6 == pytest.approx(millions, rel=2e-3)
    # All but a vector that transformers fills at once (the mask embedding of speech models).
    assert sum(p.numel() for p in step.parameters() if not p.is_meta) <= 1024
    assert step.weights_origin == "random"


def test_published_shapes():
    one = {"pixels": Shape("pixels", 8)}
    clip, eva, video = PIECES["clip_vision"], PIECES["eva_clip_g"], PIECES["videomae"]
    assert clip.shapes(clip.settings(pool="projected"), one, None)["pooled"] == Shape("tokens", 8, 1, 768)
    assert eva.shapes(eva.settings(size=448), one, None)["patches"] == Shape("tokens", 8, 1024, 1408)
    assert video.shapes(video.settings(), one, None)["patches"] == Shape("tokens", 1, 1568, 1024)
    sound = {"wave": Shape("wave", 1, 32000, 16000)}
    hubert = PIECES["hubert"]
    assert hubert.shapes(hubert.settings(), sound, None)["frames"] == Shape("tokens", 1, 99, 1024)


@pytest.mark.parametrize("name", [*PARAMETERS, "timm", "open_clip"])
def test_a_hub_id_that_is_not_here_is_known_when_built(name):
    piece = PIECES[name]
    inputs = {piece.ports[0].name: Shape(piece.ports[0].eats)}
    unknown = piece.settings(source="nobody/never-downloaded")
    assert next(iter(piece.shapes(unknown, inputs, None).values())).width is None
    stated = piece.settings(source="nobody/never-downloaded", width=48)
    if name != "open_clip":
        assert next(iter(piece.shapes(stated, inputs, None).values())).width == 48
    with weights.using("random"):
        width = next(iter(piece.shapes(unknown, inputs, None).values())).width
    assert (width is None) == (name == "timm")


def test_origins_name_the_networks():
    step, _, _ = made("clip_vision")
    assert weights.origins(torch.nn.ModuleDict({"scene": step})) == {"scene": "random"}


def test_no_torch_is_imported_to_look_at_encoders():
    code = (
        "import importlib, sys\n"
        f"for m in {MODULES!r}:\n"
        "    for p in importlib.import_module('affectkit_plugins.encoders.' + m).affectkit_pieces():\n"
        "        from affectkit.pieces import Shape\n"
        "        p.shapes(p.settings(**p.tiny), {p.ports[0].name: Shape(p.ports[0].eats)}, 32)\n"
        "assert not {'torch', 'transformers', 'timm', 'open_clip', 'PIL'} & set(sys.modules), 'heavy import'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "settings", "field"),
    [
        ("image_patches", {"patch": 6}, "patch"),
        ("image_patches", {"heads": 3, "width": 16}, "heads"),
        ("log_mel", {"high": 9000.0}, "high"),
        ("eva_clip_g", {"size": 100}, "size"),
        ("clip_vision", {"take": 1}, "take"),
        ("hubert", {"clips": 2, "seconds": 0.01}, "seconds"),
        ("hubert", {"width": 20}, "width"),
        ("wavlm", {"width": 48, "heads": 5}, "heads"),
        ("open_clip", {"model": "ViT-B-23"}, "model"),
    ],
)
def test_settings_that_cannot_be(name, settings, field):
    assert [place for place, _ in PIECES[name].settings(**settings).problems()] == [field]


@pytest.mark.parametrize("name", PIECES)
def test_tiny_settings_have_no_problems(name):
    settings = PIECES[name].settings(**PIECES[name].tiny)
    assert not hasattr(settings, "problems") or settings.problems() == []


def test_an_unknown_timm_model_is_named_with_neighbours():
    with pytest.raises(InputError, match="unknown timm model"):
        made("timm", model="vit_smal_patch16_224")


def test_what_is_stated_of_a_timm_model_is_checked():
    with pytest.raises(InputError, match="48 in the recipe, 64 in test_vit"):
        made("timm", width=48)
    _, _, announced = made("timm", width=64, tokens=4)
    assert announced["patches"] == Shape("tokens", 4, 4, 64)
