"""How large the tokens of streams are beside the word embeddings that they stand among in a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from affectkit.blocks import Block, TokenBlock
from affectkit.model.batch import Batch
from affectkit.model.model import Model

WORDS = "words"
"""Under which name the word embeddings of a prompt stand beside streams."""


def rms(values: Tensor) -> float | None:
    """The root mean square of all values; None where there are none."""
    return float(values.double().square().mean().sqrt()) if values.numel() else None


def rms_of(block: Block) -> float | None:
    """That of what is real in a block: of tokens [b t n d], or of a view's values."""
    return rms(block.tokens[block.mask] if isinstance(block, TokenBlock) else block.values[block.mask])


def scales(model: Model, batch: Batch, running: Sequence[str]) -> dict[str, float]:
    """The root mean square of the tokens that each stream gives the prompts of a batch, and of their word embeddings (`words`).
    `running` are the steps that are left to run. A stream that is empty in all of them is left out."""
    ids = [i for row in batch.chunks for chunk in row for i in chunk.ids]
    with model.frozen(), torch.no_grad():
        model.eval()
        found = {slot: rms_of(block) for slot, block in model.slots(batch, running).items()}
        found[WORDS] = rms(model.llm.embed(torch.tensor(ids, dtype=torch.long, device=model.device)))
    return {name: value for name, value in found.items() if value is not None}


MOST = 100.0
"""Tokens so many times larger, or smaller, than words are told of. Streams of recipes that learn well start at 3 to 36 times."""


def unequal(found: Mapping[str, float]) -> dict[str, str]:
    """By stream, what to know of tokens that are far from the size of words; `found` is from `scales`."""
    words = found.get(WORDS, 0.0)
    told = {}
    for stream in found.keys() - {WORDS} if words else ():
        times = found[stream] / words
        if not 1 / MOST <= times <= MOST:
            size = f"{times:,.0f} times as large as" if times > 1 else f"{times:.2g} of the size of"
            what = f"the tokens of the stream {stream} are {size} the words of the prompt"
            told[stream] = f"{what} (RMS {found[stream]:.3g} and {words:.3g}): {DROWNS if times > 1 else FADES}; {FIX}"
    return told


DROWNS = "the LLM may see little else, and give every sample one answer"
FADES = "the LLM may not see them"
FIX = "put `{use: standardise}` behind the encoder, or, where no single channels stick out, `norm: layer` into the projector"
