"""Text encoders of transformers on what is said: sentence encoders such as MiniLM, BERT, RoBERTa."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from affectkit_plugins._values import at_least
from affectkit_plugins.encoders._architectures import foreign
from affectkit_plugins.encoders._sizes import Family, read_json, sizes
from affectkit_plugins.projectors._qformer import text_ids

from affectkit import weights
from affectkit.errors import InputError, Problem
from affectkit.pieces import Piece, Port, Shape, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

NAMES = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "vocab": "vocab_size",
}
MINILM = {"width": 384, "layers": 6, "heads": 12, "hidden": 1536, "vocab": 30522}
FAMILY = Family(names=NAMES, published=MINILM, absent=dict.fromkeys(NAMES))
LLM = re.compile(r"ForCausalLM$|(?<!With)LMHeadModel$")
"""How architectures of language models are called: they read from left to right, and a token knows nothing of those behind it."""
MADE_OF = "modules.json"
"""What sentence-transformers writes beside a text encoder, also beside one that was made of a language model."""
WRITES = "is a language model ({}), no text encoder: give one such as sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Settings:
    """A text encoder of transformers (`AutoModel`: BERT, RoBERTa, MiniLM and their like) on the subtitle.

    `pooled` is the mean over the tokens, as sentence-transformers' MiniLM is used (Reimers and Gurevych 2019, section 3), or the
    first token; `tokens` is every token. A sample without words has no token. Without a source it is MiniLM's size with random
    weights, and words are numbered by their hash.
    """

    source: str = ""
    """Hub id (`sentence-transformers/all-MiniLM-L6-v2`) or folder of `save_pretrained`; empty for random weights."""
    pool: Literal["mean", "first", "none"] = "mean"
    """One token, the mean of all or the first one; or every token."""
    unit: bool = False
    """Bring each pooled token to length 1, as sentence encoders do before they compare."""
    most: int = 256
    """Most tokens of a text; the beginning of a longer one is cut off."""
    width: int | None = None
    """Width of the tokens; None is the checkpoint's, or MiniLM's."""
    layers: int | None = None
    """Transformer layers; None is the checkpoint's, or MiniLM's."""
    heads: int | None = None
    """Attention heads; None is the checkpoint's, or MiniLM's."""
    hidden: int | None = None
    """Width inside the feed-forward layers; None is the checkpoint's, or MiniLM's."""
    vocab: int | None = None
    """Rows of the word table; None is the checkpoint's, or MiniLM's."""

    def problems(self) -> list[tuple[str, str]]:
        """Values that the types allow and that mean nothing."""
        found = at_least(self, 3, "most", "vocab") + at_least(self, 1, "width", "layers", "heads", "hidden")
        places = (read_json(self.source, "config.json") or {}).get("max_position_embeddings")
        if places and self.most > places:
            found.append(("most", f"the network has {places} places for tokens, got {self.most}"))
        if self.width and self.heads and self.width % self.heads:
            found.append(("heads", f"{self.heads} heads do not divide the width {self.width}"))
        if (name := language_model(self.source)) and not weights.random():
            found.append(("source", f"{self.source} {WRITES.format(name)}"))
        return found + foreign(self.source, "text encoder", ("text", "llm"))


def language_model(source: str) -> str:
    """The architecture that the source names, where it is one that writes and no text encoder was made of it; else nothing."""
    named_ = (read_json(source, "config.json") or {}).get("architectures")
    writes = [name for name in named_ if LLM.search(str(name))] if isinstance(named_, list) else []
    folder = weights.on_disk(source)
    return str(writes[0]) if writes and folder is not None and not (folder / MADE_OF).is_file() else ""


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """One block."""
    wide = sizes(FAMILY, settings)["width"]
    return (
        {"tokens": Shape("tokens", 1, settings.most, wide)}
        if settings.pool == "none"
        else {"pooled": Shape("tokens", 1, 1, wide)}
    )


def prepare(settings: Settings, port: str, raw: Any) -> np.ndarray:
    """The ids of a text, int64 [n]; none for one without words."""
    import numpy as np

    text = str(raw or "")
    untold = not settings.source or (weights.random() and weights.on_disk(settings.source) is None)
    if untold or not text.strip():
        return np.asarray(text_ids(text, "", int(sizes(FAMILY, settings)["vocab"] or 3), settings.most))
    ids = tokenizer(settings.source)(text, add_special_tokens=True)["input_ids"]
    return np.asarray(ids if len(ids) <= settings.most else [ids[0], *ids[-(settings.most - 1) :]], np.int64)


@lru_cache(maxsize=4)
def tokenizer(source: str) -> Any:
    """The source's tokenizer. Raises InputError where it has none."""
    from transformers import AutoTokenizer

    fix = "a folder of a text encoder has tokenizer.json or vocab.txt"
    try:
        found = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        what = f"no tokenizer could be read from there ({str(error).splitlines()[0]})"
        raise InputError(Problem(source, what, fix)) from error
    if len(found) <= len(found.all_special_ids):  # transformers makes an empty one where there are no files
        raise InputError(Problem(source, "has no tokenizer, or one without words", fix))
    return found


def build(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> nn.Module:
    """The network; raises InputError where the source cannot be read, or lacks weights."""
    from affectkit_plugins.encoders.sentence_encoder_net import SentenceEncoder

    return SentenceEncoder(settings)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    """This module's piece."""
    tiny = {"width": 16, "layers": 2, "heads": 2, "hidden": 24, "vocab": 64, "most": 16}
    ports = (Port("text", "text", about="what is said"),)
    return [
        Piece(
            "encoder", "sentence_encoder", Settings, build, shapes, ports, ("transformers",), tiny=tiny, prepare=prepare
        )
    ]
