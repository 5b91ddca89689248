"""Many frames through a network a few at a time, where nothing trains: a chunk of clips would else need gigabytes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from affectkit_plugins.encoders._frames_net import Found
from torch import Tensor

AT_ONCE = 32
"""Frames at a time; a face network of published size takes some 60 MB for each."""


def in_parts(find: Callable[[Tensor], Found], images: Tensor) -> Found:
    """What `find` gives for images [f ...], block by block; with gradients all at once, for they are kept anyway."""
    if torch.is_grad_enabled() or len(images) <= AT_ONCE:
        return find(images)
    parts = [find(some) for some in images.split(AT_ONCE)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
