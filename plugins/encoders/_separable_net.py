"""Convolutions as TensorFlow pads them, for small networks that it trained."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Map = Float[Tensor, "f _ _ _"]


def same(x: Map, kernel: int, stride: int, fill: float = 0.0) -> Map:
    """Padded so that a kernel at this stride gives ceil(side / stride) places; an odd pixel goes behind."""
    pads: list[int] = []
    for side in (x.shape[3], x.shape[2]):
        spare = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [spare // 2, spare - spare // 2]
    return F.pad(x, pads, value=fill)


def pooled(x: Map, kernel: int, stride: int) -> Map:
    """Largest values, "same" padding of minus infinity."""
    return F.max_pool2d(same(x, kernel, stride, -torch.inf), kernel, stride)


class Conv(nn.Conv2d):
    """A convolution with "same" padding and an offset."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride)

    def forward(self, x: Map) -> Map:
        return super().forward(same(x, self.kernel_size[0], self.stride[0]))


class Separable(nn.Module):
    """A 3 x 3 convolution of each channel by itself, which has the stride, and a 1 x 1 convolution of all of them; one offset,
    and nothing between."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.depthwise = nn.Parameter(torch.randn(inputs, 1, 3, 3) / 3)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1) * (0.5 / inputs) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Map) -> Map:
        each = F.conv2d(same(x, 3, self.stride), self.depthwise, stride=self.stride, groups=len(self.depthwise))
        return F.conv2d(each, self.weight, self.bias)
