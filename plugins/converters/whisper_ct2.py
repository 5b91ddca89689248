"""CTranslate2's Whisper in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectkit.pieces import Piece, hookimpl

if TYPE_CHECKING:
    from affectkit_plugins.converters.whisper_ct2_net import WhisperFormat


@dataclass(frozen=True)
class Settings:
    """A folder of Whisper as CTranslate2 (and faster-whisper) reads it, to one of transformers.

    Read is `model.bin` of version 6 in float32, float16 or bfloat16, with the `tokenizer.json` and `config.json` beside it; the
    weights keep their format. The result is the whole model, with a tokenizer, a feature extractor and the tokens of languages
    and tasks; the encoder whisper names it as its `source`. A model whose vocabulary has less than 51,865 tokens knows
    English only. The layout was read from published files.
    """


def build(settings: Settings) -> WhisperFormat:
    """The reader and writer."""
    from affectkit_plugins.converters.whisper_ct2_net import WhisperFormat

    return WhisperFormat()


@hookimpl
def affectkit_pieces() -> list[Piece]:
    return [Piece("converter", "whisper_ct2", Settings, build, needs=("transformers",))]
