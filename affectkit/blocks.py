"""The two things that steps exchange: view blocks in, token blocks out.

Axis letters, for the whole code base: b batch, t time, n tokens, d width, w LLM width, s sequence, a audio samples,
c h x image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor


@dataclass(frozen=True)
class TokenBlock:
    """Tokens of a batch, padded to one shape; the mask says what is real."""

    name: str
    tokens: Float[Tensor, "b t n d"]
    mask: Bool[Tensor, "b t n"]

    def to(self, device: torch.device, non_blocking: bool = False) -> TokenBlock:
        return TokenBlock(self.name, *(t.to(device, non_blocking=non_blocking) for t in (self.tokens, self.mask)))

    def pin_memory(self) -> TokenBlock:
        """The same in page-locked memory, from which a GPU copies while it computes."""
        return TokenBlock(self.name, self.tokens.pin_memory(), self.mask.pin_memory())


@dataclass(frozen=True)
class ViewBlock:
    """One view of a batch as the encoder's `prepare` made it, padded along its first axis."""

    name: str
    values: Shaped[Tensor, "b t ..."]
    """Pixels [b t c h x] (usually uint8), wave [b a] (float32), text ids [b n] (int64)."""
    mask: Bool[Tensor, "b t"]
    """What is real along that first axis. Inside a row of pixels a False is a frame without a face."""
    boxes: Float[Tensor, "b t 4"] | None = None
    """For crops: x0 y0 x1 y1 of each in the whole frame, as fractions of its width and height."""

    def to(self, device: torch.device, non_blocking: bool = False) -> ViewBlock:
        boxes = None if self.boxes is None else self.boxes.to(device, non_blocking=non_blocking)
        values, mask = (t.to(device, non_blocking=non_blocking) for t in (self.values, self.mask))
        return ViewBlock(self.name, values, mask, boxes)

    def pin_memory(self) -> ViewBlock:
        """The same in page-locked memory, from which a GPU copies while it computes."""
        boxes = None if self.boxes is None else self.boxes.pin_memory()
        return ViewBlock(self.name, self.values.pin_memory(), self.mask.pin_memory(), boxes)


Block = TokenBlock | ViewBlock
