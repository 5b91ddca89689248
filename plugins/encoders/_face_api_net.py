"""The networks of face-api, under the names of their files, and their weights."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from affectkit_plugins._tfjs_net import manifest
from affectkit_plugins.encoders._face_api_files import FOLDER
from affectkit_plugins.encoders._load_net import fill, loads
from affectkit_plugins.encoders._separable_net import Conv, Map, Separable, pooled
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit import weights
from affectkit.errors import InputError, Problem

Net = TypeVar("Net", bound=nn.Module)
WIDTHS = (32, 64, 128, 256)
"""Maps of the four dense blocks."""


class DenseBlock(nn.Module):
    """Four convolutions, of which each sees the sum of those before it; the first halves the side."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.conv0 = Conv(inputs, outputs, stride=2) if first else Separable(inputs, outputs, stride=2)
        self.conv1, self.conv2, self.conv3 = (Separable(outputs, outputs) for _ in range(3))

    def forward(self, x: Map) -> Map:
        total = F.relu(self.conv0(x))
        for conv in (self.conv1, self.conv2, self.conv3):
            total = total + conv(F.relu(total))
        return F.relu(total)


class DenseNet(nn.Module):
    """Normalised crops [f 3 s s] -> a map [f 256 s/16 s/16] and `outputs` numbers [f k] of its mean: the expression network (7)
    and the landmark network (136)."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.dense0, self.dense1, self.dense2, self.dense3 = (
            DenseBlock(before, after, first=before == 3) for before, after in zip((3, *WIDTHS[:3]), WIDTHS, strict=True)
        )
        self.fc = nn.Linear(WIDTHS[-1], outputs)

    def forward(self, images: Float[Tensor, "f 3 h x"]) -> tuple[Map, Float[Tensor, "f k"]]:
        found = self.dense3(self.dense2(self.dense1(self.dense0(images))))
        return found, self.fc(found.mean((2, 3)))


class ReductionBlock(nn.Module):
    """Two separable convolutions and pooling to half the side, beside a 1 x 1 convolution of what came in."""

    def __init__(self, inputs: int, outputs: int, active: bool = True) -> None:
        super().__init__()
        self.active = active
        self.separable_conv0, self.separable_conv1 = Separable(inputs, outputs), Separable(outputs, outputs)
        self.expansion_conv = Conv(inputs, outputs, kernel=1, stride=2)

    def forward(self, x: Map) -> Map:
        inner = self.separable_conv0(F.relu(x) if self.active else x)
        return pooled(self.separable_conv1(F.relu(inner)), 3, 2) + self.expansion_conv(x)


class MainBlock(nn.Module):
    """Three separable convolutions, each behind a ReLU, beside what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.separable_conv0, self.separable_conv1, self.separable_conv2 = (Separable(width, width) for _ in range(3))

    def forward(self, x: Map) -> Map:
        inner = x
        for conv in (self.separable_conv0, self.separable_conv1, self.separable_conv2):
            inner = conv(F.relu(inner))
        return inner + x


class AgeGenderNet(nn.Module):
    """Normalised crops [f 3 s s] -> age in years [f 1], and scores of male and female [f 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.entry_flow = nn.ModuleDict(
            {
                "conv_in": Conv(3, 32, stride=2),
                "reduction_block_0": ReductionBlock(32, 64, active=False),
                "reduction_block_1": ReductionBlock(64, 128),
            }
        )
        self.middle_flow = nn.ModuleDict({"main_block_0": MainBlock(128), "main_block_1": MainBlock(128)})
        self.exit_flow = nn.ModuleDict(
            {"reduction_block": ReductionBlock(128, 256), "separable_conv": Separable(256, 512)}
        )
        self.fc = nn.ModuleDict({"age": nn.Linear(512, 1), "gender": nn.Linear(512, 2)})

    def forward(self, images: Float[Tensor, "f 3 h x"]) -> tuple[Float[Tensor, "f 1"], Float[Tensor, "f 2"]]:
        x = F.relu(self.entry_flow["conv_in"](images))
        for name in ("reduction_block_0", "reduction_block_1"):
            x = self.entry_flow[name](x)
        for block in self.middle_flow.values():
            x = block(x)
        x = F.relu(self.exit_flow["separable_conv"](self.exit_flow["reduction_block"](x)))
        mean = x.mean((2, 3))
        return self.fc["age"](mean), self.fc["gender"](mean)


class TinyDetector(nn.Module):
    """Normalised pictures [f 3 s s], s a multiple of 32 -> [f n n 5 5], n = s / 32: of each place five anchors, each with
    x, y, width, height and score as they are before any activation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 16, 3)
        for number, (before, after) in enumerate([(16, 32), (32, 64), (64, 128), (128, 256), (256, 512)], 1):
            setattr(self, f"conv{number}", Separable(before, after))
        self.conv8 = Conv(512, 25, kernel=1)
        assert self.conv8.bias is not None
        nn.init.constant_(self.conv8.bias.view(5, 5)[:, 4], -10.0)  # with random weights nothing is a face

    def forward(self, images: Float[Tensor, "f 3 s s"]) -> Float[Tensor, "f n n 5 5"]:
        x = F.leaky_relu(self.conv0(images), 0.1)
        for number in range(1, 6):
            x = F.leaky_relu(getattr(self, f"conv{number}")(pooled(x, 2, 2)), 0.1)
        return self.conv8(pooled(x, 2, 1)).permute(0, 2, 3, 1).unflatten(3, (5, 5))


def loaded(net: Net, source: str, name: str) -> tuple[Net, str]:
    """A network with the weights of its files in the folder `source`, unless random ones are wanted; and where they came from.

    Raises InputError where a file is missing, broken, or of another network.
    """
    if not loads(source):
        return net, weights.RANDOM
    folder = Path(source).expanduser()
    if not (folder / f"{name}-weights_manifest.json").is_file():
        what = f"has no {name}-weights_manifest.json" if folder.is_dir() else "is no folder of face-api's networks"
        raise InputError(Problem(source, what, FOLDER))
    state = manifest(folder, name)
    if spare := sorted(state.keys() - net.state_dict().keys()):
        what = f"{name} has {len(spare)} weights of another network: {', '.join(spare[:3])}"
        raise InputError(Problem(source, what, FOLDER))
    fill(net, state, f"{source}/{name}", "network", FOLDER)
    return net, source
