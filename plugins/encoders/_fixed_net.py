"""Constants that follow a network to its device but keep their precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Fixed(nn.Module):
    """A float32 constant: means, windows, filter banks. `.to(bfloat16)` moves it and leaves its values
    alone."""

    values: Tensor

    def __init__(self, values: Any) -> None:
        super().__init__()
        # On the CPU even while the network is built on the meta device.
        self.exact = torch.as_tensor(values, dtype=torch.float32, device="cpu")
        self.register_buffer("values", self.exact.clone(), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Fixed:
        super()._apply(fn, recurse)
        self.values = self.exact.to(self.values.device)
        return self
