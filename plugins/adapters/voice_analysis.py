"""Speech features to how a voice is used: the voice's counterpart of the face-analysis network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affectkit_plugins.adapters._shapes import filled

from affectkit.pieces import Piece, Port, Shape, hookimpl

MANNER = (
    "rate", "gap", "slope", "swing", "late", "drop", "tremor", "attack", "decay", "fade", "breath", "creak",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Speech features to one token on how the voice is used: tempo, pauses, contour, tremor, attack, breath, creak (ours).

    It stands where published systems have a pretrained speech encoder, at a size that trains from nothing in seconds: as a
    stage's objective it learns the fact `manner` (one number for each of `units`). Convolutions over the frames with a norm
    after each, then statistics pooling (Snyder et al. 2018), because when something happens in a voice says little.
    """

    channels: int = 96
    """Channels of each convolution."""
    layers: int = 3
    """How many convolutions."""
    kernel: int = 5
    """How many frames a convolution sees; odd."""
    dropout: float = 0.2
    """Dropout on what is pooled, in training."""
    stretches: int = 1
    """In how many stretches of a sound, of one length, its features are pooled, each a time step (as AffectGPT's 8 clips);
    what is estimated is read from the whole."""
    units: tuple[str, ...] = MANNER
    """Names of what is estimated, as the data's fact `manner_names` has them."""

    def problems(self) -> list[tuple[str, str]]:
        odd = [] if self.kernel % 2 else [("kernel", f"must be odd, is {self.kernel}")]
        small = [
            (n, f"must be at least 1, is {getattr(self, n)}")
            for n in ("channels", "layers", "stretches")
            if getattr(self, n) < 1
        ]
        return odd + small + ([] if self.units else [("units", "names nothing")])


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """A token of means and peaks for each stretch, and one of the estimates."""
    filled(inputs, "tokens")
    return {
        "voice": Shape(time=settings.stretches, tokens=1, width=2 * settings.channels),
        "units": Shape(time=1, tokens=1, width=len(settings.units)),
    }


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The network."""
    from affectkit_plugins.adapters.voice_analysis_net import VoiceAnalysis

    given = filled(inputs, "tokens")[0]
    return VoiceAnalysis(given.width, settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    port = Port("tokens", about="features of speech in time, such as log-mel frames")
    tiny = {"channels": 8, "layers": 2}
    return [Piece("adapter", "voice_analysis", Settings, build, shapes, (port,), tiny=tiny, objective=True)]
