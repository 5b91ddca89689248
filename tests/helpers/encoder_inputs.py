"""Encoder inputs, for several test files."""

import importlib

import numpy as np
import torch
from affectkit_plugins.encoders.speech import RATE

from affectkit.blocks import ViewBlock
from affectkit.pieces import Shape
from affectkit.raw import RawPixels, RawWave

MODULES = (
    "clip_vision",
    "eva_clip_g",
    "image_patches",
    "log_mel",
    "open_clip",
    "speech",
    "timm",
    "videomae",
    "vit_mae",
    "whisper",
)

PIECES = {
    piece.name: piece
    for module in MODULES
    for piece in importlib.import_module(f"affectkit_plugins.encoders.{module}").affectkit_pieces()
}


def made(name, samples=8000, time=4, **settings):
    """The step with tiny settings, in eval mode, with the settings and what it announced."""
    piece = PIECES[name]
    given = piece.settings(**{**piece.tiny, **settings})
    eats = piece.ports[0].eats
    inputs = {eats: Shape("pixels", time) if eats == "pixels" else Shape("wave", 1, samples, RATE)}
    torch.manual_seed(0)
    return piece.build(given, inputs, 32).eval(), given, piece.shapes(given, inputs, 32)


def frames(count, valid=None, seed=0, size=(24, 30)):
    rng = np.random.default_rng(seed)
    valid = np.ones(count, bool) if valid is None else np.array(valid, bool)
    images = tuple(rng.integers(0, 256, (*size, 3), dtype=np.uint8) * ok for ok in valid)
    return RawPixels(tuple(i.astype(np.uint8) for i in images), np.arange(count), np.arange(count) / 25.0, valid)


def noise(samples, seed=0, rate=RATE):
    return RawWave((np.random.default_rng(seed).standard_normal(samples) * 0.1).astype(np.float32), rate)


def view(name, settings, raws, spoil=False):
    """What the frame would make of several samples: prepared, padded, masked; `spoil` fills the padding with
    noise."""
    piece = PIECES[name]
    parts = [torch.from_numpy(piece.prepare(settings, piece.ports[0].name, raw)) for raw in raws]
    length = max(len(part) for part in parts)
    values = torch.zeros(len(parts), length, *parts[0].shape[1:], dtype=parts[0].dtype)
    mask = torch.zeros(len(parts), length, dtype=torch.bool)
    if spoil:
        values = torch.randint(0, 255, values.shape).to(values.dtype)
    for row, (part, raw) in enumerate(zip(parts, raws, strict=True)):
        real = torch.from_numpy(raw.valid) if isinstance(raw, RawPixels) else torch.ones(len(part), dtype=torch.bool)
        values[row, : len(part)][real] = part[real]
        mask[row, : len(part)] = real
    return ViewBlock("view", values, mask)
