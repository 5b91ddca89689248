"""Whisper's encoder, from the wave: log-mel of a fixed length of time, then tokens of its real part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from affectkit_plugins.adapters._masked import mean_of_real
from affectkit_plugins.encoders._fixed_net import Fixed
from affectkit_plugins.encoders._load_net import transformer
from affectkit_plugins.encoders.whisper import FAMILY, Settings, positions
from jaxtyping import Float
from torch import Tensor, nn
from transformers import WhisperModel
from transformers.audio_utils import mel_filter_bank

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.errors import InputError, Problem

WINDOW, HOP, RATE = 400, 160, 16_000


class Whisper(nn.Module):
    """Wave [b a] to {frames [b 1 n d]} or {pooled [b 1 1 d]}; one token is 320 samples."""

    weights_origin: str

    def __init__(self, model: Any, pool: str) -> None:
        super().__init__()
        self.model, self.pool = model, pool
        self.samples = model.max_source_positions * 2 * HOP
        bank = mel_filter_bank(
            1 + WINDOW // 2, model.num_mel_bins, 0.0, RATE / 2, RATE, norm="slaney", mel_scale="slaney"
        )
        self.filters, self.window = Fixed(bank.T), Fixed(torch.hann_window(WINDOW, device="cpu"))

    def forward(self, wave: ViewBlock) -> dict[str, TokenBlock]:
        sound = (wave.values * wave.mask).float()[:, : self.samples]
        sound = nn.functional.pad(sound, (0, self.samples - sound.shape[1]))
        tokens = self.model(self.log_mel(sound).to(self.model.conv1.weight.dtype)).last_hidden_state
        real = -(-wave.mask.sum(1).clamp(max=self.samples) // (2 * HOP))
        # Tokens of silence alone are cut off: no row is longer than the longest sound.
        longest = max(int(real.max()), 1)
        mask = torch.arange(longest, device=real.device) < real[:, None]
        tokens = tokens[:, :longest] * mask[..., None]
        name = "frames"
        if self.pool == "mean":
            name, (tokens, mask) = "pooled", mean_of_real(tokens, mask)
        return {name: TokenBlock(name, tokens[:, None], mask[:, None])}

    def log_mel(self, sound: Float[Tensor, "b a"]) -> Float[Tensor, "b mels frames"]:
        """Wave [b a] to [b mels frames], the dynamic range cut at 8 decades below the row's peak (Whisper,
        2.2)."""
        power = torch.stft(sound, WINDOW, HOP, window=self.window.values, return_complex=True)[..., :-1].abs() ** 2
        log = (self.filters.values @ power).clamp(min=1e-10).log10()
        log = torch.maximum(log, log.amax((1, 2), keepdim=True) - 8.0)
        return (log + 4.0) / 4.0


def shorten(model: Any, settings: Settings) -> None:
    """Leave out positions behind the window and layers above the one that is put out, the final norm with them.

    Raises InputError for more than the network has.
    """
    for name, value, most in (
        ("layer", settings.layer, len(model.layers)),
        ("window", settings.window and positions(settings.window), model.max_source_positions),
    ):
        if value is not None and value > most:
            raise InputError(Problem(name, f"{getattr(settings, name)} is beyond the {most} that the network has"))
    if settings.window is not None:
        model.max_source_positions = model.config.max_source_positions = positions(settings.window)
        kept = model.embed_positions.weight[: model.max_source_positions].detach()
        model.embed_positions = nn.Embedding.from_pretrained(kept.clone(), freeze=True)
    if settings.layer is not None:
        model.layers, model.layer_norm = model.layers[: settings.layer], nn.Identity()


def encoder(settings: Settings) -> Whisper:
    """The encoder as a step, with pretrained or random weights."""
    # The decoder is not kept; where weights are random it need not be built at size either.
    small = {"decoder_layers": 1, "decoder_ffn_dim": 8, "decoder_attention_heads": 1, "vocab_size": 51865}
    model, origin = transformer(WhisperModel, replace(FAMILY, fixed=small), settings)
    shorten(model.encoder, settings)
    step = Whisper(model.encoder, settings.pool)
    step.weights_origin = origin
    return step
