"""Where weights come from: given ones, or random ones of the same size; and files of weights read without
pickle.

Imports no torch. A network that a piece builds says what it holds in its attribute `weights_origin`:
`random`, or the
hub id, folder or file that its weights came from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from affectkit.errors import InputError, Problem

if TYPE_CHECKING:
    from torch import Tensor

Mode = Literal["given", "random"]
RANDOM = "random"
"""What `weights_origin` says where no weights were loaded."""

_mode: ContextVar[Mode] = ContextVar("affectkit_weights", default="given")


def random() -> bool:
    """Whether pieces must build random weights of the published sizes and load nothing (`run.weights:
    random`)."""
    return _mode.get() == "random"


@contextlib.contextmanager
def using(mode: Mode) -> Iterator[None]:
    """Let everything that is built inside the `with` follow `mode`."""
    token = _mode.set(mode)
    try:
        yield
    finally:
        _mode.reset(token)


def origins(module: Any) -> dict[str, str]:
    """Each network inside `module` that says where its weights came from: dotted name -> `weights_origin`."""
    return {
        name: inner.weights_origin
        for name, inner in module.named_modules()
        if isinstance(getattr(inner, "weights_origin", None), str)
    }


def load_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of one file of weights, by name, on the CPU.

    Reads `.safetensors`, and `.pt`, `.pth`, `.bin`, `.ckpt` through torch's restricted loader, which runs no
    code. A
    checkpoint that keeps its weights in one named dictionary (`model`, `state_dict` …) is unwrapped.

    Raises `InputError` where the file is missing, of another kind, or holds anything but plain data.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(Problem(str(path), "no such file of weights"))
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(Problem(str(path), f"not a readable safetensors file ({error})")) from error
    if path.suffix not in (".pt", ".pth", ".bin", ".ckpt"):
        known = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
        raise InputError(Problem(str(path), f"not a file of weights: {path.suffix!r}", known=known))
    return _unwrapped(path, _restricted(path))


def _restricted(path: Path) -> Any:
    """The file through `torch.load(weights_only=True)`."""
    import argparse
    import pickle

    import torch

    try:
        # Published training checkpoints keep their command line beside the weights; a Namespace is
        # plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        fix = "convert it to safetensors where you trust it"
        raise InputError(Problem(str(path), f"holds more than weights, or is broken ({first})", fix)) from error


def _unwrapped(path: Path, found: Any) -> dict[str, Tensor]:
    import torch

    def tensors(value: Any) -> dict[str, Tensor]:
        if not isinstance(value, dict):
            return {}
        return {str(k): v for k, v in value.items() if isinstance(v, torch.Tensor)}

    flat = tensors(found)
    if flat:
        return flat
    inside = {name: tensors(value) for name, value in found.items()} if isinstance(found, dict) else {}
    inside = {name: value for name, value in inside.items() if value}
    if len(inside) != 1:
        what = f"holds {len(inside)} dictionaries of weights ({', '.join(inside)})" if inside else "holds no weights"
        raise InputError(Problem(str(path), what))
    return next(iter(inside.values()))
