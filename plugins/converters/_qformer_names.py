"""Names of a Q-Former in published checkpoints (BERT with queries, as LAVIS has it), as transformers has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from affectkit.interop.contract import Imported

if TYPE_CHECKING:
    from torch import Tensor

STRANGE = "NOT KNOWN to this layout"
QUERIES = re.compile(
    r"embeddings\.LayerNorm\.(weight|bias)|encoder\.layer\.\d+\.("
    r"(cross)?attention\.(self\.(query|key|value)|output\.(dense|LayerNorm))|intermediate_query\.dense"
    r"|output_query\.(dense|LayerNorm))\.(weight|bias)"
)
"""What the queries go through."""
WORDS = re.compile(
    r"embeddings\.(word|position)_embeddings\.weight"
    r"|encoder\.layer\.\d+\.(intermediate\.dense|output\.(dense|LayerNorm))\.(weight|bias)"
)
"""What words beside them go through."""


def transformers_name(name: str) -> str:
    """A key below `bert.` as `Blip2QFormerModel` and `InstructBlipQFormerModel` name it.

    >>> transformers_name("encoder.layer.0.crossattention.self.key.bias")
    'encoder.layer.0.crossattention.attention.key.bias'
    """
    return name.replace("embeddings.LayerNorm.", "embeddings.layernorm.").replace(
        "attention.self.", "attention.attention."
    )


def place(found: Imported, key: str, name: str, value: Tensor, model: str, text: bool) -> None:
    """Put the value of one key (`name` is what follows the Q-Former's own name) below `model`, or say why not.

    A Q-Former without text keeps the one norm of its queries outside the embeddings.
    """
    inner = name.removeprefix("bert.")
    if QUERIES.fullmatch(inner) or (text and WORDS.fullmatch(inner)):
        ours = transformers_name(inner)
        found.take(key, f"{model}.{ours if text else ours.removeprefix('embeddings.')}", value)
    elif inner.endswith("position_ids"):
        found.unused[key] = "the numbers of the places, a constant"
    elif WORDS.fullmatch(inner):
        found.unused[key] = "the Q-Former's way for words, of which it reads none here"
    elif name.startswith("cls."):
        found.unused[key] = "a head that predicts words, which nothing asks"
    else:
        found.unused[key] = STRANGE
