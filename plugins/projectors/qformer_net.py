"""transformers' Q-Former with its learned queries over masked tokens, from random weights or a published file; and the
step that reads a frame or a clip through one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from affectkit_plugins.adapters._masked import block, clean, usable
from affectkit_plugins.converters._qformer_names import transformers_name
from affectkit_plugins.encoders._load_net import fill
from affectkit_plugins.projectors._qformer import QFormerSettings, TextQFormerSettings
from affectkit_plugins.projectors.qformer import Settings
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from affectkit import weight_files, weights
from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.errors import InputError, Problem
from affectkit.weights import on_disk

_PART = re.compile(r"(?:.*\.)?(?:Qformer\.bert|qformer)\.(?P<tail>.+)")
_SINGLE = ("model.safetensors", "pytorch_model.bin")


class QFormer(nn.Module):
    """Learned queries that read tokens, and text if there is any.

    tokens [f m d], mask [f m], text ids [f l] and their mask -> [f q h]. Rows without a token give values
    that mean nothing; the caller zeroes them. `model` is `InstructBlipQFormerModel` where text may come, else
    `Blip2QFormerModel`: their checkpoint keys fit as they are.
    """

    def __init__(self, settings: QFormerSettings, width: int, reads_text: bool) -> None:
        super().__init__()
        self.reads_text = reads_text
        self.queries = nn.Parameter(torch.empty(1, settings.queries, settings.hidden).normal_(std=0.02))
        self.model = _text_model(settings, width) if reads_text else _plain_model(settings, width)

    def forward(
        self,
        tokens: Float[Tensor, "f m d"],
        mask: Bool[Tensor, "f m"],
        ids: Int[Tensor, "f l"] | None = None,
        ids_mask: Bool[Tensor, "f l"] | None = None,
    ) -> Float[Tensor, "f q h"]:
        queries = self.queries.expand(len(tokens), -1, -1)
        count = queries.shape[1]
        seen = {"encoder_hidden_states": tokens, "encoder_attention_mask": usable(mask)}
        if not self.reads_text:
            return self.model(query_embeds=queries, **seen).last_hidden_state
        if ids is None or ids_mask is None or not ids.shape[1]:
            return self.model(input_ids=None, query_embeds=queries, **seen).last_hidden_state
        whole = torch.cat((ids_mask.new_ones(len(ids), count), ids_mask), 1)
        words = ids.masked_fill(~ids_mask, 0)
        out = self.model(input_ids=words, attention_mask=whole, query_embeds=queries, **seen).last_hidden_state
        return out[:, :count]


def repeated(question: ViewBlock | None, time: int) -> tuple[Int[Tensor, "f l"] | None, Bool[Tensor, "f l"] | None]:
    """A question's ids and mask, once for each of a row's `time` frames."""
    if question is None:
        return None, None
    # a batch without any question comes as float zeros
    return question.values.long().repeat_interleave(time, 0), question.mask.repeat_interleave(time, 0)


def _sizes(settings: QFormerSettings, width: int) -> dict[str, Any]:
    return {
        "hidden_size": settings.hidden,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "intermediate_size": settings.intermediate or 4 * settings.hidden,
        "hidden_dropout_prob": settings.dropout,
        "attention_probs_dropout_prob": settings.dropout,
        "cross_attention_frequency": settings.cross_every,
        "encoder_hidden_size": width,
    }


def _plain_model(settings: QFormerSettings, width: int) -> nn.Module:
    from transformers import Blip2QFormerConfig, Blip2QFormerModel

    return Blip2QFormerModel(Blip2QFormerConfig(**_sizes(settings, width)))


def _text_model(settings: QFormerSettings, width: int) -> nn.Module:
    from transformers import InstructBlipQFormerConfig, InstructBlipQFormerModel

    if not isinstance(settings, TextQFormerSettings):
        raise TypeError(f"a Q-Former that reads text needs TextQFormerSettings, got {type(settings).__name__}")
    text: dict[str, Any] = {"vocab_size": settings.vocab, "max_position_embeddings": settings.text_positions}
    model = InstructBlipQFormerModel(InstructBlipQFormerConfig(**_sizes(settings, width), **text))
    # What the last layer makes of the text reaches no query, so these weights (kept for published
    # checkpoints) never get a gradient; said here so that distributed training does not wait for one.
    last = model.encoder.layer[-1]
    for part in (last.intermediate, last.output):
        part.requires_grad_(False)
    return model


def load(qformer: QFormer, source: str) -> str:
    """Fill queries and layers from `source`; returns where the weights came from.

    Raises InputError for a source that is not on disk, lacks weights, or has other sizes.
    """
    if weights.random():
        return weights.RANDOM
    path = on_disk(source)
    if path is None:
        fix = f"fetch it first (`hf download {source}`), or build without weights: run.weights=random"
        raise InputError(Problem("source", f"{source!r} is neither a file or folder nor in the local hub cache", fix))
    parts = [weights.load_state(file, wanted=_wanted) for file in _files(path)]
    found = renamed({name: tensor for part in parts for name, tensor in part.items()})
    fill(qformer, found, source, "Q-Former", "is it a checkpoint of BLIP-2, and are layers and cross_every right?")
    return source


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published names to ours; all that is no Q-Former is passed over."""
    found = {}
    for name, tensor in state.items():
        if name.split(".")[-1] == "query_tokens":
            found["queries"] = tensor
        elif match := _PART.fullmatch(name):
            found[f"model.{transformers_name(match['tail']).removeprefix('embeddings.')}"] = tensor
    return found


def _wanted(name: str) -> bool:
    return name.split(".")[-1] == "query_tokens" or _PART.fullmatch(name) is not None


def _files(path: Path) -> Iterator[Path]:
    """The files below `path` that hold the Q-Former: of shards, those that their index names for it."""
    if path.is_file():
        yield path
        return
    for index in sorted(path.glob("*.index.json"))[:1]:
        names = weight_files.names_of(index)
        for shard in sorted({Path(file).name for name, file in names.items() if _wanted(name)}):
            yield path / shard
        return
    whole = next((path / name for name in _SINGLE if (path / name).is_file()), None)
    if whole is None:
        raise InputError(Problem(str(path), "holds no weights", "name a folder of BLIP-2, or its file", _SINGLE))
    yield whole


class QFormerProjector(nn.Module):
    """tokens [b t n d] (and question ids [b l]) -> tokens [b t q w], or [b 1 q w] for the whole clip.

    Without an LLM's width the queries stay as wide as the Q-Former is inside.
    """

    stand_in: str = ""
    """What the step has only a stand-in for, in words; see `affectkit.weights`."""

    def __init__(self, settings: Settings, width: int, llm: int | None, reads_text: bool) -> None:
        super().__init__()
        self.whole_clip = settings.per == "clip"
        self.norm = nn.LayerNorm(width) if settings.norm == "layer" else nn.Identity()
        self.positions = nn.Embedding(settings.positions, width) if settings.positions else None
        self.qformer = QFormer(settings, width, reads_text)
        self.projector = nn.Identity() if llm is None else nn.Linear(settings.hidden, llm)

    def forward(self, tokens: TokenBlock, question: ViewBlock | None = None) -> dict[str, TokenBlock]:
        time = 1 if self.whole_clip else tokens.tokens.shape[1]
        seen = self._placed(self.norm(clean(tokens.tokens, tokens.mask)))
        axes = (1, 2) if self.whole_clip else (0, 1)
        mask = tokens.mask.flatten(*axes)
        out = self.projector(self.qformer(seen.flatten(*axes), mask, *repeated(question, time))).unflatten(
            0, (-1, time)
        )
        real = mask.any(-1).view(-1, time, 1).expand(out.shape[:-1])
        return block("tokens", out, real)

    def _placed(self, tokens: Float[Tensor, "b t n d"]) -> Float[Tensor, "b t n d"]:
        if self.positions is None:
            return tokens
        time = tokens.shape[1]
        if time > self.positions.num_embeddings:
            raise ValueError(f"{time} time steps are more than the {self.positions.num_embeddings} positions there are")
        return tokens + self.positions.weight[:time, None]
