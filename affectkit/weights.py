"""Where weights come from: `run.weights`, and published state files. Imports no torch by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Mode = Literal["given", "random"]

_mode: ContextVar[Mode] = ContextVar("affectkit_weights", default="given")


def random() -> bool:
    """Whether pieces are to build published sizes with random weights and download nothing (`run.weights: random`)."""
    return _mode.get() == "random"


@contextmanager
def using(mode: Mode) -> Iterator[None]:
    """Build what is built inside this block with weights as `mode` says."""
    before = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(before)


def load_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of one state file by name, on the CPU: `.safetensors`, or else a pickle read with `weights_only`.

    Raises what safetensors or torch raise on a broken file; a pickle that holds more than tensors is refused.
    """
    if Path(path).suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(str(path))
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)
