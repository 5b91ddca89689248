"""Any causal language model of transformers, published or built and trained here, with LoRA beside it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from affectkit_plugins.encoders._architectures import foreign

from affectkit.errors import InputError, Problem, nearest
from affectkit.files import read_object
from affectkit.pieces import Piece, Shape, hookimpl

if TYPE_CHECKING:
    from affectkit.model.packing import Backbone

STAND_IN = {"layers": 4, "width": 192, "heads": 6, "context": 2048, "vocabulary": 1536}
"""Sizes of a model without a source, where the recipe does not say."""

WIDTH_KEYS = ("word_embed_proj_dim", "hidden_size", "n_embd", "d_model")
"""Where families of transformers keep the width of their embeddings in `config.json`; the first found counts.
"""


NOT_ADAPTED = (
    "embed_tokens", "wte", "wpe", "embed_in", "word_embeddings", "embed_positions", "tok_embeddings", "embedding",
    "embeddings", "lm_head", "embed_out", "output_projection",
)  # fmt: skip
"""Usual names of embeddings and heads, which get no adapter."""


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters beside the linear layers (Hu et al. 2021, arXiv:2106.09685), by peft."""

    rank: int = 8
    """Rank of the adapters."""
    alpha: int = 16
    """The adapters' output is scaled by alpha / rank."""
    dropout: float = 0.0
    """Dropout in front of the adapters."""
    targets: tuple[str, ...] = ()
    """Names of the layers that get an adapter, such as q_proj and v_proj; empty means every linear layer but
    the head."""


@dataclass(frozen=True)
class Settings:
    """A causal language model of transformers: published, or at stand-in size with a tokenizer trained on the
    spot.

    Without `source` a small model with random weights is built, which has to be trained in full; its
    tokenizer is trained on the training split's texts. Families that pass a check at build run many samples
    in one packed row; the others run one sample a row and say so. Answers are written from the family's
    cache if, at build, it gives what reading the whole again does; otherwise the slow way, and that is said.
    """

    source: str = ""
    """Hub id or local folder of a published model (save_pretrained layout); empty builds a stand-in."""
    family: str = "llama"
    """Architecture of the stand-in, as transformers names it (model_type): llama, qwen2, qwen3, mistral,
    phi3 and others."""
    layers: int | None = None
    """Number of layers; null is 4 for a stand-in, and what a source has."""
    width: int | None = None
    """Width of embeddings and hidden states; null is 192 for a stand-in, and what a source has."""
    heads: int | None = None
    """Attention heads; null is 6 for a stand-in, and what a source has."""
    kv_heads: int | None = None
    """Heads of keys and values; null is as many as `heads`, and what a source has."""
    head_width: int | None = None
    """Width of one head; null is width / heads, and what a source has."""
    mlp: int | None = None
    """Width inside the feed-forward blocks; null is three times the width, and what a source has."""
    vocabulary: int | None = None
    """Most tokens of a tokenizer trained on the spot (null: 1536); with a source, the rows of its embedding
    table."""
    context: int | None = None
    """Most positions; null is 2048 for a stand-in, and what a source has."""
    window: int | None = None
    """Places that sliding-window layers see, for families that have them; null is the family's default."""
    dropout: float = 0.0
    """Dropout of a stand-in, wherever its family has some."""
    tied: bool = True
    """Whether a stand-in's output layer shares the embedding table."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the weights."""
    tokenizer: str = ""
    """Hub id or folder of another tokenizer; empty is the source's own, or one trained on the spot."""
    tokenizer_mode: Literal["auto", "sentencepiece"] = "auto"
    """How to read a published one: as transformers converts it, or its tokenizer.model literally (Llama's
    slow one)."""
    special_texts: tuple[str, ...] = ()
    """Pieces of the vocabulary that stand for themselves wherever a text has them, a sample's own words too
    (tokenizer_mode sentencepiece). All other special tokens do so only in what the recipe writes."""
    start_token: str = ""
    """Token that begins a sequence; empty is the tokenizer's own."""
    end_token: str = ""
    """Token that ends an answer; empty is the tokenizer's own."""
    lora: Lora | None = None
    """Low-rank adapters; null for none. They start as nothing (B = 0) and train where a stage names
    backbone.lora."""
    gradient_checkpointing: bool = False
    """Compute each layer a second time in the backward pass instead of keeping what it made: slower, less
    memory."""

    def problems(self) -> list[tuple[str, str]]:
        wrong = [
            (name, f"must be at least 1, is {value}")
            for name in ("layers", "width", "heads", "kv_heads", "head_width", "mlp", "context", "window")
            if (value := getattr(self, name)) is not None and value < 1
        ]
        if self.vocabulary is not None and self.vocabulary < 260:
            wrong.append(("vocabulary", "must be at least 260: the 256 bytes and the special tokens"))
        if not 0 <= self.dropout < 1:
            wrong.append(("dropout", f"must be from 0 to below 1, is {self.dropout}"))
        if self.lora is not None and self.lora.rank < 1:
            wrong.append(("lora", f"rank must be at least 1, is {self.lora.rank}"))
        if self.lora is not None and not 0 <= self.lora.dropout < 1:
            wrong.append(("lora", f"dropout must be from 0 to below 1, is {self.lora.dropout}"))
        for target in self.lora.targets if self.lora is not None else ():
            if target.rpartition(".")[2] in NOT_ADAPTED:
                what = f"targets: {target} is an embedding or the head; adapters go beside linear layers (q_proj, v_proj …)"
                wrong.append(("lora", what))
        if not self.source and (family := _family_problem(self.family)):
            wrong.append(("family", family))
        return wrong + foreign(self.source, "language model", ("llm",)) + self._shape_problems()

    def _shape_problems(self) -> list[tuple[str, str]]:
        width = self.width or (None if self.source else STAND_IN["width"])
        heads = self.heads or (None if self.source else STAND_IN["heads"])
        wrong = []
        if width and heads and not self.head_width and width % heads:
            wrong.append(("width", f"{width} is not a multiple of the {heads} heads"))
        if heads and self.kv_heads and heads % self.kv_heads:
            wrong.append(("kv_heads", f"{self.kv_heads} does not divide the {heads} heads"))
        return wrong


def _family_problem(family: str) -> str:
    """What is wrong with the name of a family, found by transformers' folders and without importing it."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        return ""
    models = Path(spec.submodule_search_locations[0]) / "models"
    folder = family.removesuffix("_text").replace("-", "_")
    if (models / folder / f"modeling_{folder}.py").exists():
        return ""
    close = nearest(family, [p.name for p in models.iterdir()])
    return f"transformers has no family {family!r}" + (f", did you mean {close!r}?" if close else "")


def shapes(settings: Settings, inputs: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """The LLM's width, from the settings or a local `config.json`; None where only the hub knows."""
    return {"llm": Shape(width=_width(settings))}


def _width(settings: Settings) -> int | None:
    config = Path(settings.source) / "config.json"
    if settings.source and config.is_file():
        known = read_object(config)
        inner = known.get("text_config") or {}
        width = next((where[k] for k in WIDTH_KEYS for where in (known, inner) if k in where), settings.width)
        if not isinstance(width, int | None):
            raise InputError(Problem(str(config), f"says that the model is {width!r} wide, which is no number"))
        return width
    return settings.width or (None if settings.source else STAND_IN["width"])


def build(settings: Settings, texts: Callable[[], Iterable[str]], saved: str | None) -> Backbone:
    """The backbone as an `nn.Module`; `texts` is called only where a tokenizer must be trained.

    `saved` is a folder that `save_tokenizer` wrote, or None. Raises InputError for a source that cannot be
    read and for sizes that contradict it.
    """
    from affectkit_plugins.backbones.causal_lm_net import make

    return make(settings, texts, saved)


@hookimpl
def affectkit_pieces() -> list[Piece]:
    tiny = {
        "layers": 2,
        "width": 32,
        "heads": 4,
        "kv_heads": 2,
        "vocabulary": 300,
        "context": 256,
        "lora": {"rank": 2},
    }
    return [Piece("backbone", "causal_lm", Settings, build, shapes=shapes, needs=("transformers", "peft"), tiny=tiny)]
