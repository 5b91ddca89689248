"""A small encoder over a sequence: convolutions that shorten it, then transformer layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from affectkit_plugins._values import at_least
from affectkit_plugins.adapters._shapes import filled, heads_fit, over, times, width_of

from affectkit.pieces import Piece, Port, Shape, hookimpl


@dataclass(frozen=True)
class Settings:
    """A small encoder over a sequence: two convolutions shorten it, transformer layers relate what is left.

    Made for features that nobody trained yet, such as log-mel frames: the convolutions see local slopes (a
    pitch that rises), the layers the whole contour. Time and tokens count as one sequence. With `out` above 0
    as many learned queries read the result, so that a clip costs that many tokens.

    The shape is Whisper's encoder (Radford et al. 2022, section 2.2: two convolutions with GELU, sinusoidal
    positions, pre-norm layers), at a size that trains from nothing on a CPU.
    """

    channels: int = 64
    """Width of the first convolution."""
    width: int = 128
    """Width from the second convolution on, and of the tokens that come out."""
    layers: int = 2
    """How many transformer layers; 0 leaves the convolutions."""
    heads: int = 4
    """Attention heads; they must divide `width`."""
    kernel: int = 5
    """How many steps a convolution sees; odd."""
    stride: int = 4
    """How many steps become one, in all; the first convolution takes 2 of it where it is even."""
    out: int = 0
    """How many tokens come out, read by learned queries; 0 for the whole shortened sequence."""
    dropout: float = 0.0
    """Dropout in training, in the transformer layers."""

    def problems(self) -> list[tuple[str, str]]:
        found = at_least(self, 1, "channels", "width", "kernel", "stride") + at_least(self, 0, "layers", "out")
        if self.kernel % 2 == 0:
            found.append(("kernel", f"must be odd, got {self.kernel}"))
        return found + (heads_fit("width", self.width, self.heads) if self.width > 0 else [])


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """`out` tokens, or the sequence shortened `stride` times."""
    given = filled(inputs, "tokens")[0]
    count = over(times(given.time, given.tokens), settings.stride)
    return {"tokens": Shape("tokens", 1, settings.out or count, settings.width)}


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> Any:
    """The module; parameters `convs`, `norms`, `layers`, `norm` (and `pool`)."""
    from affectkit_plugins.adapters.conv_transformer_net import ConvTransformer

    return ConvTransformer(width_of(inputs, "tokens"), settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    ports = (Port("tokens", about="a sequence of features"),)
    tiny = {"channels": 8, "width": 8, "layers": 1, "heads": 2}
    return [Piece("adapter", "conv_transformer", Settings, build, shapes, ports, tiny=tiny)]
