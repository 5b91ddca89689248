"""Log-mel frames of sound, with pitch and energy: no weights at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.encoders._sound import WAVE, at_rate, samples_at_most

from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

RATE, WINDOW, HOP = 16_000, 400, 160
"""25 ms windows, 10 ms apart."""
PROSODY = ("voicing", "pitch", "pitch_change", "energy", "energy_change")
"""What `prosody` adds to each frame, in this order."""


@dataclass(frozen=True)
class Settings:
    """Log-mel frames of 25 ms every 10 ms, without weights (ours): sound for recipes with stand-in
    networks."""

    bins: int = 64
    """Mel bins of a frame."""
    low: float = 50.0
    """Lowest frequency in hertz."""
    high: float = 7600.0
    """Highest frequency in hertz."""
    normalise: Literal["bin", "clip", "none"] = "bin"
    """Zero mean and unit variance of the log-mel over a clip's real frames: each bin by itself, all together,
    or not."""
    deltas: bool = False
    """Add the slope of each bin over its two neighbours."""
    prosody: bool = False
    """Add voicing, pitch (semitones above 160 Hz), pitch against the clip's own mean, energy (bels), and energy
    against the clip's mean (autocorrelation)."""
    stack: int = 4
    """Frames joined to one token."""
    pitch_low: float = 60.0
    """Lowest pitch that is looked for, in hertz."""
    pitch_high: float = 500.0
    """Highest pitch that is looked for, in hertz."""

    def problems(self) -> list[tuple[str, str]]:
        """Settings that are invalid although their types are right."""
        found = []
        if self.bins < 1:
            found.append(("bins", "must be 1 or more"))
        if self.stack < 1:
            found.append(("stack", "must be 1 or more"))
        if not 0 <= self.low < self.high <= RATE / 2:
            found.append(("high", f"must lie between low ({self.low} Hz) and {RATE // 2} Hz"))
        if not 30 <= self.pitch_low < self.pitch_high <= 1000:
            found.append(("pitch_high", "pitch is looked for between 30 and 1000 Hz, the low end below the high"))
        return found


def width_of(settings: Settings) -> int:
    """Width of a token."""
    one = settings.bins * (2 if settings.deltas else 1) + (len(PROSODY) if settings.prosody else 0)
    return one * settings.stack


def tokens_of(settings: Settings, samples: int) -> int:
    """Tokens of a sound: frames that fit (at least one, of whatever sound there is), then stacks of them, the
    last filled up."""
    frames = max((samples - WINDOW) // HOP + 1, 1) if samples else 0
    return -(-frames // settings.stack)


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    samples = samples_at_most(inputs, RATE)
    return {"frames": Shape("tokens", 1, None if samples is None else tokens_of(settings, samples), width_of(settings))}


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    return at_rate(raw, RATE)


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    from affectkit_plugins.encoders.log_mel_net import LogMel

    return LogMel(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny = {"bins": 16, "prosody": True, "deltas": True}
    return [Piece("encoder", "log_mel", Settings, build, shapes, WAVE, tiny=tiny, prepare=prepare)]
