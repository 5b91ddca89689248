"""Next-token logits of a language model, with its key-value cache where the layout of that is known."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from affectkit_plugins.backbones.packed_attention_net import Padded
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

CACHES = ("cache", "past_key_values", "cache_params", "state")
"""What families of transformers call what they remember of the tokens read: the argument of the forward and the field
of its output. `cache` is the name of them all from 5.24 on, where forwards take the older two with a warning."""


def cache_name(core: Any) -> str | None:
    """The name that a model's forward has for its cache; None where it has none of those known."""
    taken = inspect.signature(type(core).forward).parameters
    return next((name for name in CACHES if name in taken), None)


class PromptReader:
    """Reads prompts of [t d] each, and then a token a row and turn.

    `cache` is the name of the model's cache (`cache_name`); None reads the whole again at every turn. A family that
    packs reads many rows at once, filled up on their left; any other one row. A row that was read to the end of the
    `context` stays at its last place: others may go on, and nobody looks at what it gives.
    """

    def __init__(
        self, core: Any, packs: bool, cache: str | None, prompts: Sequence[Tensor], context: int | None = None
    ) -> None:
        self.core, self.packs, self.cache = core, packs, cache
        self.last = None if context is None else context - 1
        self.unread = pad_sequence(list(prompts), batch_first=True, padding_side="left")
        self.padding = self.unread.shape[1] - torch.tensor([len(p) for p in prompts], device=self.unread.device)
        self.start = 0
        self.state: dict[str, Any] = {"use_cache": cache is not None}
        if packs and cache is not None:
            from transformers import DynamicCache

            self.state[cache] = DynamicCache()

    def logits(self) -> Tensor:
        """The logits of the next token, [b v]."""
        more: dict[str, Any] = {}
        if self.packs:
            places = torch.arange(self.start, self.start + self.unread.shape[1], device=self.unread.device)
            positions = (places - self.padding[:, None]).clamp(min=0, max=self.last)
            more = {"position_ids": positions, "layout": Padded(self.padding)}
        out = self.core(inputs_embeds=self.unread, logits_to_keep=1, **more, **self.state)
        if self.cache is not None and not self.packs:  # made by the family itself, which knows its layers
            self.state[self.cache] = getattr(out, self.cache)
        return out.logits[:, -1]

    def add(self, token: Tensor) -> None:
        """One token more a row, [b d], to be read next."""
        token = token[:, None].to(self.unread.dtype)
        if self.cache is None:
            self.unread = torch.cat([self.unread, token], dim=1)
        else:
            self.start, self.unread = self.start + self.unread.shape[1], token
