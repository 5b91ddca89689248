"""The expression networks of the encoders, frames of one clip at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from affectkit_plugins.annotators.expression import NETWORK, WORDS
from affectkit_plugins.encoders import face_api, mini_xception
from affectkit_plugins.encoders._face_api_net import DenseNet, loaded
from affectkit_plugins.encoders._load_net import fill
from torch import Tensor

from affectkit import weights
from affectkit.errors import InputError, Problem

if TYPE_CHECKING:
    from affectkit_plugins.annotators.expression import Settings

AT_ONCE = 32
"""Frames that go through the network together."""


def seer(settings: Settings) -> Callable[[Any], np.ndarray]:
    """What gives the probabilities [t k] of the frames of a `RawPixels` with a face. Raises InputError where the weights are
    missing or others, and where random ones are wanted."""
    if weights.random():
        raise InputError(Problem("source", "random weights see nothing", "leave out run.weights"))
    return _face_api(settings) if settings.network == "face_api" else _mini_xception(settings)


def _face_api(settings: Settings) -> Callable[[Any], np.ndarray]:
    net, _ = loaded(DenseNet(len(WORDS["face_api"])), settings.source, NETWORK)
    look = face_api.Settings()
    mean = torch.tensor(face_api.MEAN)[:, None, None]

    def see(frames: Tensor) -> Tensor:
        """Scores [f 7] of crops [f 4 s s], 0 to 255."""
        scores: Tensor = net(frames[:, :3] / 255 - mean)[1]
        return scores.softmax(-1)

    return _in_parts(net, see, lambda raw: face_api.prepare(look, "pixels", raw))


def _mini_xception(settings: Settings) -> Callable[[Any], np.ndarray]:
    from affectkit_plugins.encoders.mini_xception_net import Xception, keras_weights

    look = mini_xception.Settings(settings.source)
    net = Xception(len(look.labels))
    fill(net, keras_weights(Path(settings.source).expanduser()), settings.source, "network", mini_xception.FIX)

    def see(frames: Tensor) -> Tensor:
        """Probabilities [f 7] of grey crops [f 1 64 64], 0 to 255."""
        found: Tensor = net((frames.float() / 255 - 0.5) * 2)["expression"][:, 0]
        return found

    return _in_parts(net, see, lambda raw: mini_xception.prepare(look, "pixels", raw))


def _in_parts(
    net: torch.nn.Module, see: Callable[[Tensor], Tensor], prepare: Callable[[Any], np.ndarray]
) -> Callable[[Any], np.ndarray]:
    net.eval()

    @torch.inference_mode()
    def look(raw: Any) -> np.ndarray:
        frames = torch.from_numpy(prepare(raw)[raw.valid])
        return torch.cat([see(part) for part in frames.split(AT_ONCE)]).numpy().astype(np.float64)

    return look
