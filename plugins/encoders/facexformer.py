"""FaceXFormer: one network for landmarks, head pose, attributes, age, gender and race of a face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from affectkit_plugins._values import at_least, named, once
from affectkit_plugins.encoders._images import PIXELS, prepare
from affectkit_plugins.encoders._pixels import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from affectkit_plugins.encoders.face_analysis import AGES, REGIONS

from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    from torch import nn

GENDERS = ("male", "female")
RACES = ("White", "Black", "Indian", "Asian", "other")
"""In the order of the published heads, where Indian comes before Asian."""
POSE = ("pitch", "yaw", "roll")
"""Head pose in the order of the published head, in radians."""
ATTRIBUTES = (
    "5 o'clock shadow", "arched eyebrows", "attractive", "bags under eyes", "bald", "bangs", "big lips", "big nose",
    "black hair", "blond hair", "blurry", "brown hair", "bushy eyebrows", "chubby", "double chin", "eyeglasses",
    "goatee", "gray hair", "heavy makeup", "high cheekbones", "male", "mouth slightly open", "mustache", "narrow eyes",
    "no beard", "oval face", "pale skin", "pointy nose", "receding hairline", "rosy cheeks", "sideburns", "smiling",
    "straight hair", "wavy hair", "wearing earrings", "wearing hat", "wearing lipstick", "wearing necklace",
    "wearing necktie", "young",
)  # fmt: skip
"""CelebA's forty, in its order (Liu et al. 2015), which the published head is taken to follow."""
VISIBILITY = 29
"""COFW's points (Burgos-Artizzu et al. 2013)."""
PARTS = ("background", "skin", "left brow", "right brow", "left eye", "right eye", "nose", "upper lip", "inner mouth",
         "lower lip", "hair")  # fmt: skip
"""Classes of the parsing masks, numbered as in LaPa (Liu et al. 2020); the published code draws them in that order."""
FactName = Literal["age", "gender", "race", "pose", "attributes", "visibility", "landmarks", "parsing"]
TOKENS = 7 + len(PARTS)
"""Task tokens: landmarks, pose, attributes, visibility, age, gender, race, and one for each mask."""
FACTS: tuple[FactName, ...] = ("age", "gender", "race", "pose", "attributes", "visibility", "landmarks", "parsing")


@dataclass(frozen=True)
class Settings:
    """FaceXFormer (Narayan et al. 2024, arXiv:2403.12960): a Swin backbone and a two-way decoder with a token
    a task; here as facial priors of EMO-LLaMA.

    `global` is the face map after the decoder ("refined"), `fused` the one before it, both pooled to `grid` x
    `grid`; `local` is what `local` says; `tokens` are the 18 task tokens; `parsing` holds, for each cell of the grid,
    the mean probability of each of eleven classes. How EMO-LLaMA takes its priors from the network is not published;
    this is our reading, chosen so that priors have no parameters of their own. Race has a head of its own; it is
    never told from skin tone.
    """

    source: str = ""
    """File of the published weights (`ckpts/model.pt`, or its tensors as safetensors); empty for random
    weights."""
    size: int = 224
    """Side of the square that each face crop is resized to, in pixels; a multiple of 32."""
    grid: int = 7
    """The face map is pooled to grid x grid global tokens."""
    local: Literal["regions", "points", "landmarks"] = "regions"
    """regions: the map read at the landmarks (bilinear), averaged over each of nine regions; points: at each of the 68;
    landmarks: no appearance. The landmark task token comes last in each."""
    appearance: Literal["refined", "fused"] = "refined"
    """Which map the local tokens are read from: after the decoder, or before it."""
    places: Literal["frame", "crop"] = "frame"
    """Whether the block `landmarks` is in fractions of the whole frame, where that is known, or of the crop."""
    parsing: bool = True
    """Make the block `parsing`; it costs one or two percent of the time."""
    tells: tuple[FactName, ...] = FACTS
    """Which facts it estimates, averaged over the frames with a face; pose, attributes, visibility, landmarks and parsing
    are lists or tables of numbers."""
    channels: int = 128
    """Channels of the backbone's first stage; each stage has twice those of the one before."""
    depths: tuple[int, ...] = (2, 2, 18, 2)
    """Blocks in each of the backbone's four stages."""
    window: int = 7
    """Side of the backbone's attention windows, in places of the map."""
    width: int = 256
    """Width of the face map and of the task tokens."""
    layers: int = 2
    """Layers of the decoder."""
    heads: int = 8
    """Attention heads of the decoder; they must divide half its width."""
    hidden: int = 2048
    """Width inside the decoder's feed-forward layers."""
    ages: tuple[str, ...] = AGES
    """Words for the age bands."""
    genders: tuple[str, ...] = GENDERS
    """Words for the genders."""
    races: tuple[str, ...] = RACES
    """Words for the races."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and the network cannot take."""
        found = []
        if self.size < 32 or self.size % 32:
            found.append(("size", f"{self.size} is not a multiple of 32"))
        if self.channels < 32 or self.channels % 32:
            found.append(("channels", f"{self.channels} is not a multiple of 32, the width of a backbone head"))
        if len(self.depths) != 4 or min(self.depths) < 1:
            found.append(("depths", f"{self.depths} are not four numbers of at least 1"))
        if self.heads < 1 or self.width < 8 or self.width % (2 * self.heads) or self.width % 8:
            found.append(("heads", f"{self.heads} heads do not divide half the width {self.width}"))
        if not 1 <= self.grid <= max(1, self.size // 4):
            found.append(("grid", f"{self.grid} is not between 1 and size / 4 = {self.size // 4}"))
        found += at_least(self, 1, "layers", "hidden", "window") + once(self, "fact", "tells")
        return found + named(self, "ages", "genders", "races")

    def look(self) -> Preprocessing:
        """A crop whatever its aspect, bicubic, ImageNet's mean and standard deviation."""
        return Preprocessing(self.size, "squash", mean=IMAGENET_MEAN, std=IMAGENET_STD)


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """The blocks, main one first; all have the time of the crops."""
    time = inputs["pixels"].time

    def block(tokens: int, wide: int) -> Shape:
        return Shape("tokens", time, tokens, wide)

    local = {"regions": len(REGIONS), "points": sum(REGIONS), "landmarks": 0}[settings.local] + 1
    cells = settings.grid**2
    out = {
        "global": block(cells, settings.width),
        "local": block(local, settings.width),
        "landmarks": block(sum(REGIONS), 2),
        "fused": block(cells, settings.width),
        "tokens": block(TOKENS, settings.width),
        "pose": block(1, len(POSE)),
        "attributes": block(1, len(ATTRIBUTES)),
        "visibility": block(1, VISIBILITY),
        "valid": block(1, 1),
        "age": block(1, len(settings.ages)),
        "gender": block(1, len(settings.genders)),
        "race": block(1, len(settings.races)),
    }
    return {**out, "parsing": block(cells, len(PARTS))} if settings.parsing else out


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    """The network; raises InputError where the file of weights does not fit it."""
    from affectkit_plugins.encoders.facexformer_net import encoder

    return encoder(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    tiny = {"size": 32, "grid": 2, "channels": 32, "depths": (1, 1, 1, 1), "window": 2, "width": 16,
            "layers": 2, "heads": 2, "hidden": 16}  # fmt: skip
    return [
        Piece(
            "encoder",
            "facexformer",
            Settings,
            build,
            shapes=shapes,
            ports=PIXELS,
            needs=("torch",),
            tiny=tiny,
            prepare=prepare,
            tells=lambda settings: settings.tells,
        )
    ]
