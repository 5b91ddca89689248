"""The backbone: a causal language model of transformers behind the frame's contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from affectkit_plugins.backbones import answering_net, tokenizers_net
from affectkit_plugins.backbones import language_models_net as models
from affectkit_plugins.backbones.causal_lm import STAND_IN, Settings
from affectkit_plugins.backbones.packed_attention_net import Packed
from affectkit_plugins.backbones.reading_net import cache_name
from torch import Tensor, nn
from torch.nn import functional as F

from affectkit import weights
from affectkit.errors import InputError, Problem
from affectkit.model.packing import LMInput


class CausalLM(nn.Module):
    """A language model that reads embeddings; see `affectkit.model.packing.Backbone` for what each member
    promises."""

    def __init__(
        self, lm: nn.Module, tokens: tokenizers_net.Tokenizer, packs: bool, cache: str | None, weights_origin: str
    ) -> None:
        super().__init__()
        self.lm = lm
        self.tokens = tokens
        self.packs = packs
        self.cache = cache
        """What the family calls its cache; None reads the whole again for every token of an answer."""
        self.weights_origin = weights_origin
        """`random`, or the source that the weights came from."""
        self.context = models.context_of(self.core.config)
        """Places that a sample may have; None where the family knows no limit."""
        self.width = self.core.get_input_embeddings().embedding_dim
        self.start_ids = tokens.start_ids
        self.end_ids = tokens.end_ids

    @property
    def core(self) -> Any:
        """transformers' model itself; adapters, where there are some, sit inside its layers."""
        inner = getattr(self.lm, "get_base_model", None)
        return inner() if inner is not None else self.lm

    def tokenise(self, text: str) -> list[int]:
        return self.tokens.encode(text)

    def tokenise_marked(self, text: str, marks: Sequence[tuple[int, int]]) -> list[int]:
        return self.tokens.encode(text, marks)

    def untokenise(self, ids: Sequence[int]) -> str:
        return self.tokens.decode(ids)

    def embed(self, ids: Tensor) -> Tensor:
        return self.core.get_input_embeddings()(ids)

    def loss(self, row: LMInput) -> tuple[Tensor, int]:
        """(sum of cross-entropy in float32, number of tokens that it is over).

        A label at the first place of a sample has nothing to be predicted from and is not counted. A row
        without any label costs 0 and still has gradients (zeros), so that every process of a run takes part
        in each step.
        """
        return self(row, None)[:2]

    def forward(self, row: LMInput, hidden_at: Tensor | None) -> tuple[Tensor, int, Tensor]:
        """The same, and the states [k w] at the places `hidden_at` [k] of the row behind the final norm: what the output layer
        sees there. Without places they are those at the row's beginning or at the supervised places, and mean nothing."""
        if not self.packs:
            return self._one_by_one(row, hidden_at)
        more = {"position_ids": row.position_ids[None], "layout": Packed(row.lengths)}
        return self._forward(row, hidden_at, more)

    def _one_by_one(self, row: LMInput, hidden_at: Tensor | None) -> tuple[Tensor, int, Tensor]:
        places = row.labels.new_empty(0) if hidden_at is None else hidden_at
        made, order, start = [], [], 0
        for part in alone(row):
            own = ((places >= start) & (places < start + part.lengths[0])).nonzero()[:, 0]
            made.append(self._forward(part, places[own] - start, {}))
            order.append(own)
            start += part.lengths[0]
        losses, counts, states = zip(*made, strict=True)
        return torch.stack(losses).sum(), sum(counts), torch.cat(states)[torch.cat(order).argsort()]

    def _forward(self, row: LMInput, hidden_at: Tensor | None, more: dict[str, Any]) -> tuple[Tensor, int, Tensor]:
        places = _supervised(row)
        before, n = places - 1, len(places)
        wanted = before if hidden_at is None else torch.cat([before, hidden_at])
        seen: list[Tensor] = []

        def keep(_: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
            seen.append(given[0][0])
            # where nothing is predicted, logits of all these places would be made for nothing
            return given if n else (given[0][:, :1],)

        head = self.core.get_output_embeddings()
        handle = None if hidden_at is None else head.register_forward_pre_hook(keep)
        try:
            logits = self.logits(row.embeds[None], wanted if len(wanted) else row.labels.new_zeros(1), more)
        finally:
            if handle is not None:
                handle.remove()
        loss, count = _cross_entropy(logits[:n] if n else logits, row.labels[places])
        return loss, count, seen[0][n:][: len(wanted) - n] if seen else logits[:0]

    def logits(self, embeds: Tensor, keep: Tensor, more: dict[str, Any]) -> Tensor:
        """Logits [n v] of the places `keep` of one row; only they reach the output layer."""
        out = self.core(inputs_embeds=embeds, use_cache=False, logits_to_keep=keep, **more)
        return out.logits[0]

    def score(self, prompts: LMInput, candidates: Sequence[Sequence[Sequence[int]]]) -> list[list[float]]:
        return answering_net.score(self, prompts, candidates)

    def generate(self, prompts: LMInput, most: int, stops: Sequence[Sequence[int]]) -> list[list[int] | None]:
        return answering_net.generate(self, prompts, most, stops)

    @contextmanager
    def without_adapters(self) -> Iterator[None]:
        off = getattr(self.lm, "disable_adapter", None)
        if off is None:
            yield
            return
        learning = [(parameter, parameter.requires_grad) for parameter in self.lm.parameters()]
        try:
            with off():
                yield
        finally:
            for parameter, learns in learning:  # peft lets all adapters learn when it turns them on again
                parameter.requires_grad_(learns)

    def group(self, parameter: str) -> str:
        return "lora" if "lora_" in parameter else "model"

    def save_tokenizer(self, folder: str) -> None:
        self.tokens.save(folder)

    def save_pretrained(self, folder: str) -> None:
        """Write the weights as transformers (or, with LoRA, the adapters as peft) and the tokenizer lay them
        out."""
        self.lm.save_pretrained(folder)  # type: ignore[operator]
        self.tokens.save(folder)


def alone(row: LMInput) -> list[LMInput]:
    """The samples of a packed row, each a row of its own."""
    parts = zip(*(t.split(row.lengths) for t in (row.embeds, row.position_ids, row.labels)), row.lengths, strict=True)
    return [LMInput(e, p, (n,), y) for e, p, y, n in parts]


def make(settings: Settings, texts: Callable[[], Iterable[str]], saved: str | None) -> CausalLM:
    """The backbone with its tokenizer."""
    given = bool(settings.source) and not weights.random()
    dtype = getattr(torch, settings.dtype)
    published = (
        models.published_config(settings) if given else None
    )  # before its tokenizer: a folder may hold another thing
    tokens = _tokens(settings, texts, saved)
    config = published or _config(settings, tokens)
    models.refuse_others(config, "backbone.source" if given else "backbone.family")
    packs = models.packs(config)
    carries = models.carries(config, packs)
    if given and torch.get_default_device().type != "meta":
        lm = models.from_published(settings.source, dtype, packs)
    else:
        lm = models.from_config(config, dtype, packs)
    rows = lm.get_input_embeddings().num_embeddings  # type: ignore[operator]
    if tokens.size > rows:
        what = f"the tokenizer has {tokens.size} tokens, the model's embedding table {rows} rows"
        raise InputError(Problem("backbone.tokenizer", what, "use the model's own tokenizer"))
    cache = cache_name(lm) if carries else None
    if settings.gradient_checkpointing:
        models.checkpoint_layers(lm)
    if settings.lora is not None:
        lm = models.with_lora(lm, settings.lora)
    return CausalLM(lm, tokens, packs, cache, settings.source if given else "random")


def _config(settings: Settings, tokens: tokenizers_net.Tokenizer) -> Any:
    """The config to build random weights from."""
    if settings.source and (Path(settings.source) / "config.json").is_file():
        return models.published_config(settings)
    if settings.source:
        needed = ("layers", "width", "heads", "mlp", "vocabulary")
        missing = [n for n in needed if getattr(settings, n) is None]
        if missing:
            fix = f"write {', '.join(missing)} (and family, kv_heads) beside backbone.source"
            what = f"run.weights=random downloads nothing, so the sizes of {settings.source!r} are not known"
            raise InputError(Problem("backbone.source", what, fix))
    return models.stand_in_config(settings, settings.vocabulary if settings.source else tokens.size)  # type: ignore[arg-type]


def _tokens(settings: Settings, texts: Callable[[], Iterable[str]], saved: str | None) -> tokenizers_net.Tokenizer:
    if saved is not None:
        return tokenizers_net.load_saved(saved)
    local = Path(settings.source)
    has_files = settings.source and any((local / f).is_file() for f in ("tokenizer.json", "tokenizer.model"))
    source = settings.tokenizer or (settings.source if has_files or not weights.random() else "")
    if source and not (weights.random() and not Path(source).is_dir()):
        return tokenizers_net.load(
            source, settings.tokenizer_mode, settings.special_texts, settings.start_token, settings.end_token
        )
    return tokenizers_net.train(texts(), settings.vocabulary or STAND_IN["vocabulary"])


def _supervised(row: LMInput) -> Tensor:
    """The places whose token is trained, but for samples' first ones."""
    return ((row.labels != -100) & (row.position_ids != 0)).nonzero()[:, 0]


def _cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    if not len(labels):
        return logits.float().sum() * 0, 0
    return F.cross_entropy(logits.float(), labels, reduction="sum"), len(labels)
