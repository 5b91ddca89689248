"""The network of `mini_xception`, and its weights out of Keras' file with batch norm worked in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from affectkit_plugins.encoders._frames_net import Found, FrameEncoder
from affectkit_plugins.encoders._load_net import fill, loads
from affectkit_plugins.encoders._separable_net import Conv, Map, Separable, pooled
from affectkit_plugins.encoders.face_analysis_facts_net import estimates
from affectkit_plugins.encoders.mini_xception import FIX, Settings
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit import weights
from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.errors import InputError, Problem
from affectkit.sample import Fact
from affectkit.weight_files import refuse_stand_in

WIDTHS = (8, 16, 32, 64, 128)


class Block(nn.Module):
    """Two separable convolutions and pooling to half the side, beside a 1 x 1 convolution of what came in."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = Separable(inputs, outputs), Separable(outputs, outputs)
        self.beside = Conv(inputs, outputs, kernel=1, stride=2)

    def forward(self, x: Map) -> Map:
        return pooled(self.second(F.relu(self.first(x))), 3, 2) + self.beside(x)


class Xception(nn.Module):
    """Normalised grey crops [f 1 64 64] -> patches [f 16 128], their mean, and probabilities of the labels."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)
        self.blocks = nn.ModuleList(Block(a, b) for a, b in pairwise(WIDTHS))
        self.head = Conv(WIDTHS[-1], labels)

    def forward(self, images: Float[Tensor, "f 1 h x"]) -> Found:
        x = F.relu(self.conv2(F.relu(self.conv1(images))))
        for block in self.blocks:
            x = block(x)
        scores = self.head(x).mean((2, 3)).float()
        flat = x.flatten(2).transpose(1, 2)
        return {"patches": flat, "pooled": flat.mean(1, keepdim=True), "expression": scores.softmax(-1)[:, None]}


class GreyFrames(FrameEncoder):
    """The frames of a view through the network, -1 to 1."""

    def found(self, frames: Num[Tensor, "f 1 h x"]) -> Found:
        """The blocks of grey crops, 0 to 255."""
        found: Found = self.net(((frames.float() / 255 - 0.5) * 2).to(next(self.net.parameters()).dtype))
        return found


class MiniXception(nn.Module):
    """The step: grey crops uint8 [b t 1 64 64] -> the blocks of `shapes`, frame by frame."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        net, origin = Xception(len(settings.labels)), weights.RANDOM
        if loads(settings.source):
            fill(net, keras_weights(Path(settings.source).expanduser()), settings.source, "network", FIX)
            origin = settings.source
        self.frames = GreyFrames(net, (0.5,), (0.5,))
        self.frames.weights_origin = origin

    def forward(self, pixels: ViewBlock) -> dict[str, TokenBlock]:
        return self.frames(pixels)

    def facts(self, blocks: dict[str, TokenBlock]) -> list[dict[str, Fact]]:
        """The likeliest label of each row, with its probability."""
        return estimates({"expression": (blocks["expression"], self.settings.labels)})


def keras_weights(path: Path) -> dict[str, Tensor]:
    """The weights under our names, batch norm worked into the convolutions before it.

    Raises InputError where the file is no HDF5, is cut, has no model, or one of other layers.
    """
    if path.is_dir():
        raise InputError(Problem(str(path), "is a folder, not a file of weights", FIX))
    refuse_stand_in(path)
    try:
        with h5py.File(path) as file:
            layers = json.loads(file.attrs["model_config"])["config"]["layers"]
            held = {name: _values(group) for name, group in file["model_weights"].items()}
        return _renamed(layers, held)
    except OSError as error:
        raise InputError(Problem(str(path), f"is no HDF5 file, or is cut ({error})", FIX)) from error
    except (KeyError, TypeError, ValueError, IndexError, StopIteration) as error:
        what = f"holds no mini-Xception of Keras ({error or type(error).__name__})"
        raise InputError(Problem(str(path), what, FIX)) from error


def _values(group: Any) -> dict[str, np.ndarray]:
    """The arrays of a layer by their last name (`kernel`, `gamma` …)."""
    found: dict[str, np.ndarray] = {}
    group.visititems(
        lambda name, item: (
            found.update({name.split("/")[-1].split(":")[0]: item[()]}) if hasattr(item, "shape") else None
        )
    )
    return found


def _renamed(layers: list[Mapping[str, Any]], held: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
    """By order: two convolutions, then in each block one beside two separable ones, then the head, which has no batch norm."""
    norms = {_before(layer): layer for layer in layers if layer["class_name"] == "BatchNormalization"}
    plain = [layer["name"] for layer in layers if layer["class_name"] == "Conv2D"]
    separable = [layer["name"] for layer in layers if layer["class_name"] == "SeparableConv2D"]
    blocks = len(WIDTHS) - 1
    if (len(plain), len(separable)) != (blocks + 3, 2 * blocks):
        wanted = f"{blocks + 3} and {2 * blocks}"
        raise ValueError(f"{len(plain)} plain and {len(separable)} separable convolutions, not {wanted}")
    names = dict(zip(plain, ("conv1", "conv2", *(f"blocks.{i}.beside" for i in range(blocks)), "head"), strict=True))
    parts = [f"blocks.{i}.{part}" for i in range(blocks) for part in ("first", "second")]
    names |= dict(zip(separable, parts, strict=True))
    found: dict[str, Tensor] = {}
    for theirs, ours in names.items():
        value = held[theirs]
        kernel = torch.from_numpy(value["pointwise_kernel" if theirs in separable else "kernel"]).permute(3, 2, 0, 1)
        if theirs in separable:
            found[f"{ours}.depthwise"] = torch.from_numpy(value["depthwise_kernel"]).permute(2, 3, 0, 1)
        scale, bias = torch.ones(len(kernel)), torch.from_numpy(value.get("bias", np.zeros(len(kernel), np.float32)))
        if theirs in norms:
            scale, bias = _worked_in(norms[theirs], held[norms[theirs]["name"]], bias)
        found[f"{ours}.weight"], found[f"{ours}.bias"] = kernel * scale[:, None, None, None], bias
    return found


def _before(layer: Mapping[str, Any]) -> str:
    """The name of the layer that one reads."""
    return str(layer["inbound_nodes"][0][0][0])


def _worked_in(layer: Mapping[str, Any], value: Mapping[str, np.ndarray], bias: Tensor) -> tuple[Tensor, Tensor]:
    """(scale, bias) of a convolution that does what it and the batch norm behind it did."""
    gamma, beta, mean, spread = (
        torch.from_numpy(value[name]) for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / (spread + layer["config"]["epsilon"]).sqrt()
    return scale, beta + (bias - mean) * scale
