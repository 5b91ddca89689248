"""The encoder of Whisper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins._values import at_least
from affectkit_plugins.encoders._architectures import foreign
from affectkit_plugins.encoders._sizes import Family, sizes
from affectkit_plugins.encoders._sound import WAVE, at_rate, samples_at_most

from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

RATE = 16_000
STEP = 320
"""Samples of one token: two mel frames of 160."""

FAMILY = Family(
    names={"width": "d_model", "layers": "encoder_layers", "heads": "encoder_attention_heads",
           "hidden": "encoder_ffn_dim", "mels": "num_mel_bins", "positions": "max_source_positions"},
    published={"width": 1280, "layers": 32, "heads": 20, "hidden": 5120, "mels": 80, "positions": 1500},
    absent={"width": 384, "layers": 4, "heads": 6, "hidden": 1536, "mels": 80, "positions": 1500},
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The encoder of Whisper (Radford et al. 2022, `WhisperModel`): log-mel of 30 seconds to a token every 20
    ms.

    The log-mel is computed in the network, as the published feature extractor does: sound is cut or filled up
    with
    silence to 30 seconds, so a token depends on the silence behind it too; only tokens of real sound are put
    out. A shorter `window` is quicker and gives other tokens (docs/small-weights.md has figures), the same for
    a clip whatever lies beside it in a batch.
    """

    source: str = ""
    """Hub id (`openai/whisper-large-v2`) or folder written by `save_pretrained`; empty for random weights."""
    pool: Literal["none", "mean"] = "none"
    """none: a token every 20 ms; mean: one token, the mean over the real ones."""
    layer: int | None = None
    """Which layer's tokens are put out: 0 is what goes into the first, 2 what the second makes; None is the last, behind the
    final norm. Those above it are left out."""
    window: float | None = None
    """Seconds that are heard; what is longer is cut. None is all that the network has positions for, 30 as published."""
    width: int | None = None
    """Width of the tokens; None is the checkpoint's (1280 for random weights)."""
    layers: int | None = None
    """Transformer layers; None is the checkpoint's (32)."""
    heads: int | None = None
    """Attention heads; None is the checkpoint's (20)."""
    hidden: int | None = None
    """Width inside the feed-forward layers; None is the checkpoint's (5120)."""
    mels: int | None = None
    """Mel bins; None is the checkpoint's (80)."""
    positions: int | None = None
    """Tokens of the longest sound; None is the checkpoint's (1500, which is 30 seconds)."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and the network cannot take."""
        found = at_least(self, 0, "layer") + at_least(self, 0.1, "window")
        found += foreign(self.source, "Whisper", ("whisper",))
        known = sizes(FAMILY, self)
        for name, value, most, what in (
            ("layer", self.layer, known["layers"], "layers"),
            ("window", self.window and positions(self.window), known["positions"], "positions of 20 ms"),
        ):
            if value is not None and most is not None and value > most:
                found.append((name, f"{getattr(self, name)} is beyond the network's {most} {what}"))
        return found


def positions(seconds: float) -> int:
    """The tokens of a sound of this length."""
    return max(round(seconds * RATE / STEP), 1)


def heard(settings: Settings) -> int | None:
    """The most tokens of a sound, by its window or by what the network has; None where only the hub knows."""
    most: int | None = sizes(FAMILY, settings)["positions"]
    return most if settings.window is None else positions(settings.window)


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    known = sizes(FAMILY, settings)
    if settings.pool == "mean":
        return {"pooled": Shape("tokens", 1, 1, known["width"])}
    most, length = heard(settings), samples_at_most(inputs, RATE)
    if length is not None and most is not None:
        most = min(most, -(-length // STEP))
    return {"frames": Shape("tokens", 1, most, known["width"])}


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    """The wave, float32 [a], no longer than the network hears."""
    most = heard(settings) or FAMILY.published["positions"]
    return at_rate(raw, RATE)[: most * STEP]


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    from affectkit_plugins.encoders.whisper_net import encoder

    return encoder(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny = {"width": 16, "layers": 2, "heads": 2, "hidden": 24, "mels": 16, "positions": 50}
    return [Piece("encoder", "whisper", Settings, build, shapes, WAVE, ("transformers",), tiny=tiny, prepare=prepare)]
