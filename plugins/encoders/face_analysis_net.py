"""The network of `face_analysis`: convolutions, landmarks, what is seen at them, attention, heads."""

from __future__ import annotations

import torch
from affectkit_plugins.encoders._frames_net import in_frame
from affectkit_plugins.encoders.face_analysis import REGIONS, Settings
from affectkit_plugins.encoders.face_analysis_facts_net import estimates, objective
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.sample import Fact

Points = Float[Tensor, "f 68 2"]
GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""
MIRROR = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
"""Landmark -> the one that it becomes in a mirror."""


class FaceAnalysis(nn.Module):
    """Facial priors of each frame by itself.

    Source of the idea: multi-task heads over shared face tokens as in FaceXFormer (Narayan et al. 2024),
    appearance at the landmarks by bilinear look-up. Normalisation is per crop, so no value depends on
    the other crops of the batch.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        half, fine, coarse = settings.channels
        width = settings.width
        self.trunk = Trunk(half, fine, coarse)
        self.cells = GridCells(coarse, width, settings.grid)
        self.points = head(width * settings.grid**2, 2 * width, 2 * sum(REGIONS))
        self.regions = Regions(fine + 3, width)
        self.mix = nn.ModuleList(TokenLayer(width, settings.heads) for _ in range(settings.layers))
        self.units = head(2 * width, width, len(settings.units))
        traits = len(settings.ages), len(settings.genders), len(settings.skin_tones)
        self.traits = head(2 * width, width, sum(traits))
        self.grey: Tensor
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
        whole = self.cells(coarse)
        points = 0.5 + 0.25 * self.points(whole.flatten(1)).float().unflatten(-1, (-1, 2))
        tokens = torch.cat([whole, self.regions(points, fine, images)], 1)
        for layer in self.mix:
            tokens = layer(tokens)
        whole, local = tokens.split([self.settings.grid**2, len(REGIONS)], 1)
        # The heads read plain means, because that is what a miner's face tokens will see of the priors.
        summary = torch.cat([whole.mean(1), local.mean(1)], -1)
        if jitter is not None:
            points = jitter.back(points)
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
        out = {name: scatter(name, value, real) for name, value in blocks.items()}
        if pixels.boxes is not None:
            out["landmarks"] = in_frame(out["landmarks"], pixels.boxes)
        return out

    def facts(self, blocks: dict[str, TokenBlock]) -> list[dict[str, Fact]]:
        """Age, gender and skin tone of each row as estimates, averaged over its valid frames."""
        s = self.settings
        words = {"age": s.ages, "gender": s.genders, "skin_tone": s.skin_tones}
        return estimates({name: (blocks[name], known) for name, known in words.items()})

    def loss(self, blocks: dict[str, TokenBlock], facts: list[dict[str, Fact]]) -> Tensor:
        """The objective for facts that are labels; see `face_analysis_facts_net.objective`."""
        s = self.settings
        words = {"age": s.ages, "gender": s.genders, "skin_tone": s.skin_tones}
        return objective(blocks, facts, s.units, words)

    def _look(self, crops: UInt8[Tensor, "f 3 h x"]) -> Float[Tensor, "f 3 h x"]:
        """uint8 [N 3 h x] -> float about -1 to 1."""
        images = crops.to(self.grey.dtype) / 127.5 - 1
        if self.settings.grey:
            images = (images * self.grey).sum(1, keepdim=True).expand(-1, 3, -1, -1)
        return images


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

    def forward(self, images: Float[Tensor, "f 3 h x"]) -> tuple[Float[Tensor, "f c _ _"], Float[Tensor, "f _ _ _"]]:
        down = self.down(self.stem(images))
        fine = down + self.fine(down)
        deep = self.deep(fine)
        coarse = deep + self.coarse(deep)
        # Where a point is depends on the whole face, so the fine map also gets what the coarse one knows.
        return fine + F.interpolate(self.context(coarse), scale_factor=2.0, mode="nearest"), coarse


class GridCells(nn.Module):
    """The coarse map cut into grid x grid cells, one token each.

    A cell has a linear map of its own, so that the mean over the tokens is still a full linear map of the
    face.
    """

    def __init__(self, channels: int, width: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.each = nn.Parameter(torch.randn(grid**2, 4 * channels, width) * (4 * channels) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(grid**2, width))

    def forward(self, coarse: Float[Tensor, "f c h x"]) -> Float[Tensor, "f n d"]:
        """Map [N c h x] -> [N grid*grid width], from 2 x 2 means of each cell."""
        g = self.grid
        means = F.adaptive_avg_pool2d(coarse, 2 * g).unflatten(3, (g, 2)).unflatten(2, (g, 2))
        cells = means.permute(2, 4, 0, 1, 3, 5).flatten(3).flatten(0, 1)  # [grid*grid N 4*c]
        return torch.baddbmm(self.bias[:, None], cells, self.each).transpose(0, 1)


class Regions(nn.Module):
    """One token for each landmark region: where its points are and what the face looks like there."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(nn.Linear(n * (4 + channels), width) for n in REGIONS)
        self.second = nn.Linear(width, width)

    def forward(
        self, points: Points, fine: Float[Tensor, "f c _ _"], images: Float[Tensor, "f 3 h x"]
    ) -> Float[Tensor, "f 9 d"]:
        """Points [N 68 2] in fractions of the crop, map [N c h x], images [N 3 H X] -> [N 9 width]."""
        # Where to look is the landmark objective's business alone; undetached, the look-up drags points away.
        where = points.detach().to(fine.dtype)[:, :, None] * 2 - 1
        seen = [F.grid_sample(m, where, padding_mode="border", align_corners=False) for m in (fine, images)]
        spots = [m.squeeze(-1).transpose(1, 2) for m in seen]
        places = [p.to(fine.dtype) for p in (points * 2 - 1, upright(points))]
        both = torch.cat([*places, *spots], -1)
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

    def forward(self, tokens: Float[Tensor, "f n d"]) -> Float[Tensor, "f n d"]:
        count, n, width = tokens.shape
        qkv = self.qkv(self.norm1(tokens)).view(count, n, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(count, n, width)
        tokens = tokens + self.out(mixed)
        return tokens + self.mlp(self.norm2(tokens))


class Jitter:
    """A random brightness, contrast, place, scale and side for each crop, and the way back for its landmarks."""

    def __init__(self, gain: Tensor, offset: Tensor, scale: Tensor, shift: Tensor) -> None:
        """Gain and offset [N 1]; scale and shift [N 2] of x and y, a negative scale of x mirrors."""
        self.gain, self.offset, self.scale, self.shift = gain, offset, scale, shift

    @classmethod
    def draw(cls, count: int, device: torch.device) -> Jitter:
        """Drawn from torch's default generator on the CPU, so that a seed gives the same on any device."""
        r = (torch.rand(count, 6) * 2 - 1).to(device)
        side = torch.cat([r[:, 5:].sign(), torch.ones_like(r[:, 5:])], 1)
        return cls(1 + 0.2 * r[:, :1], 0.15 * r[:, 1:2], (1 + 0.1 * r[:, 2:3]) * side, 0.08 * r[:, 3:5])

    def crop(self, images: Float[Tensor, "f 3 h x"]) -> Float[Tensor, "f 3 h x"]:
        """Images about -1 to 1; place p (-1 to 1) of the result shows p * scale + shift of the input."""
        theta = torch.cat([torch.diag_embed(self.scale), self.shift[:, :, None]], 2)
        grid = F.affine_grid(theta.to(images.dtype), list(images.shape), align_corners=False)
        moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        return moved * self.gain[:, :, None, None].to(moved) + self.offset[:, :, None, None].to(moved)

    def back(self, points: Points) -> Points:
        """Points [N 68 2], fractions of the jittered crop -> fractions of the crop as it was given."""
        there = ((points * 2 - 1) * self.scale[:, None] + self.shift[:, None] + 1) / 2
        mirrored = there[:, torch.tensor(MIRROR, device=there.device)]
        return torch.where(self.scale[:, :1, None] < 0, mirrored, there)


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution, each channel to mean 0 and variance 1 over its crop, and ReLU.

    In 160 steps on drawn faces this learned as much as batch norm (action units 0.35 correlated), groups of 8
    channels little (0.07) and no norm less than half (0.15); unlike batch norm it leaves the rows of a batch
    apart.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(outputs, outputs), nn.ReLU()
    )


def head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """A norm and a two-layer MLP."""
    return nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


def upright(points: Points) -> Points:
    """Landmarks [N 68 2] moved, turned and scaled so that the outer eye corners lie at (-1, 0) and (1, 0)."""
    one, other = points[:, 36:37], points[:, 45:46]
    axis = (other - one) / 2
    across = torch.stack([-axis[..., 1], axis[..., 0]], -1)
    moved = points - (one + other) / 2
    along = torch.stack([(moved * axis).sum(-1), (moved * across).sum(-1)], -1)
    # An untrained network may put both corners at one place.
    return along / axis.square().sum(-1, keepdim=True).clamp(min=0.01)


def scatter(name: str, values: Float[Tensor, "f n d"], real: Bool[Tensor, "b t"]) -> TokenBlock:
    """Values [N n d] of the real frames -> a block [b t n d] that is zero and masked elsewhere."""
    tokens = values.new_zeros(*real.shape, *values.shape[1:])
    tokens[real] = values
    return TokenBlock(name, tokens, real[:, :, None].expand(-1, -1, values.shape[1]).contiguous())
