"""What every piece with a Q-Former shares before one is built: its settings, and the ids of the question that its
queries read. Imports no torch; ids are made in loader workers."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from affectkit_plugins._values import at_least
from affectkit_plugins.adapters._shapes import heads_fit

from affectkit.errors import InputError, Problem

NEEDS = ("transformers", "tokenizers")
TINY = {"queries": 3, "hidden": 16, "layers": 2, "heads": 2, "vocab": 64, "most_text": 16, "text_positions": 16}
"""For the contract tests of pieces that read a question."""
START, STOP, FIRST = 1, 2, 3
"""Ids of the stand-in: the beginning, the end, and the first that a word may get (0 pads)."""


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


def text_ids(text: str, folder: str, vocab: int, most: int) -> Any:
    """Ids of one text, int64 [n], n at most `most`, its beginning cut where it is longer; empty for empty
    text.

    `folder` holds a BERT tokenizer (`tokenizer.json` or `vocab.txt`). Without one, a stand-in gives each word
    or punctuation mark the id that its hash says, below `vocab`: equal words get equal ids, in any process.
    """
    import numpy as np

    if not text.strip():
        return np.zeros(0, np.int64)
    if folder:
        ids = _tokenizer(folder).encode(text).ids
        # what opens and closes a BERT text stays when its beginning is cut
        return np.asarray(ids if len(ids) <= most else [ids[0], *ids[-(most - 1) :]], np.int64)
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    ids = [START, *(_hashed(w, vocab) for w in words[-(most - 2) :]), STOP]
    return np.asarray(ids, np.int64)


def tokenizer_size(folder: str) -> int:
    """The vocabulary size of the tokenizer in `folder`; raises InputError where there is none."""
    return int(_tokenizer(folder).get_vocab_size())


def _hashed(word: str, vocab: int) -> int:
    digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
    return FIRST + int.from_bytes(digest, "big") % (vocab - FIRST)


@lru_cache(maxsize=8)
def _tokenizer(folder: str) -> Any:
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    whole, words = Path(folder) / "tokenizer.json", Path(folder) / "vocab.txt"
    if whole.is_file():
        found = Tokenizer.from_file(str(whole))
        found.no_padding()
        found.no_truncation()
    elif words.is_file():
        found = BertWordPieceTokenizer(str(words))
    else:
        fix = "give the folder of a BERT tokenizer, or leave `tokenizer` empty for the stand-in"
        raise InputError(Problem(folder, "holds neither tokenizer.json nor vocab.txt", fix))
    return found
