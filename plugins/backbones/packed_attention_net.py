"""Attention that knows which tokens belong together, for families of transformers that pass `layout` on to
it.

The layout is an argument of the model's forward (`layout=Packed(...)`), so that it also holds where gradient
checkpointing runs a layer a second time. Axis letters here: b rows, h heads, q queries, k keys, d head width.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

NAME = "affectkit_packed"
"""What transformers knows the function as. It is given no mask function, so that no mask is built for it."""


@dataclass(frozen=True)
class Terms:
    """The attention settings of a model family, apart from the mask."""

    dropout: float = 0.0
    scale: float | None = None
    window: int | None = None
    """How many places back a token sees, itself included; None is all of them."""


class AttentionLayout(Protocol):
    """Who sees whom among the tokens of a forward."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, terms: Terms) -> Tensor:
        """Attention of [b h q d] over [b h k d]; key and value may have fewer heads (grouped queries)."""
        ...


@dataclass(frozen=True)
class Packed:
    """One row of samples laid end to end; each sees itself alone, causally."""

    lengths: tuple[int, ...]
    ends: dict[torch.device, Tensor] = field(default_factory=dict, repr=False, compare=False)
    """Where samples begin and end, kept for the layers after the first so that each forward copies it once.
    """

    def attend(self, query: Tensor, key: Tensor, value: Tensor, terms: Terms) -> Tensor:
        low = _low_precision(query)
        if low is not None and terms.dropout == 0.0 and query.shape[-1] == value.shape[-1]:
            return self._varlen(query.to(low), key.to(low), value.to(low), terms)
        key, value = _like_heads(query, key), _like_heads(query, value)
        parts = zip(*(t.split(self.lengths, dim=2) for t in (query, key, value)), strict=True)
        return torch.cat([_causal(q, k, v, terms) for q, k, v in parts], dim=2)

    def _varlen(self, query: Tensor, key: Tensor, value: Tensor, terms: Terms) -> Tensor:
        from torch.nn.attention.varlen import varlen_attn

        if query.device not in self.ends:
            places = torch.tensor((0, *self.lengths)).cumsum(0)
            self.ends[query.device] = places.to(query.device, torch.int32)
        ends, longest = self.ends[query.device], max(self.lengths)
        q, k, v = (t[0].transpose(0, 1).contiguous() for t in (query, key, value))
        window = (-1 if terms.window is None else terms.window - 1, 0)
        out = varlen_attn(
            q, k, v, ends, ends, longest, longest,
            scale=terms.scale, window_size=window, enable_gqa=q.shape[1] != k.shape[1],
        )  # fmt: skip
        assert isinstance(out, Tensor)  # a pair only where more is asked for
        return out.transpose(0, 1)[None]


@dataclass(frozen=True)
class Branches:
    """One row of samples, each a prompt and then its continuations; a continuation sees the prompt and
    itself.

    Position ids go on from the prompt's last one in every branch.
    """

    prompts: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, terms: Terms) -> Tensor:
        key, value = _like_heads(query, key), _like_heads(query, value)
        totals = [p + sum(b) for p, b in zip(self.prompts, self.branches, strict=True)]
        samples = zip(*(t.split(totals, dim=2) for t in (query, key, value)), strict=True)
        out = []
        for (q, k, v), prompt, branches in zip(samples, self.prompts, self.branches, strict=True):
            out.append(_causal(q[:, :, :prompt], k[:, :, :prompt], v[:, :, :prompt], terms))
            if any(branches):
                sees = _branch_mask(prompt, branches, terms.window, q.device)
                out.append(_masked(q[:, :, prompt:], k, v, sees, terms))
        return torch.cat(out, dim=2)


@dataclass(frozen=True)
class Padded:
    """Rows filled up on their left, as they are while answers are written; keys may come from a cache."""

    padding: Tensor
    """How many places at the start of each row are empty, [b]."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, terms: Terms) -> Tensor:
        key, value = _like_heads(query, key), _like_heads(query, value)
        q, k = query.shape[2], key.shape[2]
        there = torch.arange(k, device=query.device)
        here = there[k - q :, None]
        sees = there <= here
        if terms.window is not None:
            sees &= here - there < terms.window
        # An empty place sees itself: a row of the mask with nothing in it would give NaN.
        sees = sees & (there >= self.padding[:, None, None]) | (there == here)
        return _masked(query, key, value, sees[:, None], terms)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    layout: AttentionLayout | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    **_: Any,  # transformers hands on whatever the caller of the model gave
) -> tuple[Tensor, None]:
    """What transformers calls in every layer; without a layout the rows are whole and causal.

    Raises NotImplementedError for what it cannot reproduce: capped scores, sinks, position biases, given
    masks.
    """
    extras = (softcap, s_aux, position_bias, attention_mask)
    if any(e is not None for e in extras) or getattr(module, "is_causal", True) is False:
        raise NotImplementedError("packed attention has no soft cap, sinks, position bias or mask from outside")
    layout = layout or Padded(torch.zeros(len(query), dtype=torch.long, device=query.device))
    out = layout.attend(query, key, value, Terms(dropout, scaling, sliding_window))
    return out.transpose(1, 2).contiguous().to(value.dtype), None


def register() -> str:
    """Make the function known to transformers and return its name there."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attention)
    return NAME


def _like_heads(query: Tensor, key: Tensor) -> Tensor:
    """Keys (or values) repeated so that each query head has its own."""
    times = query.shape[1] // key.shape[1]
    return key if times == 1 else key.repeat_interleave(times, dim=1)


def _causal(query: Tensor, key: Tensor, value: Tensor, terms: Terms) -> Tensor:
    """A whole sequence, causally, within the window."""
    length = query.shape[2]
    if terms.window is not None and terms.window < length:
        places = torch.arange(length, device=query.device)
        back = places[:, None] - places
        return _masked(query, key, value, (back >= 0) & (back < terms.window), terms)
    return F.scaled_dot_product_attention(query, key, value, dropout_p=terms.dropout, scale=terms.scale, is_causal=True)


def _masked(query: Tensor, key: Tensor, value: Tensor, sees: Tensor, terms: Terms) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=sees, dropout_p=terms.dropout, scale=terms.scale)


def _branch_mask(prompt: int, branches: tuple[int, ...], window: int | None, device: torch.device) -> Tensor:
    """[q k]: what the tokens of the branches see of the prompt and of all branches."""
    which = torch.repeat_interleave(torch.arange(len(branches)), torch.tensor(branches))
    places = torch.cat([torch.arange(prompt, prompt + n) for n in branches])
    back = places[:, None] - torch.cat([torch.arange(prompt), places])
    own = torch.cat([torch.ones(len(which), prompt, dtype=torch.bool), which[:, None] == which], dim=1)
    sees = own & (back >= 0)
    if window is not None:
        sees &= back < window
    return sees.to(device)


def _low_precision(query: Tensor) -> torch.dtype | None:
    """The dtype to run the GPU's variable-length kernel in; None where it cannot be used."""
    if query.device.type != "cuda" or not _varlen_is_there() or query.shape[-1] > 256:
        return None
    dtype = query.dtype
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
    return dtype if dtype in (torch.float16, torch.bfloat16) else None


@functools.cache
def _varlen_is_there() -> bool:
    """Whether this torch and this GPU have the kernel, with the window and grouped heads that we ask for."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    function: Callable[..., Any] = varlen_attn
    asked = {"scale", "window_size", "enable_gqa"}
    return asked <= set(inspect.signature(function).parameters) and torch.cuda.get_device_capability() >= (
        8,
        0,
    )
