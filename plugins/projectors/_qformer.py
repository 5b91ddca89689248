"""transformers' Q-Former with its learned queries, over masked tokens."""

from __future__ import annotations

from typing import Any

import torch
from affectkit_plugins.adapters._masked import usable
from affectkit_plugins.projectors._qformer_settings import QFormerSettings, TextQFormerSettings
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from affectkit.blocks import ViewBlock


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
