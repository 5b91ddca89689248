"""The network of `face_analysis`: convolutions, landmarks by soft-argmax, looks at them, attention, heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from affectkit_plugins.encoders.face_analysis import REGIONS
from affectkit_plugins.encoders.face_analysis_facts_net import estimates, objective
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.sample import Fact

if TYPE_CHECKING:
    from affectkit_plugins.encoders.face_analysis import Settings

GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


class FaceAnalysis(nn.Module):
    """Facial priors of each frame by itself.

    Sources: multi-task heads over shared face tokens as in FaceXFormer (Narayan et al. 2024); landmarks as
    the mean place of a soft-max map (Luvizon et al. 2019, soft-argmax); appearance at the landmarks by
    bilinear lookup. Normalisation is per crop (group norm), so no value depends on the other crops of the
    batch.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        half, fine, coarse = settings.channels
        width = settings.width
        self.trunk = Trunk(half, fine, coarse)
        self.heat = nn.Conv2d(fine, sum(REGIONS), 1)
        self.regions = Regions(fine, width)
        self.map = nn.Linear(coarse, width)
        self.mix = nn.ModuleList(TokenLayer(width, settings.heads) for _ in range(settings.layers))
        self.units = head(2 * width, width, len(settings.units))
        traits = len(settings.ages), len(settings.genders), len(settings.skin_tones)
        self.traits = head(2 * width, width, sum(traits))
        self.register_buffer("grey", torch.tensor(GREY).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: ViewBlock) -> dict[str, TokenBlock]:
        """Crops uint8 [b t 3 h x], mask False where there is no face -> the blocks of `shapes`.

        `landmarks` are fractions of the whole frame's width and height where the view has boxes, else of the
        crop; `units` lie between 0 and 1; `age`, `gender` and `skin_tone` are probabilities.
        """
        real = pixels.mask
        images = self._look(pixels.values[real])
        jitter = Jitter.draw(len(images), images.device) if self.training and self.settings.augment else None
        if jitter is not None:
            images = jitter.crop(images)
        fine, coarse = self.trunk(images)
        points = soft_argmax(self.heat(fine))
        tokens = torch.cat([self._global(coarse), self.regions(points, fine)], 1)
        for layer in self.mix:
            tokens = layer(tokens)
        whole, local = tokens.split([self.settings.grid**2, len(REGIONS)], 1)
        # The heads read plain means, because that is what a miner's face tokens will see of the priors.
        summary = torch.cat([whole.mean(1), local.mean(1)], -1)
        if jitter is not None:
            points = jitter.back(points)
        if pixels.boxes is not None:
            low, high = pixels.boxes[real].to(points)[:, None].split(2, -1)
            points = low + points * (high - low)
        s = self.settings
        traits = self.traits(summary).float().split([len(s.ages), len(s.genders), len(s.skin_tones)], -1)
        age, gender, tone = (t.softmax(-1)[:, None] for t in traits)
        blocks = {
            "global": whole,
            "local": local,
            "landmarks": points,
            "units": self.units(summary).float().sigmoid()[:, None],
            "valid": torch.ones(len(images), 1, 1, device=real.device),
            "age": age,
            "gender": gender,
            "skin_tone": tone,
        }
        return {name: scatter(name, value, real) for name, value in blocks.items()}

    def facts(self, blocks: dict[str, TokenBlock]) -> list[dict[str, Fact]]:
        """Age, gender and skin tone of each row as estimates, averaged over its valid frames."""
        s = self.settings
        words = {"age": s.ages, "gender": s.genders, "skin_tone": s.skin_tones}
        return estimates({name: (blocks[name], known) for name, known in words.items()})

    def loss(self, blocks: dict[str, TokenBlock], facts: list[dict[str, Fact]]) -> Tensor:
        """The objective for facts that are labels; see `face_analysis_facts_net.objective`."""
        s = self.settings
        words = {"age": s.ages, "gender": s.genders, "skin_tone": s.skin_tones}
        return objective(blocks, facts, words)

    def _look(self, crops: Tensor) -> Tensor:
        """uint8 [N 3 h x] -> float about -1 to 1."""
        images = crops.to(self.heat.weight.dtype) / 127.5 - 1
        if self.settings.grey:
            images = (images * self.grey).sum(1, keepdim=True).expand(-1, 3, -1, -1)
        return images

    def _global(self, coarse: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(coarse, self.settings.grid)
        return self.map(pooled.flatten(2).transpose(1, 2))


class Trunk(nn.Module):
    """[N 3 h x] -> a fine map at a quarter and a coarse map at an eighth of the size."""

    def __init__(self, half: int, fine: int, coarse: int) -> None:
        super().__init__()
        self.stem = conv(3, half, stride=2)
        self.down = conv(half, fine, stride=2)
        self.fine = conv(fine, fine)
        self.deep = conv(fine, coarse, stride=2)
        self.coarse = conv(coarse, coarse)
        self.context = nn.Conv2d(coarse, fine, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        down = self.down(self.stem(images))
        fine = down + self.fine(down)
        deep = self.deep(fine)
        coarse = deep + self.coarse(deep)
        # Where a point is depends on the whole face, so the fine map also gets what the coarse one knows.
        return fine + F.interpolate(self.context(coarse), scale_factor=2.0, mode="nearest"), coarse


class Regions(nn.Module):
    """One token for each landmark region: where its points are and what the face looks like there."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(nn.Linear(n * (2 + channels), width) for n in REGIONS)
        self.second = nn.Linear(width, width)

    def forward(self, points: Tensor, fine: Tensor) -> Tensor:
        """Points [N 68 2] in fractions of the crop, map [N c h x] -> [N 9 width]."""
        # Where to look is the landmark objective's business alone; without the detach the look-up drags
        # points away.
        where = points.detach().to(fine.dtype) * 2 - 1
        seen = F.grid_sample(fine, where[:, :, None], padding_mode="border", align_corners=False)
        both = torch.cat([points.to(fine.dtype) * 2 - 1, seen.squeeze(-1).transpose(1, 2)], -1)
        parts = [f(p.flatten(1)) for f, p in zip(self.first, both.split(REGIONS, 1), strict=True)]
        return self.second(F.gelu(torch.stack(parts, 1)))


class TokenLayer(nn.Module):
    """A pre-norm transformer layer over the few tokens of one frame."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        count, n, width = tokens.shape
        qkv = self.qkv(self.norm1(tokens)).view(count, n, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(count, n, width)
        tokens = tokens + self.out(mixed)
        return tokens + self.mlp(self.norm2(tokens))


class Jitter:
    """A random brightness, contrast, place and scale for each crop, and the way back for its landmarks."""

    def __init__(self, gain: Tensor, offset: Tensor, scale: Tensor, shift: Tensor) -> None:
        self.gain, self.offset, self.scale, self.shift = gain, offset, scale, shift

    @classmethod
    def draw(cls, count: int, device: torch.device) -> Jitter:
        """Drawn from torch's default generator on the CPU, so that a seed gives the same on any device."""
        r = (torch.rand(count, 5) * 2 - 1).to(device)
        return cls(1 + 0.2 * r[:, :1], 0.15 * r[:, 1:2], 1 + 0.1 * r[:, 2:3], 0.08 * r[:, 3:])

    def crop(self, images: Tensor) -> Tensor:
        """Images about -1 to 1; place p (-1 to 1) of the result shows p * scale + shift of the input."""
        theta = torch.cat([torch.diag_embed(self.scale.expand(-1, 2)), self.shift[:, :, None]], 2)
        grid = F.affine_grid(theta.to(images.dtype), list(images.shape), align_corners=False)
        moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        return moved * self.gain[:, :, None, None].to(moved) + self.offset[:, :, None, None].to(moved)

    def back(self, points: Tensor) -> Tensor:
        """Points [N p 2], fractions of the jittered crop -> fractions of the crop as it was given."""
        return ((points * 2 - 1) * self.scale[:, None] + self.shift[:, None] + 1) / 2


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution with group norm (groups of 8) and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(outputs // 8, outputs), nn.ReLU()
    )


def head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """A norm and a two-layer MLP."""
    return nn.Sequential(
        nn.LayerNorm(inputs), nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs)
    )


def soft_argmax(heat: Tensor) -> Tensor:
    """Maps [N p h x] -> mean places [N p 2] (x, y) under their soft-max, in fractions of the map; float32."""
    h, w = heat.shape[-2:]
    share = heat.float().flatten(2).softmax(-1).view(heat.shape)
    xs = (torch.arange(w, device=heat.device) + 0.5) / w
    ys = (torch.arange(h, device=heat.device) + 0.5) / h
    return torch.stack([(share.sum(2) * xs).sum(-1), (share.sum(3) * ys).sum(-1)], -1)


def scatter(name: str, values: Tensor, real: Tensor) -> TokenBlock:
    """Values [N n d] of the real frames -> a block [b t n d] that is zero and masked elsewhere."""
    tokens = values.new_zeros(*real.shape, *values.shape[1:])
    tokens[real] = values
    return TokenBlock(name, tokens, real[:, :, None].expand(-1, -1, values.shape[1]).contiguous())
