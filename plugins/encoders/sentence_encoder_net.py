"""A text encoder of transformers: the ids of a text to its tokens."""

from __future__ import annotations

from typing import Any

import torch
from affectkit_plugins._published_net import first_line, published
from affectkit_plugins.adapters._masked import mean_of_real
from affectkit_plugins.encoders._load_net import UNREADABLE, loads
from affectkit_plugins.encoders._sizes import disagreements, sizes
from affectkit_plugins.encoders.sentence_encoder import FAMILY, Settings
from torch import nn
from transformers import AutoConfig, AutoModel, BertConfig

from affectkit import weights
from affectkit.blocks import TokenBlock, ViewBlock
from affectkit.errors import InputError, Problem
from affectkit.weights import on_disk


class SentenceEncoder(nn.Module):
    """Ids [b n] -> {tokens [b 1 n d]} or {pooled [b 1 1 d]}."""

    weights_origin: str

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.model, self.weights_origin = network(settings)
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


def network(settings: Settings) -> tuple[Any, str]:
    """The network and where its weights came from. Raises InputError where the source cannot be read, lacks weights, or is of
    other sizes than the recipe says."""
    source = settings.source
    if not source or (weights.random() and on_disk(source) is None):
        given = {FAMILY.names[name]: value for name, value in sizes(FAMILY, settings).items()}
        return AutoModel.from_config(BertConfig(**given)), weights.RANDOM
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        what = f"no network could be read from there ({first_line(error)})"
        raise InputError(Problem(source, what, UNREADABLE)) from error
    if wrong := disagreements(FAMILY, settings, config.to_dict()):
        raise InputError(wrong)
    if not loads(source):
        return AutoModel.from_config(config), weights.RANDOM
    return published(AutoModel, source, source, {"config": config, "dtype": torch.float32}, UNREADABLE), source
