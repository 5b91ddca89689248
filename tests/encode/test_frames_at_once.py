"""Every network that looks at single images gets 32 frames at a time while nothing trains, and finds the same."""

import pytest
import torch
from affectkit_plugins.encoders import _frames_net

from affectkit.blocks import ViewBlock
from affectkit.pieces import Shape
from affectkit.raw import RawPixels
from affectkit.registry import Registry

ENCODERS = (
    "clip_vision",
    "eva_clip_g",
    "image_patches",
    "open_clip",
    "timm",
    "videomae",
    "vit_mae",
    "facexformer",
    "clip_face",
    "face_api",
    "mini_xception",
)
"""Every encoder around `_frames_net`."""
FRAMES = 70
"""Of all clips together."""


def made(name, clips=2, **settings):
    """The tiny step in eval mode and clips of noise, a few of whose frames are masked."""
    piece = Registry.load().find("encoder", name)
    given = piece.settings(**{**piece.tiny, **settings})
    torch.manual_seed(0)
    step = piece.build(given, {"pixels": Shape("pixels", FRAMES // clips)}, None).eval()
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (FRAMES, 24, 30, 3), generator=generator, dtype=torch.uint8).numpy()
    order = torch.arange(FRAMES).numpy()
    real = torch.ones(FRAMES, dtype=torch.bool)
    real[[3, 40, 69]] = False
    raw = RawPixels(tuple(images), order, order / 25.0, real.numpy())
    values = torch.from_numpy(piece.prepare(given, "pixels", raw))
    return step, ViewBlock("pixels", values.unflatten(0, (clips, -1)), real.unflatten(0, (clips, -1)))


def watched(step):
    """Frames of each call of a network inside the step, as the calls come."""
    seen = []
    steps = (_frames_net.FrameEncoder, *((type(step.faces),) if hasattr(step, "faces") else ()))
    for module in step.modules():
        if isinstance(module, steps):
            module.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[:-3].numel()))
    return seen


@pytest.mark.parametrize("name", ENCODERS)
def test_many_frames_go_through_a_few_at_a_time_and_give_the_same(name, monkeypatch):
    step, view = made(name, clips=10 if name == "videomae" else 2)
    seen = watched(step)
    with torch.no_grad():
        parts = step(view)
        assert len(seen) > 1
        assert max(seen) <= 32
        monkeypatch.setattr(_frames_net, "AT_ONCE", 1000)
        count, total = len(seen), sum(seen)
        whole = step(view)
    assert sum(seen) == 2 * total
    assert len(seen) - count < count
    for block, out in whole.items():
        torch.testing.assert_close(parts[block].tokens, out.tokens, atol=1e-6, rtol=1e-6)
        assert torch.equal(parts[block].mask, out.mask)


def test_what_trains_sees_all_frames_at_once():
    step, view = made("image_patches")
    seen = watched(step)
    step(view)
    assert seen == [67], "the gradients of all frames are held anyway"
    step.requires_grad_(False)
    step(view)
    assert seen == [67, 32, 32, 3], "nothing pulls"


def test_batch_norm_in_training_mode_sees_the_whole_batch():
    step, view = made("timm", model="test_resnet", size=32)
    seen = watched(step.train())
    with torch.no_grad():
        step(view)
    assert seen == [67]


def test_no_encoder_of_single_frames_is_forgotten():
    from pathlib import Path

    import affectkit_plugins.encoders as encoders

    (folder,) = encoders.__path__
    users = {
        path.name.removesuffix("_net.py")
        for path in Path(folder).glob("*_net.py")
        if "in_parts" in (text := path.read_text(encoding="utf-8")) or "FrameEncoder" in text
    }
    assert users - {"_frames"} == set(ENCODERS)
