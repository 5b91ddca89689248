"""The two things that steps exchange, view blocks in and token blocks out; and what spares a step its masks and facts.

Axis letters, for the whole code base: b batch, t time, n tokens, d width, w LLM width, s sequence, a audio samples,
c h x image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from affectkit.sample import Fact


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

    @classmethod
    def masked(cls, name: str, tokens: Float[Tensor, "b t n d"], mask: Bool[Tensor, "b t *n"]) -> TokenBlock:
        """A block whose masked places are zero, as a step must put them out. A mask [b t] counts for every token of its
        time step."""
        whole = mask if mask.dim() == 3 else mask[..., None].expand(tokens.shape[:3])
        return cls(name, tokens.masked_fill(~whole[..., None], 0.0), whole)

    @classmethod
    def one_a_row(cls, name: str, values: Float[Tensor, "b d"], there: Bool[Tensor, " b"]) -> TokenBlock:
        """One token a row, such as the scores behind a fact; zero where `there` is false."""
        return cls.masked(name, values[:, None, None], there[:, None])

    @property
    def there(self) -> Bool[Tensor, " b"]:
        """Rows that hold anything."""
        return self.mask.flatten(1).any(1)

    def mean(self) -> Float[Tensor, "b d"]:
        """The mean of each row's real tokens; zero where it has none."""
        real = self.mask[..., None]
        return self.tokens.masked_fill(~real, 0.0).sum((1, 2)) / real.sum((1, 2)).clamp(min=1)


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

    @property
    def there(self) -> Bool[Tensor, " b"]:
        """Rows that hold anything."""
        return self.mask.any(1)

    def to(self, device: torch.device, non_blocking: bool = False) -> ViewBlock:
        boxes = None if self.boxes is None else self.boxes.to(device, non_blocking=non_blocking)
        values, mask = (t.to(device, non_blocking=non_blocking) for t in (self.values, self.mask))
        return ViewBlock(self.name, values, mask, boxes)

    def pin_memory(self) -> ViewBlock:
        """The same in page-locked memory, from which a GPU copies while it computes."""
        boxes = None if self.boxes is None else self.boxes.pin_memory()
        return ViewBlock(self.name, self.values.pin_memory(), self.mask.pin_memory(), boxes)


Block = TokenBlock | ViewBlock


class OverTokens(nn.Module):
    """A step around a plain module: what is masked goes in as zero, and comes out as zero.

    The step eats the port `tokens` and puts out the block `tokens`. `inner` takes [b t n d] and gives [b t n e]; as `build`
    names it, its parameters are `inner.…`. It must treat each token by itself: one that mixes tokens needs the mask.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: TokenBlock) -> dict[str, TokenBlock]:
        clean = TokenBlock.masked("tokens", tokens.tokens, tokens.mask)
        return {"tokens": TokenBlock.masked("tokens", self.inner(clean.tokens), tokens.mask)}


def word_facts(name: str, scores: TokenBlock, words: Sequence[str]) -> list[dict[str, Fact]]:
    """What a step's `facts` returns for one word a row: the likeliest of `words` with its probability (softmax).

    `scores` has one token a row, as wide as there are words (`TokenBlock.one_a_row`); a row without it gives no fact.
    """
    sure, best = torch.softmax(scores.tokens[:, 0, 0].float(), -1).max(-1)
    told = zip(best.tolist(), sure.tolist(), scores.there.tolist(), strict=True)
    return [{name: Fact(words[i], "estimate", p)} if there else {} for i, p, there in told]


def number_facts(names: Sequence[str], values: TokenBlock) -> list[dict[str, Fact]]:
    """What a step's `facts` returns for numbers (valence, arousal), one for each of `names`, in the order of the width.

    `values` has one token a row, as wide as there are names; a row without it gives no fact.
    """
    rows = zip(values.tokens[:, 0, 0].float().tolist(), values.there.tolist(), strict=True)
    return [{n: Fact(v, "estimate") for n, v in zip(names, row, strict=True)} if there else {} for row, there in rows]
