"""Segments and blocks to one packed row for the LLM, and what the frame asks of a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """Where a slot's tokens lie in the packed row."""

    sample: int
    stream: str
    start: int
    stop: int


@dataclass(frozen=True)
class LMInput:
    """Samples laid end to end in one row. Attention never crosses a border; positions restart at each."""

    embeds: Float[Tensor, "s w"]
    position_ids: Int[Tensor, " s"]
    lengths: tuple[int, ...]
    """Length of each sample; they add up to s."""
    labels: Int[Tensor, " s"]
    """The token at this place if it is trained, else -100. Not shifted: the backbone predicts place i from i - 1."""
    where: tuple[Span, ...] = ()


@runtime_checkable
class Backbone(Protocol):
    """An LLM as the frame sees it: an `nn.Module` with these members.

    `packs` is False where packed samples would see each other; `loss` and `score` then run one sample a row and the
    output says so.
    """

    width: int
    packs: bool
    start_ids: tuple[int, ...]
    """Ids of `Segment(special="start")`; empty where the tokenizer has none."""
    end_ids: tuple[int, ...]

    def tokenise(self, text: str) -> list[int]:
        """Ids of one segment's text, no special tokens added."""
        ...

    def untokenise(self, ids: Sequence[int]) -> str: ...

    def embed(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n w"]: ...

    def loss(self, row: LMInput) -> tuple[Tensor, int]:
        """(sum of cross-entropy over supervised tokens, their number)."""
        ...

    def score(self, prompts: LMInput, candidates: Sequence[Sequence[Sequence[int]]]) -> list[list[float]]:
        """log-probability (sum over its tokens) of each candidate continuation of each prompt; the prompt runs once."""
        ...

    def generate(self, prompts: LMInput, most: int, stops: Sequence[Sequence[int]]) -> list[list[int]]:
        """Greedy continuations, at most `most` ids each, cut before `end_ids` or any of `stops`; order kept."""
        ...

    def group(self, parameter: str) -> str:
        """`model` or `lora`: which address below `backbone.` the parameter of that name belongs to."""
        ...

    def save_tokenizer(self, folder: str) -> None:
        """Write what `build(settings, texts, saved=folder)` needs to make the same tokenizer again."""
        ...
