"""Masked convolutions with strides, transformer layers, attentive pooling."""

from __future__ import annotations

from affectkit_plugins.adapters._masked import SelfLayer, block, clean, in_one_row, sinusoids
from affectkit_plugins.adapters.attention_net import Pool
from affectkit_plugins.adapters.conv_transformer import Settings
from jaxtyping import Bool, Float
from torch import Tensor, nn

from affectkit.blocks import TokenBlock


class ConvTransformer(nn.Module):
    """tokens [b t n d] -> tokens [b 1 m width], m = t * n / stride rounded up, or `out`."""

    def __init__(self, width: int, settings: Settings) -> None:
        super().__init__()
        first = 2 if settings.stride % 2 == 0 else 1
        sizes = (
            (width, settings.channels, first),
            (settings.channels, settings.width, settings.stride // first),
        )
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, max(settings.kernel, s | 1), s, padding=max(settings.kernel, s | 1) // 2)
            for a, b, s in sizes
        )
        self.strides = [s for _, _, s in sizes]
        # norms by position, never over the sequence or the batch: a row gives the same padded and alone
        self.norms = nn.ModuleList(nn.LayerNorm(b) for _, b, _ in sizes)
        self.layers = nn.ModuleList(
            SelfLayer(settings.width, settings.heads, settings.dropout) for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(settings.width)
        self.pool = Pool(settings.width, settings.out, settings.heads) if settings.out else None

    def forward(self, tokens: TokenBlock) -> dict[str, TokenBlock]:
        values, mask = in_one_row(tokens)
        for conv, norm, stride in zip(self.convs, self.norms, self.strides, strict=True):
            values, mask = _shorten(conv, stride, values, mask)
            values = clean(nn.functional.gelu(norm(values)), mask)
        values = values + sinusoids(values.shape[1], values)
        for layer in self.layers:
            values = layer(values, mask)
        values = self.norm(values)
        if self.pool is not None:
            values, mask = (
                self.pool(values, mask),
                mask.any(1, keepdim=True).expand(-1, len(self.pool.queries)),
            )
        return block("tokens", values.unsqueeze(1), mask.unsqueeze(1))


def _shorten(
    conv: nn.Module, stride: int, values: Float[Tensor, "f m d"], mask: Bool[Tensor, "f m"]
) -> tuple[Float[Tensor, "f k e"], Bool[Tensor, "f k"]]:
    """One convolution over [f m d]; a place of its output is real where any of its `stride` own places is."""
    out = conv(values.transpose(1, 2)).transpose(1, 2)
    spare = -mask.shape[1] % stride
    real = nn.functional.pad(mask, (0, spare)).unflatten(1, (-1, stride)).any(2)
    return out, real
