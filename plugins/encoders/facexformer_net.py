"""FaceXFormer's network, under the names of its published checkpoint, and the priors that are read from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from affectkit_plugins.encoders._frames_net import Found, FrameEncoder, Images, freeze_unused, in_frame
from affectkit_plugins.encoders._load_net import loads
from affectkit_plugins.encoders._swin_net import Swin
from affectkit_plugins.encoders._two_way_net import Places, TwoWay
from affectkit_plugins.encoders.face_analysis import REGIONS
from affectkit_plugins.encoders.facexformer import ATTRIBUTES, PARTS, POSE, VISIBILITY, Settings
from affectkit_plugins.encoders.facexformer_facts_net import facts
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit import weights
from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.errors import InputError, Problem
from affectkit.sample import Fact

TASKS = ("landmarks", "pose", "attribute", "visibility", "age", "gender", "race")
"""The task tokens in their order; those of the parsing masks follow."""


class FaceXFormer(nn.Module):
    """Normalised crops [f 3 h x] -> task tokens [f 18 d] and the face map [f m d], both refined by the decoder, and
    the map as it was before [f d h x]."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        c, width = settings.channels, settings.width
        self.backbone = Swin(c, settings.depths, [c // 32 * 2**i for i in range(4)], settings.window)
        self.linear_c = nn.ModuleList(Narrow(c * 2**i, width) for i in range(4))
        self.linear_fuse = nn.Conv2d(4 * width, width, 1, bias=False)
        self.pe_layer = Places(width)
        self.face_decoder = Decoder(settings)

    def forward(
        self, images: Images
    ) -> tuple[Float[Tensor, "f 18 d"], Float[Tensor, "f m d"], Float[Tensor, "f d _ _"]]:
        fused = self.fuse([m.permute(0, 3, 1, 2) for m in self.backbone(images)])
        tokens, refined = self.face_decoder(fused.flatten(2).transpose(1, 2), self.pe_layer(*fused.shape[2:]))
        return tokens, refined, fused

    def fuse(self, maps: Sequence[Float[Tensor, "f _ _ _"]]) -> Float[Tensor, "f d _ _"]:
        """The stages' maps [f c h x], the finest first, as one [f d h x]: at the finest grid, joined coarsest first."""
        sides = maps[0].shape[2:]
        narrow = [linear(m) for linear, m in zip(self.linear_c, maps, strict=True)]
        grown = [F.interpolate(m, sides, mode="bilinear", align_corners=False) for m in narrow]
        return self.linear_fuse(torch.cat(grown[::-1], 1))


class Narrow(nn.Module):
    """A stage's map [f c h x] to the decoder's width, place by place."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, width)

    def forward(self, x: Float[Tensor, "f c h x"]) -> Float[Tensor, "f d h x"]:
        return self.proj(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Decoder(nn.Module):
    """Task tokens and mask tokens, the two-way decoder, and a head a task."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        s, width = settings, settings.width
        for task in TASKS:
            setattr(self, f"{task}_token", nn.Embedding(1, width))
        self.mask_tokens = nn.Embedding(len(PARTS), width)
        self.transformer = TwoWay(width, s.layers, s.heads, s.hidden)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, 2), MapNorm(width // 4), nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, 2), nn.GELU(),
        )  # fmt: skip
        self.output_hypernetwork_mlps = Head(width, width // 8)
        people = len(s.ages), len(s.genders), len(s.races)
        counts = (2 * sum(REGIONS), len(POSE), len(ATTRIBUTES), VISIBILITY, *people)
        for task, count in zip(TASKS, counts, strict=True):
            setattr(self, f"{task}_prediction_head", Head(width, count))

    def forward(
        self, face: Float[Tensor, "f m d"], places: Float[Tensor, "m d"]
    ) -> tuple[Float[Tensor, "f 18 d"], Float[Tensor, "f m d"]]:
        """Face map [f m d], its position code [m d] -> tokens [f 18 d], map [f m d]."""
        names = torch.cat([getattr(self, f"{task}_token").weight for task in TASKS])
        names = torch.cat([names, self.mask_tokens.weight])[None].expand(len(face), -1, -1)
        tokens, refined = self.transformer(names, face, places)
        return tokens, refined

    def tell(self, task: str, tokens: Float[Tensor, "f 18 d"]) -> Float[Tensor, "f k"]:
        """The raw numbers of one task [f k]."""
        return getattr(self, f"{task}_prediction_head")(tokens[:, TASKS.index(task)])

    def parse(
        self, tokens: Float[Tensor, "f 18 d"], face: Float[Tensor, "f m d"], high: int
    ) -> Float[Tensor, "f 11 _ _"]:
        """Logits of the eleven parsing masks [f 11 4h 4x] from a map [f h*x d] of `high` rows."""
        fine = self.output_upscaling(face.transpose(1, 2).unflatten(2, (high, -1)))
        return torch.einsum("fkd,fdhx->fkhx", self.output_hypernetwork_mlps(tokens[:, len(TASKS) :]), fine)


class Head(nn.Module):
    """Three linear layers with ReLU."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, count)])

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(x)))))


class MapNorm(nn.Module):
    """Layer norm over the channels of a map [f c h x]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        normed = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6)
        return normed.permute(0, 3, 1, 2)


class Priors(nn.Module):
    """Normalised crops [f 3 h x] to the blocks of the step, landmarks as fractions of the crop."""

    def __init__(self, model: FaceXFormer, settings: Settings) -> None:
        super().__init__()
        self.model, self.settings = model, settings

    def forward(self, images: Images) -> Found:
        tokens, flat, fused = self.model(images)
        decoder, high = self.model.face_decoder, fused.shape[2]
        refined = flat.transpose(1, 2).unflatten(2, (high, -1))
        points = decoder.tell("landmarks", tokens).float().unflatten(-1, (-1, 2))
        sure = {t: decoder.tell(t, tokens).float().softmax(-1)[:, None] for t in ("age", "gender", "race")}
        found = {
            "global": self.cells(refined),
            "local": self.local(refined if self.settings.appearance == "refined" else fused, points, tokens),
            "landmarks": (points + 1) / 2,
            "fused": self.cells(fused),
            "tokens": tokens,
            "pose": decoder.tell("pose", tokens).float()[:, None],
            "attributes": decoder.tell("attribute", tokens).float().sigmoid()[:, None],
            "visibility": decoder.tell("visibility", tokens).float().sigmoid()[:, None],
            "valid": torch.ones(len(images), 1, 1, device=images.device),
            **sure,
        }
        if self.settings.parsing:
            found["parsing"] = self.cells(decoder.parse(tokens, flat, high).float().softmax(1))
        return found

    def cells(self, face: Float[Tensor, "f d h x"]) -> Float[Tensor, "f n d"]:
        """A map [f d h x] as the means of grid x grid cells."""
        return F.adaptive_avg_pool2d(face, self.settings.grid).flatten(2).transpose(1, 2)

    def local(
        self, face: Float[Tensor, "f d h x"], points: Float[Tensor, "f 68 2"], tokens: Float[Tensor, "f 18 d"]
    ) -> Float[Tensor, "f n d"]:
        """Appearance features at the landmarks, and the landmark task token."""
        last = tokens[:, TASKS.index("landmarks"), None]
        if self.settings.local == "landmarks":
            return last
        look = point_tokens if self.settings.local == "points" else region_tokens
        return torch.cat([look(face, points), last], 1)


def point_tokens(face: Float[Tensor, "f d h x"], points: Float[Tensor, "f 68 2"]) -> Float[Tensor, "f 68 d"]:
    """A map [f d h x] read (bilinear) at points [f 68 2] in -1 to 1."""
    seen = F.grid_sample(face, points.to(face.dtype)[:, :, None], padding_mode="border", align_corners=False)
    return seen.squeeze(-1).transpose(1, 2)


def region_tokens(face: Float[Tensor, "f d h x"], points: Float[Tensor, "f 68 2"]) -> Float[Tensor, "f 9 d"]:
    """The same, averaged over each region: [f 9 d]."""
    return torch.stack([spot.mean(1) for spot in point_tokens(face, points).split(REGIONS, 1)], 1)


class FacialPriors(nn.Module):
    """The step: crops uint8 [b t 3 h x] -> the blocks of `shapes`, frame by frame.

    `landmarks` are fractions of the whole frame's width and height where the view has boxes and `places` does not say
    otherwise, else of the crop; `pose` is in radians; `attributes` and `visibility` lie between 0 and 1; `age`,
    `gender`, `race` and each cell of `parsing` are probabilities.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        model, self.weights_origin = _loaded(FaceXFormer(settings), settings.source)
        priors, look = Priors(model, settings), settings.look()
        freeze_unused(priors, look.size)
        self.frames = FrameEncoder(priors, look.mean, look.std)

    def forward(self, pixels: ViewBlock) -> dict[str, TokenBlock]:
        out = self.frames(pixels)
        if pixels.boxes is not None and self.settings.places == "frame":
            out["landmarks"] = in_frame(out["landmarks"], pixels.boxes)
        return out

    def facts(self, blocks: dict[str, TokenBlock]) -> list[dict[str, Fact]]:
        """What is told of each row as estimates, averaged over its valid frames; see `facexformer_facts_net.facts`."""
        return facts(blocks, self.settings)


def _loaded(model: FaceXFormer, source: str) -> tuple[FaceXFormer, str]:
    """The model with the weights of a file, unless random ones are wanted; and where they came from."""
    if not loads(source):
        return model, weights.RANDOM
    # the published file is a whole training state, which keeps the network, all of it, in this entry
    state, mine = weights.load_state(Path(source), "state_dict_backbone"), model.state_dict(keep_vars=True)
    wrong = sorted(k for k in mine.keys() | state.keys() if k not in state or k not in mine)
    wrong += sorted(k for k in mine.keys() & state.keys() if mine[k].shape != state[k].shape)
    if wrong:
        what = f"{len(wrong)} weights are not those of this network: {', '.join(wrong[:3])} …"
        raise InputError(Problem(source, what, "give FaceXFormer's `ckpts/model.pt`, and its sizes"))
    weights.refuse_unfit(mine, state, source)
    model.load_state_dict(state)
    return model, source


def encoder(settings: Settings) -> FacialPriors:
    """The encoder as a step, with pretrained or random weights."""
    return FacialPriors(settings)
