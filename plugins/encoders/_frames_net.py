"""Around every network that looks at single images: real frames in, normalised, a few at a time; tokens out, put back
in their places."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from affectkit_plugins.encoders._fixed_net import Fixed
from affectkit_plugins.encoders._pixels import Preprocessing
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.func import functional_call

from affectkit.blocks import TokenBlock, ViewBlock

Images = Float[Tensor, "f 3 h x"]
"""Normalised images, as a network that looks at single ones takes them."""
Found = dict[str, Float[Tensor, "f _ _"]]
"""What it gives: tokens [f n d] by the name of their block."""
AT_ONCE = 32
"""Frames at a time while nothing trains: a chunk of clips would else need gigabytes (docs/log.md)."""


class FrameEncoder(nn.Module):
    """Tokens of each frame by itself. Frames that are masked out are not looked at: their tokens are zero and
    masked.

    Takes pixels [b t c h x] (0 to 255) and gives each block of `net` as [b t n d]. While nothing trains `net` gets
    `AT_ONCE` frames at most.
    """

    weights_origin: str

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self.look = Fixed([list(mean), list(std)])

    def forward(self, pixels: ViewBlock) -> dict[str, TokenBlock]:
        mask = pixels.mask
        b, t = mask.shape
        rows = mask.flatten().nonzero().squeeze(1)
        nothing = rows.numel() == 0
        if nothing:
            # One black frame tells the shapes; its tokens are zeroed below.
            rows = torch.zeros(1, dtype=torch.long, device=mask.device)
        out = {}
        for name, tokens in in_parts(self.net, self.found, pixels.values.flatten(0, 1)[rows]).items():
            tokens = tokens * 0 if nothing else tokens
            if len(rows) == b * t:
                full = tokens.contiguous()
            else:
                full = tokens.new_zeros(b * t, *tokens.shape[1:]).index_copy(0, rows, tokens)
            out[name] = TokenBlock(name, full.unflatten(0, (b, t)), mask[..., None].expand(b, t, full.shape[1]))
        return out

    def found(self, frames: Num[Tensor, "f 3 h x"]) -> Found:
        """The token blocks of `net` for frames of pixels from 0 to 255."""
        found: Found = self.net(self.normalised(frames))
        return found

    def normalised(self, frames: Num[Tensor, "f 3 h x"]) -> Images:
        """Pixels 0 to 255 [f c h x] as the network was trained to see them, in its own dtype."""
        mean, std = self.look.values[:, :, None, None]
        return ((frames.float() / 255 - mean) / std).to(next(self.net.parameters()).dtype)


def in_parts(net: nn.Module, find: Callable[[Tensor], Found], rows: Tensor, frames: int = 1) -> Found:
    """What `find` gives for rows [f ...] of `frames` frames each, block by block, `AT_ONCE` frames of them at a time.

    All at once where gradients are wanted, for which every frame is held anyway, and while `net` is in training mode,
    where batch norm makes a frame depend on the others.
    """
    count = max(AT_ONCE // frames, 1)
    pulled = torch.is_grad_enabled() and (rows.requires_grad or any(p.requires_grad for p in net.parameters()))
    if pulled or net.training or len(rows) <= count:
        return find(rows)
    out: Found = {}
    for at in range(0, len(rows), count):
        for name, tokens in find(rows[at : at + count]).items():
            # filled as the parts come: no second copy of all tokens is held beside them
            if name not in out:
                out[name] = tokens.new_empty(len(rows), *tokens.shape[1:])
            out[name][at : at + count] = tokens
    return out


def framed(net: nn.Module, look: Preprocessing, origin: str, normalise: bool = True) -> FrameEncoder:
    """The whole step around `net`: how it sees pixels, where its weights came from, and frozen what its blocks do
    not pass. Without `normalise` it sees 0 to 1."""
    freeze_unused(net, look.size)
    mean, std = (look.mean, look.std) if normalise else ((0.0,) * 3, (1.0,) * 3)
    step = FrameEncoder(net, mean, std)
    step.weights_origin = origin
    return step


def freeze_unused(net: nn.Module, side: int) -> None:
    """Freeze the parameters that no block depends on: a published checkpoint brings heads, norms and layers that the
    settings do not ask for, and an optimiser or DDP would wait for their gradients in vain.

    Found by a backward pass of two images of `side` pixels on the meta device, which computes and draws nothing.
    """
    held = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    meta = {n: torch.empty_like(v, device="meta", requires_grad=v.requires_grad) for n, v in held.items()}
    out = functional_call(net, meta, (torch.empty(2, 3, side, side, device="meta"),))
    trained = [n for n, v in meta.items() if v.requires_grad]
    if trained:
        total = torch.stack([tokens.float().sum() for tokens in out.values()]).sum()
        pulls = torch.autograd.grad(total, [meta[n] for n in trained], allow_unused=True)
        for name, pull in zip(trained, pulls, strict=True):
            held[name].requires_grad_(pull is not None)


def in_frame(points: TokenBlock, boxes: Float[Tensor, "b t 4"]) -> TokenBlock:
    """Points in fractions of crops as fractions of the frames that the crops were taken from."""
    low, high = boxes.to(points.tokens)[:, :, None].split(2, -1)
    return TokenBlock.masked(points.name, low + points.tokens * (high - low), points.mask)


def blocks(patches: Float[Tensor, "f n d"], cls: Float[Tensor, "f 1 d"] | None, pool: str) -> dict[str, Tensor]:
    """The blocks that a choice of pooling puts out: patches [f n d] and cls [f 1 d], or pooled [f 1 d] (and
    cls).

    `mean` is over the patches; `cls` takes the class token.
    """
    extra = {} if cls is None else {"cls": cls}
    if pool == "none":
        return {"patches": patches, **extra}
    if pool == "cls":
        assert cls is not None
        return {"pooled": cls}
    return {"pooled": patches.mean(1, keepdim=True), **extra}
