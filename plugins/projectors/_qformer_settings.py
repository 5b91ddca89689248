"""The settings that every piece with a Q-Former shares. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from affectkit_plugins.adapters._shapes import at_least, heads_fit
from affectkit_plugins.projectors._text import FIRST, text_ids, tokenizer_size

from affectkit.errors import InputError, Problem

NEEDS = ("transformers", "tokenizers")
TINY = {"queries": 3, "hidden": 16, "layers": 2, "heads": 2, "vocab": 64, "most_text": 16, "text_positions": 16}
"""For the contract tests of pieces that read a question."""


@dataclass(frozen=True)
class QFormerSettings:
    """Sizes of a Q-Former (BERT with learned queries and cross-attention)."""

    queries: int = 32
    """How many learned queries, and so how many tokens come out."""
    hidden: int = 768
    """Width inside the Q-Former."""
    layers: int = 12
    """How many of its layers."""
    heads: int = 12
    """Attention heads; they must divide `hidden`."""
    intermediate: int | None = None
    """Width inside its feed-forward layers; null for four times `hidden`."""
    cross_every: int = 2
    """Cross-attention to the tokens in every layer (1), every second (2), …, the first included."""
    dropout: float = 0.1
    """Dropout in training, on attention and on layers."""

    def problems(self) -> list[tuple[str, str]]:
        found = at_least(self, 1, "queries", "hidden", "layers", "intermediate", "cross_every")
        return found + (heads_fit("hidden", self.hidden, self.heads) if self.hidden > 0 else [])


@dataclass(frozen=True)
class TextQFormerSettings(QFormerSettings):
    """Sizes of a Q-Former whose queries may also read a question."""

    tokenizer: str = ""
    """Folder of a BERT tokenizer for the question; empty for a stand-in that hashes words, which published weights do not
    know: imported ones are refused without it."""
    vocab: int = 30523
    """Rows of the question's word table (BERT uncased and one more, as BLIP-2 has it)."""
    most_text: int = 256
    """Most ids of a question; a longer one loses its beginning."""
    text_positions: int = 512
    """Rows of the question's position table."""

    def problems(self) -> list[tuple[str, str]]:
        found = super().problems() + at_least(self, FIRST + 1, "vocab") + at_least(self, 3, "most_text")
        if self.most_text > self.text_positions:
            found.append(("most_text", f"must be at most text_positions ({self.text_positions}), got {self.most_text}"))
        return found


def prepare(settings: TextQFormerSettings, port: str, raw: str) -> Any:
    """The `prepare` of the port `question`: its ids, int64 [n]."""
    return text_ids(raw, settings.tokenizer, settings.vocab, settings.most_text)


HASHED = (
    "no `tokenizer` is given: the question's words are numbered by their hash, which published Q-Formers do not know"
)


def stand_in(settings: TextQFormerSettings, reads_text: bool) -> str:
    """What a run is to say of the words of a step: that they are hashed, or nothing."""
    return HASHED if reads_text and not settings.tokenizer else ""


def check_tokenizer(settings: TextQFormerSettings) -> None:
    """Raise InputError where the tokenizer knows more ids than the word table has rows."""
    size = tokenizer_size(settings.tokenizer) if settings.tokenizer else 0
    if size > settings.vocab:
        raise InputError(
            Problem(
                "",
                f"vocab={settings.vocab} is too small for a tokenizer of {size} ids",
                f"set vocab={size}",
            )
        )
