"""Face-api's networks as one step: crops to facial priors."""

from __future__ import annotations

import math

import torch
from affectkit_plugins.encoders._face_api_net import AgeGenderNet, DenseNet, loaded
from affectkit_plugins.encoders._frames_net import Found, FrameEncoder, in_frame
from affectkit_plugins.encoders.clip_face import band
from affectkit_plugins.encoders.face_analysis import REGIONS
from affectkit_plugins.encoders.face_analysis_facts_net import estimates
from affectkit_plugins.encoders.face_api import EXPRESSIONS, GENDERS, MEAN, Settings
from affectkit_plugins.encoders.facexformer_net import point_tokens, region_tokens
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.sample import Fact

SMALLEST = 0.01
"""The least share of a square that a crop is taken to fill."""


class FacePriors(nn.Module):
    """Normalised crops [f 3 s s] and the share of the square that each fills [f 2] -> the blocks of the step, landmarks as
    fractions of the crop."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        source = settings.source
        self.expression, self.weights_origin = loaded(DenseNet(len(EXPRESSIONS)), source, "face_expression_model")
        self.landmarks, _ = loaded(DenseNet(2 * sum(REGIONS)), source, "face_landmark_68_model")
        self.person, _ = loaded(AgeGenderNet(), source, "age_gender_model")

    def forward(self, images: Float[Tensor, "f 3 h x"], shares: Float[Tensor, "f 2"]) -> Found:
        seen, expression = self.expression(images)
        points = self.landmarks(images)[1].float().unflatten(-1, (-1, 2))
        years, gender = self.person(images)
        look = region_tokens if self.settings.local == "regions" else point_tokens
        filled = shares[:, None].to(points)
        return {
            "global": F.adaptive_avg_pool2d(seen, self.settings.grid).flatten(2).transpose(1, 2),
            "local": look(seen, points * 2 - 1),
            "landmarks": (points - (1 - filled) / 2) / filled,
            "pooled": seen.mean((2, 3))[:, None],
            "valid": torch.ones(len(images), 1, 1, device=images.device),
            "age": in_bands(years.float(), self.settings)[:, None],
            "gender": gender.float().softmax(-1)[:, None],
            "expression": expression.float().softmax(-1)[:, None],
            "years": years.float()[:, None],
        }


def in_bands(years: Float[Tensor, "f 1"], settings: Settings) -> Float[Tensor, "f k"]:
    """The share of each band in a normal distribution around the age; the first and the last reach to no end."""
    bands = [band(word) or (0, math.inf) for word in settings.ages]
    edges = torch.tensor([low for low, _ in bands[1:]], dtype=years.dtype, device=years.device)
    below = torch.special.ndtr((edges - years) / settings.age_error)
    return F.pad(below, (0, 1), value=1.0) - F.pad(below, (1, 0))


class Crops(FrameEncoder):
    """The frames of a view through the networks, each by itself."""

    def found(self, frames: Num[Tensor, "f 4 h x"]) -> Found:
        """The blocks of crops as `prepare` lays them out."""
        found: Found = self.net(self.normalised(frames[:, :3]), frames[:, 3, :2, 0].clamp(min=SMALLEST))
        return found


class FaceApi(nn.Module):
    """The step: crops float32 [b t 4 s s] -> the blocks of `shapes`, frame by frame.

    `landmarks` are fractions of the whole frame's width and height where the view has boxes and `places` does not say
    otherwise, else of the crop; `age`, `gender` and `expression` are probabilities, `years` is the age.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.frames = Crops(FacePriors(settings), MEAN, (1.0, 1.0, 1.0))

    def forward(self, pixels: ViewBlock) -> dict[str, TokenBlock]:
        out = self.frames(pixels)
        if pixels.boxes is not None and self.settings.places == "frame":
            out["landmarks"] = in_frame(out["landmarks"], pixels.boxes)
        return out

    def facts(self, blocks: dict[str, TokenBlock]) -> list[dict[str, Fact]]:
        """What `tells` names, each the likeliest word with its probability, averaged over the frames with a face."""
        words = {"age": self.settings.ages, "gender": GENDERS, "expression": EXPRESSIONS}
        if not self.settings.tells:
            return [{} for _ in blocks["valid"].mask]
        return estimates({name: (blocks[name], words[name]) for name in self.settings.tells})
