"""Pitch, energy, rate and pauses of speech, from the signal alone. NumPy only."""

from __future__ import annotations

import numpy as np

FRAME, STEP = 0.04, 0.01
"""Seconds of a frame, and from one to the next."""
LOW, HIGH = 65.0, 450.0
"""Hertz between which a voice's pitch is looked for."""
VOICED = 0.45
"""Least normalised autocorrelation of a voiced frame (as in Boersma 1993)."""
SILENT = 35.0
"""Decibels below the loudest frame at which a frame is silent."""
PAUSE = 0.15
"""Seconds of silence between speech that are a pause."""


def measure(samples: np.ndarray, rate: int) -> dict[str, float] | None:
    """`pitch` (median, Hz) and `pitch_spread` (interquartile range in semitones) of voiced frames, `energy` (dB below full scale,
    mean of the frames that are not silent), `rate` (peaks of energy a second of speech, near the syllables), `pauses` (share of
    the time from first to last speech). None for silence, and where nothing is voiced."""
    wave = np.asarray(samples, np.float64).reshape(-1)
    frames = _frames(wave - (wave.mean() if wave.size else 0.0), rate)
    if not len(frames):
        return None
    power = (frames**2).mean(1)
    level = 10 * np.log10(np.maximum(power, 1e-12))
    loud = level > max(level.max() - SILENT, -70.0)
    pitch = _pitch(frames[loud], rate) if loud.any() else np.empty(0)
    pitch = pitch[np.isfinite(pitch)]
    if not pitch.size:
        return None
    spoken = np.flatnonzero(loud)
    span = loud[spoken[0] : spoken[-1] + 1]
    low, high = np.percentile(12 * np.log2(pitch), [25, 75])
    peaks = _peaks(level[spoken[0] : spoken[-1] + 1])
    return {
        "pitch": float(np.median(pitch)),
        "pitch_spread": float(high - low),
        "energy": float(level[loud].mean()),
        "rate": peaks / max(float(span.sum()) * STEP, STEP),
        "pauses": _paused(span) / len(span),
    }


def _frames(wave: np.ndarray, rate: int) -> np.ndarray:
    size, step = round(FRAME * rate), round(STEP * rate)
    if len(wave) < size:
        return np.empty((0, size))
    return np.lib.stride_tricks.sliding_window_view(wave, size)[::step]


def _pitch(frames: np.ndarray, rate: int) -> np.ndarray:
    """The pitch of each frame in Hz, by the highest peak of its autocorrelation over that of the window; NaN where unvoiced."""
    size = frames.shape[1]
    window = np.hanning(size)
    length = 1 << (2 * size - 1).bit_length()
    own = np.fft.irfft(abs(np.fft.rfft(frames * window, length)) ** 2, length)[:, :size]
    base = np.fft.irfft(abs(np.fft.rfft(window, length)) ** 2, length)[:size]
    found = own / np.maximum(own[:, :1], 1e-12) / np.maximum(base / base[0], 1e-3)
    first, last = int(rate / HIGH), min(int(rate / LOW), size - 2)
    best = found[:, first:last].argmax(1) + first
    strength = found[np.arange(len(found)), best]
    left, mid, right = (found[np.arange(len(found)), best + shift] for shift in (-1, 0, 1))
    bend = left - 2 * mid + right
    shift = np.where(abs(bend) > 1e-12, 0.5 * (left - right) / np.where(abs(bend) > 1e-12, bend, 1.0), 0.0)
    return np.where(strength > VOICED, rate / (best + np.clip(shift, -0.5, 0.5)), np.nan)


def _peaks(level: np.ndarray) -> int:
    """Peaks of the smoothed level that rise 2 dB above the valleys beside them and stand 0.1 s apart."""
    smooth = np.convolve(level, np.ones(5) / 5, "same")
    count, last, valley, rising = 0, -np.inf, smooth[0], False
    top = smooth[0]
    for i, value in enumerate(smooth):
        if value > top or not rising:
            top = max(value, top if rising else value)
        if not rising and value > valley + 2:
            rising, top = True, value
        elif rising and value < top - 2:
            if i - last >= 0.1 / STEP:
                count, last = count + 1, i
            rising, valley = False, value
        valley = min(valley, value) if not rising else valley
    return count + int(rising)


def _paused(loud: np.ndarray) -> int:
    """Frames in pauses: runs of silence of `PAUSE` seconds or more."""
    total = run = 0
    for spoken in loud:
        if spoken:
            total += run if run >= PAUSE / STEP else 0
            run = 0
        else:
            run += 1
    return total
