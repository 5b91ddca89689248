"""A text encoder of transformers: the ids of a text to its tokens."""

from __future__ import annotations

import torch
from affectkit_plugins.adapters._masked import mean_of_real
from affectkit_plugins.encoders._load_net import loads, of_any_family
from affectkit_plugins.encoders.sentence_encoder import FAMILY, WRITES, Settings, language_model
from torch import nn
from transformers import AutoModel, BertConfig

from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.errors import InputError, Problem


class SentenceEncoder(nn.Module):
    """Ids [b n] -> {tokens [b 1 n d]} or {pooled [b 1 1 d]}."""

    weights_origin: str

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.model, self.weights_origin = of_any_family(AutoModel, FAMILY, settings, lambda sizes: BertConfig(**sizes))
        if (name := language_model(settings.source)) and loads(settings.source):  # a hub id lies here by now
            raise InputError(Problem(settings.source, WRITES.format(name)))
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # BERT's layer behind the first token, which nothing here reads
        self.pool, self.unit = settings.pool, settings.unit

    def forward(self, text: ViewBlock) -> dict[str, TokenBlock]:
        """Texts without a token give none."""
        ids, mask = text.values.long(), text.mask.bool()
        seen = mask.any(1)
        open_ = mask | ~seen[:, None]  # a row of nothing is read as padding, and thrown away
        tokens = self.model(input_ids=ids * mask, attention_mask=open_.long()).last_hidden_state
        tokens = torch.where(mask[..., None], tokens, tokens.new_zeros(()))
        if self.pool == "none":
            return {"tokens": TokenBlock("tokens", tokens[:, None], mask[:, None])}
        pooled, real = mean_of_real(tokens, mask) if self.pool == "mean" else (tokens[:, :1], seen[:, None])
        if self.unit:
            pooled = nn.functional.normalize(pooled, dim=-1)
        return {"pooled": TokenBlock("pooled", pooled[:, None], real[:, None])}
