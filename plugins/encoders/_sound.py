"""What the encoders of sound share: the wave port, sampling rate, clips, lengths. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from affectkit.pieces import Port, Shape

if TYPE_CHECKING:
    import numpy as np

    from affectkit.raw import RawWave

WAVE = (Port("wave", "wave", "sound of one speaker, mono"),)


def at_rate(raw: RawWave, rate: int) -> np.ndarray:
    """The sound as float32 [a] at `rate` samples a second."""
    import numpy as np

    samples = np.ascontiguousarray(raw.samples, dtype=np.float32)
    if raw.rate == rate or not len(samples):
        return samples
    import av

    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate = raw.rate
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
    parts = [part.to_ndarray()[0] for piece in (frame, None) for part in resampler.resample(piece)]
    return np.concatenate(parts).astype(np.float32)


def standardised(samples: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance, as wav2vec 2.0's feature extractor does it."""
    import numpy as np

    return ((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)).astype(np.float32)


def centred(samples: np.ndarray) -> np.ndarray:
    """Zero mean."""
    return (samples - samples.mean()).astype("float32")


def spread(samples: np.ndarray, count: int, length: int) -> list[np.ndarray]:
    """`count` cuts of at most `length` samples, the first at the start, the last at the end, evenly
    between."""
    last = max(len(samples) - length, 0)
    starts = [int(i * last / max(count - 1, 1)) for i in range(count)]
    return [samples[start : start + length] for start in starts]


def samples_at_most(inputs: Mapping[str, Shape], rate: int) -> int | None:
    """Most samples of the wave port once it is at `rate`; None where the view does not say."""
    wave = inputs["wave"]
    if wave.tokens is None:
        return None
    # One more for the rounding of a resampler.
    return wave.tokens if wave.width in (None, rate) else wave.tokens * rate // wave.width + 1


def convolved(length: int, kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Positions that are left of `length` samples after convolutions without padding."""
    for kernel, stride in zip(kernels, strides, strict=True):
        length = max((length - kernel) // stride + 1, 0)
    return length


def receptive(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """The fewest samples that give one position."""
    length = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        length = (length - 1) * stride + kernel
    return length
