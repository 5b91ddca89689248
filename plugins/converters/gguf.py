"""GGUF files of language models in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    from affectkit_plugins.converters.gguf_net import GGUFFormat


@dataclass(frozen=True)
class Settings:
    """A language model in llama.cpp's GGUF, of any architecture that transformers reads, to a folder of transformers.

    Quantised weights become plain numbers: nothing is gained back, and the file of four bits a weight grows to 32. Written are
    weights, configuration, and the tokenizer with its chat template; a backbone names the folder as its `source`.
    """

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of what is written."""


def build(settings: Settings) -> GGUFFormat:
    """The reader and writer."""
    from affectkit_plugins.converters.gguf_net import GGUFFormat

    return GGUFFormat(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("converter", "gguf", Settings, build, needs=("transformers", "gguf"), extra="small")]
