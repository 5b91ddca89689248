"""A source-filter voice: a pulsing source and breath, shaped by vowels and consonants, in the manner of an emotion.

It babbles: the syllables are not those of the subtitle, so that a voice carries manner and no words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .emotion import Manner, ramp

RATE = 16_000
_STEP = 0.001
"""Seconds between two values of the control curves."""
_FRAME, _HOP = 512, 128
_VOWELS = np.array(
    [
        [700, 1150, 2500],
        [530, 1850, 2480],
        [300, 2250, 2950],
        [500, 900, 2400],
        [320, 880, 2250],
        [480, 1400, 2450],
    ],
    dtype=float,
)
"""Formants in Hz of six vowels, for a formant scale of 1."""


@dataclass(frozen=True)
class Speaker:
    """What belongs to a person's voice and says nothing of emotion."""

    pitch: float
    """Hz."""
    formants: float
    """Scale of the vocal tract's resonances."""
    tilt: float
    """Decibels an octave, added to the source."""
    tempo: float
    """Factor on the rate of speaking."""


@dataclass(frozen=True)
class VoiceTrack:
    """Sound, and how open the mouth is."""

    wave: np.ndarray
    """float32 [a] at 16 kHz, -1 to 1."""
    mouth: np.ndarray
    """float [controls], 0 to 1, one a millisecond."""


@dataclass
class _Curves:
    """Control curves, one value a millisecond."""

    pitch: np.ndarray
    loud: np.ndarray
    hiss: np.ndarray
    formants: np.ndarray


def speak(speaker: Speaker, manner: Manner, seconds: float, rng: np.random.Generator) -> VoiceTrack:
    """An utterance of that many seconds."""
    curves = _plan(speaker, manner, seconds, rng)
    count = round(seconds * RATE)
    at = np.arange(count) / RATE
    control = np.arange(len(curves.pitch)) * _STEP
    hertz = speaker.pitch * 2.0 ** (np.interp(at, control, curves.pitch) / 12.0)
    source = _source(hertz, manner, rng) * np.interp(at, control, curves.loud)
    breath = rng.standard_normal(count) * np.interp(at, control, curves.loud) * manner.breath
    hiss = rng.standard_normal(count) * np.interp(at, control, curves.hiss)
    wave = _shape(source + breath, hiss, curves.formants, speaker, rng)
    return VoiceTrack(_record(wave, rng), _smooth(curves.loud, 60) / max(curves.loud.max(), 1e-6))


def _plan(speaker: Speaker, manner: Manner, seconds: float, rng: np.random.Generator) -> _Curves:
    """Lay the syllables out: when each is loud, how pitch runs, which vowel it has."""
    total = round(seconds / _STEP)
    lead, tail = rng.uniform(0.03, 0.18), rng.uniform(0.05, 0.15)
    spoken = max(seconds - lead - tail, 0.3)
    count = max(2, round(spoken * manner.rate * speaker.tempo))
    lengths = rng.uniform(0.85, 1.15, count)
    lengths *= spoken / lengths.sum()
    times = np.arange(total) * _STEP
    curves = _Curves(
        _melody(manner, (times - lead) / spoken, rng), np.zeros(total), np.zeros(total), np.zeros((total, 3))
    )
    begin = lead
    for number, length in enumerate(lengths):
        consonant = min(0.06, 0.22 * length)
        onset, end = begin + consonant, begin + length * (1 - manner.gap)
        inside = (times >= onset) & (times < end)
        x = np.clip((times - onset) / (end - onset), 0, 1)
        rise = np.clip((times - onset) / manner.attack, 0, 1) * np.clip((end - times) / 0.02, 0, 1)
        stress = 10 ** ((rng.uniform(-2.0, 2.0) - manner.fade * number / count) / 20)
        curves.loud += np.where(inside, stress * rise * np.exp(-manner.decay * x), 0.0)
        near = (times >= begin) & (times < begin + length)
        curves.pitch += np.where(near, manner.drop * (0.5 - x) + rng.uniform(-0.3, 0.3), 0.0)
        gate = (times >= begin) & (times < onset)
        curves.hiss += np.where(gate, stress * rng.uniform(0.1, 0.3), 0.0)
        curves.formants[times >= begin] = _VOWELS[rng.integers(len(_VOWELS))] * rng.uniform(0.94, 1.06)
        begin += length
    curves.formants[times < lead] = _VOWELS[0]
    curves.formants = _smooth(curves.formants, 40) * speaker.formants
    weight = curves.loud / max(curves.loud.sum(), 1e-9)
    curves.pitch = _smooth(curves.pitch, 12)
    curves.pitch += rng.uniform(-2.0, 2.0) - float((curves.pitch * weight).sum())
    return curves


def _melody(manner: Manner, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Semitones over the utterance; x runs from 0 to 1 while somebody speaks."""
    x = np.clip(x, 0, 1)
    swings = np.sin(2 * np.pi * (rng.uniform(1.6, 2.4) * x + rng.random()))
    start = rng.uniform(0.55, 0.72)
    rate = rng.uniform(7.0, 9.5) * (len(x) * _STEP)
    tremor = np.sin(2 * np.pi * (rate * x + rng.random()))
    drift = 0.4 * np.sin(2 * np.pi * (rng.uniform(0.5, 1.5) * x + rng.random()))
    late = manner.late * ramp(x, start, start + 0.22)
    return manner.slope * (x - 0.5) + manner.swing / 2 * swings + late + manner.tremor * tremor + drift


def _source(hertz: np.ndarray, manner: Manner, rng: np.random.Generator) -> np.ndarray:
    """Glottal pulses that follow `hertz`; creak makes their periods and heights irregular, tremor shakes them."""
    phase = np.cumsum(hertz) / RATE
    periods = phase.astype(int)
    if manner.creak > 0.02:
        uneven = rng.uniform(-1, 1, periods[-1] + 2) * 0.22 * manner.creak
        phase = np.cumsum(hertz * (1 + uneven[periods])) / RATE
        periods = phase.astype(int)
    harmonics = max(6, int(7200 / hertz.max()))
    grid = np.arange(1024) / 1024
    orders = np.arange(1, harmonics + 1)
    table = (np.cos(2 * np.pi * orders[:, None] * grid) / orders[:, None] ** 0.9).sum(0)
    pulses = np.interp((phase - periods) * 1024, np.arange(1025), np.append(table, table[0]))
    height = 1 + rng.uniform(-1, 1, periods.max() + 2) * (0.04 + 0.5 * manner.creak)
    shake = 1 + min(0.3 * manner.tremor, 0.7) * np.sin(2 * np.pi * 8.3 * np.arange(len(hertz)) / RATE)
    return pulses / np.sqrt((table**2).mean()) * height[periods] * shake


def _shape(
    voiced: np.ndarray, hiss: np.ndarray, formants: np.ndarray, speaker: Speaker, rng: np.random.Generator
) -> np.ndarray:
    """Filter the source by the vowels' formants and the hiss by a consonant's band, frame by frame."""
    padded = len(voiced) + 2 * _FRAME
    starts = np.arange(0, padded - _FRAME, _HOP)
    window = np.hanning(_FRAME + 1)[:-1]
    hertz = np.fft.rfftfreq(_FRAME, 1 / RATE)
    middle = np.clip((starts - _FRAME / 2) / RATE / _STEP, 0, len(formants) - 1).astype(int)
    resonance = _resonance(hertz, formants[middle], speaker)
    band = 1 / (1 + ((hertz - rng.uniform(3200, 4800)) / 1500) ** 2)
    spectra = _spectra(voiced, starts, window) * resonance + _spectra(hiss, starts, window) * band
    pieces = np.fft.irfft(spectra, _FRAME) * window
    out = np.zeros(padded)
    for start, piece in zip(starts, pieces, strict=True):
        out[start : start + _FRAME] += piece
    return out[_FRAME : _FRAME + len(voiced)]


def _spectra(wave: np.ndarray, starts: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Windowed spectra [frames, bins] of a wave padded by one frame on each side."""
    padded = np.pad(wave, _FRAME)
    return np.fft.rfft(padded[starts[:, None] + np.arange(_FRAME)] * window)


def _resonance(hertz: np.ndarray, formants: np.ndarray, speaker: Speaker) -> np.ndarray:
    """Gain [frames, bins] of three formants and the speaker's tilt."""
    gain = np.full((len(formants), len(hertz)), 0.04)
    for number, (width, height) in enumerate(((90, 1.0), (120, 0.7), (180, 0.4))):
        gain += height / (1 + ((hertz - formants[:, number, None]) / width) ** 2)
    octaves = np.log2(np.maximum(hertz, 60) / 500)
    return gain * 10 ** (speaker.tilt * octaves / 20)


def _record(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As a microphone takes it: an equaliser and a noise floor that differ from clip to clip, one loudness for all."""
    spectrum = np.fft.rfft(wave)
    hertz = np.fft.rfftfreq(len(wave), 1 / RATE)
    knots = np.array([0, 250, 500, 1000, 2000, 4000, 8000])
    curve = np.interp(np.log(hertz + 100), np.log(knots + 100), rng.uniform(-7, 7, len(knots)))
    wave = np.fft.irfft(spectrum * 10 ** (curve / 20), len(wave))
    wave /= np.sqrt((wave**2).mean()) + 1e-9
    floor = np.fft.rfft(rng.standard_normal(len(wave))) * (1 + hertz / 300) ** -rng.uniform(0.2, 1.0)
    noise = np.fft.irfft(floor, len(wave))
    wave += noise / np.sqrt((noise**2).mean()) * 10 ** (rng.uniform(-36, -20) / 20)
    return np.tanh(0.12 * wave / np.sqrt((wave**2).mean())).astype(np.float32)


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    """A moving average over the first axis; the ends are held."""
    flat = values.reshape(len(values), -1)
    padded = np.pad(flat, ((width // 2 + 1, width - width // 2 - 1), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=0)
    out = (sums[width:] - sums[:-width]) / width
    return out[: len(values)].reshape(values.shape)
