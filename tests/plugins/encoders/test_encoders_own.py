"""The encoders of our own: log-mel with prosody, and small image patches."""

import numpy as np
import pytest
import torch
from affectkit_plugins.encoders.speech import RATE
from encoder_inputs import frames, made, noise, view

from affectkit.raw import RawPixels, RawWave


def tone(hertz, seconds=1.0, level=0.3):
    """A voice-like tone: ten harmonics, gliding where `hertz` is a pair."""
    t = np.arange(int(seconds * RATE)) / RATE
    low, high = hertz if isinstance(hertz, tuple) else (hertz, hertz)
    phase = 2 * np.pi * np.cumsum(np.linspace(low, high, len(t))) / RATE
    return RawWave((level * sum(np.sin(k * phase) / k for k in range(1, 11)) / 2).astype(np.float32), RATE)


def prosody(raw):
    step, settings, _ = made("log_mel", bins=8, deltas=False, prosody=True, stack=1, normalise="none")
    out = step(view("log_mel", settings, [raw]))["frames"].tokens[0, 0]
    return out[:, 8:].T  # voicing, pitch, pitch_change, energy, energy_change


@pytest.mark.parametrize("hertz", [80, 120, 220, 400])
def test_pitch_is_found(hertz):
    voicing, pitch, change, _, _ = prosody(tone(hertz))
    assert (voicing[3:-3] > 0.95).all()
    torch.testing.assert_close(pitch[3:-3], torch.full_like(pitch[3:-3], 12 * np.log2(hertz / 160)), atol=0.24, rtol=0)
    assert change[3:-3].abs().max() < 0.36


def test_prosody_follows_a_glide_and_silence():
    _, pitch, change, energy, _ = prosody(tone((110, 220)))
    assert pitch[-5] - pitch[5] > 9.6
    assert change[5] < -3.6
    assert change[-5] > 3.6
    _, _, _, quiet, _ = prosody(tone((110, 220), level=0.03))
    torch.testing.assert_close(energy - quiet, torch.full_like(energy, 1.0), atol=0.02, rtol=0)
    assert prosody(RawWave(np.zeros(RATE, np.float32), RATE))[0].max() == 0
    assert prosody(noise(RATE))[0].mean() < 0.3


def test_log_mel_is_normalised_over_real_frames():
    step, settings, _ = made("log_mel", bins=20, deltas=False, prosody=False, stack=1)
    out = step(view("log_mel", settings, [noise(9000), noise(16000, 1)], spoil=True))["frames"]
    real = out.tokens[0, 0][out.mask[0, 0]]
    assert len(real) == (9000 - 400) // 160 + 1
    torch.testing.assert_close(real.mean(0), torch.zeros(20), atol=1e-4, rtol=0)
    assert (real.std(0) - 1).abs().max() < 0.1
    assert not list(step.parameters())


def test_log_mel_puts_a_tone_in_its_bin():
    step, settings, _ = made("log_mel", bins=40, deltas=False, prosody=False, stack=1, normalise="none")
    found = []
    for hertz in (300, 1000, 3000):
        sine = RawWave(np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32), RATE)
        found.append(int(step(view("log_mel", settings, [sine]))["frames"].tokens[0, 0].mean(0).argmax()))
    low, high = (2595 * np.log10(1 + f / 700) for f in (settings.low, settings.high))
    expected = [round((2595 * np.log10(1 + f / 700) - low) / (high - low) * 41 - 1) for f in (300, 1000, 3000)]
    assert all(abs(a - b) <= 1 for a, b in zip(found, expected, strict=True))


def test_stacks_join_frames_in_order():
    one, settings, _ = made("log_mel", bins=5, deltas=True, prosody=True, stack=1)
    three, stacked, announced = made("log_mel", bins=5, deltas=True, prosody=True, stack=3)
    raw = noise(8000)
    single = one(view("log_mel", settings, [raw]))["frames"].tokens[0, 0]
    joined = three(view("log_mel", stacked, [raw]))["frames"].tokens[0, 0]
    assert joined.shape == (announced["frames"].tokens, announced["frames"].width) == (16, 45)
    torch.testing.assert_close(joined.reshape(-1, 15)[: len(single)], single)
    assert (joined.reshape(-1, 15)[len(single) :] == 0).all()


def test_image_patches_learn_and_can_see_past_light():
    dark = frames(1)
    light = RawPixels((dark.frames[0] // 2,), dark.indices, dark.times, dark.valid)
    apart = {}
    for standardise in (False, True):
        step, settings, _ = made("image_patches", pool="mean", colour="grey", standardise=standardise)
        a, b = (step(view("image_patches", settings, [raw]))["pooled"].tokens for raw in (dark, light))
        apart[standardise] = (a - b).abs().max().item()
    assert apart[True] < apart[False] / 4
    a.pow(2).sum().backward()
    assert all(p.grad is not None for p in step.parameters())
