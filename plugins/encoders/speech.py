"""Speech models that listen to the wave: HuBERT, wav2vec 2.0 and WavLM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins.encoders._architectures import foreign
from affectkit_plugins.encoders._sizes import Family, read_json, sizes
from affectkit_plugins.encoders._sound import (
    WAVE,
    at_rate,
    centred,
    convolved,
    receptive,
    samples_at_most,
    spread,
    standardised,
)

from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

RATE = 16_000
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
"""The seven convolutions that all three share: 400 samples (25 ms) a position, 320 (20 ms) apart."""
POSITION_GROUPS = 16
"""Groups of the convolution that tells positions; the width is a multiple of it in all published models."""

FAMILY = Family(
    names={"width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
           "hidden": "intermediate_size", "norm": "feat_extract_norm"},
    published={"width": 1024, "layers": 24, "heads": 16, "hidden": 4096, "norm": "layer"},
    absent={"width": 768, "layers": 12, "heads": 12, "hidden": 3072, "norm": "group"},
)  # fmt: skip


@dataclass(frozen=True)
class Speech:
    """A speech model on the wave."""

    source: str = ""
    """Hub id or folder written by `save_pretrained`; empty for random weights."""
    take: Literal["last", "last_four"] = "last"
    """Which layers are read: the last one, or the mean of the last four (AffectGPT)."""
    pool: Literal["none", "mean"] = "none"
    """none: a token every 20 ms; mean: one token, the mean over time."""
    clips: int = 0
    """Cut this many clips, evenly spread over the sound, each a time step of its own (AffectGPT: 8); 0 for
    the sound as a whole."""
    seconds: float = 2.0
    """Length of each of those clips; shorter sound is filled up with silence."""
    normalise: Literal["published", "utterance", "batch", "none"] = "published"
    """Whether sound is brought to zero mean and unit variance, each clip by itself; published is what the
    checkpoint says; batch does so over all clips of a batch at once, as AffectGPT's code: then nothing is cached."""
    centre: bool = False
    """Take each clip's own mean off first, as AffectGPT's mel function does in place; shows with `normalise` batch or
    none."""
    width: int | None = None
    """Width of the tokens; None is the checkpoint's (1024 for random weights)."""
    layers: int | None = None
    """Transformer layers; None is the checkpoint's (24)."""
    heads: int | None = None
    """Attention heads; None is the checkpoint's (16)."""
    hidden: int | None = None
    """Width inside the feed-forward layers; None is the checkpoint's (4096)."""
    norm: Literal["layer", "group"] | None = None
    """Norm of the convolutions: layer (large models) or group (base models); None is the checkpoint's
    (layer)."""
    channels: int = 512
    """Channels of the convolutions, for random weights."""

    def problems(self) -> list[tuple[str, str]]:
        """Settings that are invalid although their types are right."""
        found = foreign(self.source, "encoder of speech such as wav2vec 2.0", ("speech",))
        if self.width is not None and (self.width < POSITION_GROUPS or self.width % POSITION_GROUPS):
            what = f"{self.width} is no multiple of {POSITION_GROUPS}, the groups of the convolution over positions"
            found.append(("width", what))
        if self.width and self.heads and self.width % self.heads:
            found.append(("heads", f"{self.heads} heads do not divide the width {self.width}"))
        if self.clips < 0:
            found.append(("clips", "must be 0 or more"))
        if self.clips and self.seconds * RATE < receptive(KERNELS, STRIDES):
            found.append(("seconds", f"a clip of {self.seconds} s is shorter than one position (0.025 s)"))
        return found


@dataclass(frozen=True)
class Hubert(Speech):
    """HuBERT (Hsu et al. 2021, `HubertModel`): a token every 20 ms of speech.

    Emotion-LLaMA and AffectGPT use chinese-hubert-large, the one with `pool: mean`, the other with `clips:
    8`,
    `take: last_four` and `pool: mean`.
    """


@dataclass(frozen=True)
class Wav2Vec2(Speech):
    """wav2vec 2.0 (Baevski et al. 2020, `Wav2Vec2Model`): a token every 20 ms of speech."""


@dataclass(frozen=True)
class WavLM(Speech):
    """WavLM (Chen et al. 2022, `WavLMModel`): a token every 20 ms of speech."""


def shapes(settings: Speech, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    d, t = sizes(FAMILY, settings)["width"], max(settings.clips, 1)
    if settings.pool == "mean":
        return {"pooled": Shape("tokens", t, 1, d)}
    length = int(settings.seconds * RATE) if settings.clips else samples_at_most(inputs, RATE)
    # A sound too short for one position is filled up to it.
    tokens = None if length is None else max(convolved(length, KERNELS, STRIDES), 1)
    return {"frames": Shape("tokens", t, tokens, d)}


def prepare(settings: Speech, port: str, raw: Any) -> np.ndarray:
    """The wave, float32 [a]; with clips, those one after the other."""
    import numpy as np

    wave = at_rate(raw, RATE)
    if not len(wave):
        return wave
    length = int(settings.seconds * RATE) if settings.clips else max(len(wave), receptive(KERNELS, STRIDES))
    parts = spread(wave, settings.clips, length) if settings.clips else [wave]
    norm = standardised if _standardises(settings) else centred if settings.centre else lambda part: part
    return np.concatenate([np.pad(norm(part), (0, length - len(part))) for part in parts]).astype(np.float32)


def _standardises(settings: Speech) -> bool:
    if settings.normalise != "published":
        return settings.normalise == "utterance"  # over a batch: in the network, which sees one
    stated = read_json(settings.source, "preprocessor_config.json") or {}
    return bool(stated.get("do_normalize", True))


def pads(settings: Speech) -> bool:
    """Group norm runs over the whole time axis, padding included, so equal lengths belong together."""
    return bool(settings.clips) or sizes(FAMILY, settings)["norm"] == "layer"


def per_batch(settings: Speech) -> bool:
    """A clip's values then hang on the others in its batch."""
    return settings.normalise == "batch"


def _builder(name: str) -> Callable[..., nn.Module]:
    def build(settings: Speech, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
        import transformers
        from affectkit_plugins.encoders.speech_net import encoder

        norm = sizes(FAMILY, settings)["norm"]
        large = norm == "layer"
        fixed = {
            "conv_bias": large,
            "do_stable_layer_norm": large,
            "conv_dim": (settings.channels,) * len(KERNELS),
            "conv_kernel": KERNELS,
            "conv_stride": STRIDES,
        }
        return encoder(getattr(transformers, name), replace(FAMILY, fixed=fixed), settings)

    return build


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny = {"width": 32, "layers": 2, "heads": 2, "hidden": 32, "channels": 8}
    models = (
        ("hubert", Hubert, "HubertModel"),
        ("wav2vec2", Wav2Vec2, "Wav2Vec2Model"),
        ("wavlm", WavLM, "WavLMModel"),
    )
    return [
        Piece("encoder", name, settings, _builder(model), shapes, WAVE, ("transformers",), tiny=tiny,
              prepare=prepare, pads=pads, per_batch=per_batch)
        for name, settings, model in models
    ]  # fmt: skip
