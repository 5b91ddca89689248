"""Log-mel frames with slope and prosody, stacked to tokens."""

from __future__ import annotations

import math

import torch
from affectkit_plugins.encoders._fixed_net import Fixed
from affectkit_plugins.encoders.log_mel import Settings
from jaxtyping import Bool, Float
from torch import Tensor, nn

from affectkit.blocks import TokenBlock, ViewBlock

Sound = Float[Tensor, "b a"]
Frames = Float[Tensor, "b n d"]
Real = Bool[Tensor, "b n"]

RATE, WINDOW, HOP, FFT = 16_000, 400, 160, 512
LONG = 1024
"""Samples in which pitch is looked for: 64 ms, four periods of the lowest voices."""
CENTRE_PITCH = 160.0
"""Pitch that is put out as 0, in hertz: between men's and women's voices."""


class LogMel(nn.Module):
    """Wave [b a] to {frames [b 1 n d]}; no parameters."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.bank = Fixed(mel_bank(settings.bins, settings.low, settings.high))
        self.window = Fixed(torch.hann_window(WINDOW, device="cpu"))
        self.pitch = Pitch(settings.pitch_low, settings.pitch_high)

    @torch.no_grad()
    def forward(self, wave: ViewBlock) -> dict[str, TokenBlock]:
        sound = (wave.values * wave.mask).float()
        lengths = wave.mask.sum(1)
        real = torch.where(lengths > 0, ((lengths - WINDOW).clamp(min=0) // HOP) + 1, 0)
        count = max(int(real.max()), 1)
        # Room for a whole window after the last frame's start, and for the sound shorter than one.
        sound = nn.functional.pad(sound, (0, max((count - 1) * HOP + WINDOW - sound.shape[1], 0)))
        mask = torch.arange(count, device=sound.device) < real[:, None]
        features = self.features(sound, mask)
        tokens, mask = self.stacked(features * mask[..., None], mask)
        return {"frames": TokenBlock("frames", tokens[:, None], mask[:, None])}

    def features(self, sound: Sound, mask: Real) -> Frames:
        """Frames [b n d] of waves [b a]."""
        frames = sound.unfold(1, WINDOW, HOP)[:, : mask.shape[1]]
        power = torch.fft.rfft(frames * self.window.values, FFT).abs() ** 2
        log = (power @ self.bank.values + 1e-7).log()
        parts = [normalised(log, mask, self.settings.normalise)]
        if self.settings.deltas:
            parts.append(slope(parts[0], mask))
        if self.settings.prosody:
            parts.append(self.prosody(sound, frames, mask))
        return torch.cat(parts, -1)

    def prosody(self, sound: Sound, frames: Frames, mask: Real) -> Float[Tensor, "b n 5"]:
        """voicing 0 to 1, pitch and its distance from the clip's mean (semitones), energy and its distance
        (bels) [b n 5]."""
        voicing, octaves = self.pitch(sound, mask.shape[1])
        semitones = 12 * octaves
        weight = voicing * mask
        mean = (semitones * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1e-3)
        energy = (frames.pow(2).mean(-1) + 1e-8).log10()
        level = (energy * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
        # 4 bels below full scale is about the level of speech in a recording.
        parts = (voicing, semitones * voicing, (semitones - mean) * voicing, (energy + 4) / 2, energy - level)
        return torch.stack(parts, -1)

    def stacked(self, frames: Frames, mask: Real) -> tuple[Float[Tensor, "b m e"], Bool[Tensor, "b m"]]:
        """`stack` frames to one token; the last one of a sound is filled up with zeros."""
        k = self.settings.stack
        spare = -frames.shape[1] % k
        frames, mask = nn.functional.pad(frames, (0, 0, 0, spare)), nn.functional.pad(mask, (0, spare))
        return frames.unflatten(1, (-1, k)).flatten(2), mask.unflatten(1, (-1, k)).any(2)


class Pitch(nn.Module):
    """Voicing and pitch of each frame by autocorrelation, the window's own divided out (Boersma 1993)."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.shortest, self.longest = math.floor(RATE / high), math.ceil(RATE / low)
        window = torch.hann_window(LONG, device="cpu")
        self.window = Fixed(window)
        own = torch.fft.irfft(torch.fft.rfft(window, 2 * LONG).abs() ** 2)[: self.longest + 2]
        self.own = Fixed(own / own[0])

    def forward(self, sound: Sound, count: int) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Voicing (0 to 1) and octaves above `CENTRE_PITCH`, both [b count], at the frames' own centres."""
        before = (LONG - WINDOW) // 2
        after = max((count - 1) * HOP + LONG - before - sound.shape[1], 0)
        frames = nn.functional.pad(sound, (before, after)).unfold(1, LONG, HOP)[:, :count]
        frames = (frames - frames.mean(-1, keepdim=True)) * self.window.values
        power = torch.fft.rfft(frames, 2 * LONG).abs() ** 2
        r = torch.fft.irfft(power)[..., : self.longest + 2]
        # Silence (below -80 dB) has no pitch, whatever its rounding noise repeats.
        r = r / (r[..., :1] + LONG * 1e-8) / self.own.values
        lags = torch.arange(self.shortest, self.longest + 1, device=sound.device)
        left, here, right = r[..., lags - 1], r[..., lags], r[..., lags + 1]
        peak = (here >= left) & (here > right)
        # A little is taken off long lags, so that a period wins over twice the period.
        score = torch.where(peak, here - 0.02 * (lags / self.shortest).log2(), -1.0)
        best = score.argmax(-1, keepdim=True)
        a, b, c = (part.gather(-1, best).squeeze(-1) for part in (left, here, right))
        bend = (a - 2 * b + c).clamp(max=-1e-6)
        lag = lags[best.squeeze(-1)] + ((a - c) / (2 * bend)).clamp(-0.5, 0.5)
        found = peak.any(-1)
        # Below 0.3 nothing repeats; above 0.7 a voice does.
        voicing = ((b - 0.3) / 0.4).clamp(0, 1) * found
        octaves = (RATE / lag / CENTRE_PITCH).log2() * found
        return voicing, octaves


def normalised(log: Frames, mask: Real, how: str) -> Frames:
    """Zero mean and unit variance over the real frames [b n d] of each row."""
    if how == "none":
        return log
    over = (1,) if how == "bin" else (1, 2)
    real = mask[..., None].to(log.dtype).expand_as(log)
    count = real.sum(over, keepdim=True).clamp(min=1)
    mean = (log * real).sum(over, keepdim=True) / count
    variance = ((log - mean).pow(2) * real).sum(over, keepdim=True) / count
    # A bin that never changes (digital silence) stays near zero instead of being blown up.
    return (log - mean) / (variance + 1e-2).sqrt()


def slope(frames: Frames, mask: Real) -> Frames:
    """Half the difference of the next frame and the one before; the ends repeat."""
    last = (mask.sum(1) - 1).clamp(min=0)[:, None]
    here = torch.arange(frames.shape[1], device=frames.device)[None]
    after = torch.minimum(here + 1, last)[..., None].expand_as(frames)
    before = torch.minimum((here - 1).clamp(min=0), last)[..., None].expand_as(frames)
    return (frames.gather(1, after) - frames.gather(1, before)) / 2


def mel_bank(bins: int, low: float, high: float) -> Tensor:
    """Triangles [1 + FFT / 2, bins] evenly spaced on the mel scale (2595 log10(1 + f / 700)), peaks at 1."""

    def mel(hertz: Tensor) -> Tensor:
        return 2595 * (1 + hertz / 700).log10()

    ends = mel(torch.tensor([low, high], device="cpu"))
    edges = torch.linspace(float(ends[0]), float(ends[1]), bins + 2, device="cpu")
    at = mel(torch.linspace(0, RATE / 2, 1 + FFT // 2, device="cpu"))[:, None]
    up = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    return torch.minimum(up, down).clamp(min=0)
