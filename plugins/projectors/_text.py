"""Text to ids for text-conditioned steps. Imports no torch; runs in loader workers."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from affectkit.errors import InputError, Problem

START, STOP, FIRST = 1, 2, 3
"""Ids of the stand-in: the beginning, the end, and the first that a word may get (0 pads)."""


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
    """How many ids the tokenizer in `folder` knows; raises InputError where there is none."""
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
