"""Speech models on the wave: tokens every 20 ms, the same whatever sound shares the batch."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from affectkit_plugins.adapters._masked import mean_of_real
from affectkit_plugins.encoders._load_net import transformer
from affectkit_plugins.encoders._sizes import Family
from affectkit_plugins.encoders._sound import convolved
from affectkit_plugins.encoders.speech import Speech
from jaxtyping import Float, Int
from torch import Tensor, nn

from affectkit.blocks import TokenBlock, ViewBlock


class SpeechEncoder(nn.Module):
    """Wave [b a] to {frames [b t n d]} or {pooled [b t 1 d]}; t is the number of clips, or 1 for the whole
    sound."""

    weights_origin: str

    def __init__(self, model: Any, settings: Speech) -> None:
        super().__init__()
        self.model, self.pool, self.clips = model, settings.pool, settings.clips
        self.last_four, self.over_batch = settings.take == "last_four", settings.normalise == "batch"
        self.by_length = model.config.feat_extract_norm == "group"
        # What configurations switch on by themselves while training, and no recipe asked for: masking of stretches
        # (which refuses sound under 0.2 s) and skipping of whole layers (which then get no gradient).
        model.config.apply_spec_augment, model.config.layerdrop = False, 0.0
        model.masked_spec_embed.requires_grad_(False)  # what masked stretches are filled with

    def forward(self, wave: ViewBlock) -> dict[str, TokenBlock]:
        sound = (wave.values * wave.mask).to(next(self.model.parameters()).dtype)
        lengths = wave.mask.sum(1)
        t = max(self.clips, 1)
        # Every clip of a row is as long as the others; a row without sound has none.
        sound, lengths = sound.reshape(len(sound) * t, -1), (lengths // t).repeat_interleave(t)
        counts = [convolved(n, self.model.config.conv_kernel, self.model.config.conv_stride) for n in lengths.tolist()]
        real = torch.tensor(counts, device=sound.device)
        rows = real.nonzero().squeeze(1)
        nothing = rows.numel() == 0
        if nothing:
            rows, lengths = rows.new_zeros(1), lengths.new_full((1,), sound.shape[1])
        heard, lengths = sound[rows], lengths[rows]
        tokens = self.listen(standardised(heard, lengths) if self.over_batch else heard, lengths)
        tokens = tokens * 0 if nothing else tokens
        mask = torch.arange(tokens.shape[1], device=sound.device) < real[:, None]
        full = tokens.new_zeros(len(mask), *tokens.shape[1:]).index_copy(0, rows, tokens) * mask[..., None]
        name = "frames"
        if self.pool == "mean":
            name, (full, mask) = "pooled", mean_of_real(full, mask)
        return {name: TokenBlock(name, full.unflatten(0, (-1, t)), mask.unflatten(0, (-1, t)))}

    def listen(self, sound: Float[Tensor, "r a"], lengths: Int[Tensor, " r"]) -> Float[Tensor, "r n d"]:
        """Tokens [r n d] of waves [r a] of `lengths` real samples, padded with zeros behind."""
        full = bool((lengths == sound.shape[1]).all())
        if full:
            return self.hear(sound, None)
        if not self.by_length:
            steps = torch.arange(sound.shape[1], device=sound.device)
            return self.hear(sound, (steps < lengths[:, None]).long())
        out: dict[int, Tensor] = {}
        for length in lengths.unique().tolist():
            # Group norm would mix padding into the statistics, so each length is heard by itself, unpadded.
            same = (lengths == length).nonzero().squeeze(1)
            heard = self.hear(sound[same, :length], None)
            out |= dict(zip(same.tolist(), heard, strict=True))
        longest = max(len(tokens) for tokens in out.values())
        padded = [nn.functional.pad(out[i], (0, 0, 0, longest - len(out[i]))) for i in range(len(sound))]
        return torch.stack(padded)

    def hear(self, sound: Float[Tensor, "r a"], mask: Int[Tensor, "r a"] | None) -> Float[Tensor, "r n d"]:
        with warnings.catch_warnings():  # WavLM hands torch our mask as booleans beside its bias in floats
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask", UserWarning)
            heard = self.model(sound, attention_mask=mask, output_hidden_states=self.last_four)
        return torch.stack(heard.hidden_states[-4:]).mean(0) if self.last_four else heard.last_hidden_state


def standardised(sound: Float[Tensor, "r a"], lengths: Int[Tensor, " r"]) -> Float[Tensor, "r a"]:
    """Zero mean and unit variance over the real samples of all rows together, as AffectGPT's code does by accident."""
    real = torch.arange(sound.shape[1], device=sound.device) < lengths[:, None]
    values = sound[real].float()
    variance, mean = torch.var_mean(values, correction=0)
    return (((sound.float() - mean) / (variance + 1e-7).sqrt()) * real).to(sound.dtype)


def encoder(model: type, family: Family, settings: Speech) -> SpeechEncoder:
    """The encoder as a step, with pretrained or random weights."""
    net, origin = transformer(model, family, settings)
    step = SpeechEncoder(net, settings)
    step.weights_origin = origin
    return step
