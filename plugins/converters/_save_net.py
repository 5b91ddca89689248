"""Converted weights to a folder as `save_pretrained` of transformers writes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from affectkit.errors import InputError, Problem
from affectkit.weights import refuse_unfit


def network(kind: Any, config: Any, state: Mapping[str, Tensor], place: str) -> Any:
    """A network of the class `kind` that holds these very tensors, ties included; it never has random weights.

    Raises InputError, with `place`, where weights of it are missing, or some are of another shape, no fractions or not finite.
    """
    with torch.device("meta"):
        net = kind(config)
    refuse_unfit(net.state_dict(keep_vars=True), state, place)
    net.load_state_dict(dict(state), strict=False, assign=True)
    net.tie_weights()
    missing = sorted(name for name, value in net.state_dict().items() if value.is_meta)
    if missing:
        what = f"lacks {len(missing)} weights of {type(net).__name__}: {', '.join(missing[:3])}"
        raise InputError(Problem(place, what, "fetch it again, whole"))
    return net


def write(net: Any, folder: Path) -> None:
    """Weights, in their own number format, and configuration."""
    net.config.dtype = next(net.parameters()).dtype
    net.save_pretrained(folder)
