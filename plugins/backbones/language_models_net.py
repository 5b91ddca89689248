"""Configs and weights of transformers' causal language models; adapters; the checks of packing and cache."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from affectkit_plugins._published_net import first_line, published
from affectkit_plugins.backbones import packed_attention_net as packed
from affectkit_plugins.backbones.causal_lm import STAND_IN, Lora, Settings
from affectkit_plugins.backbones.reading_net import PromptReader, cache_name
from torch import Tensor, nn

from affectkit.errors import InputError, Problem, unknown

log = logging.getLogger(__name__)

SIZES = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_width": "head_dim",
    "mlp": "intermediate_size",
    "context": "max_position_embeddings",
    "window": "sliding_window",
    "vocabulary": "vocab_size",
}
"""Our settings and what transformers calls them in a config; families that call them otherwise map these
names in the `attribute_map` of their config."""

DROPOUTS = (
    "attention_dropout",
    "attn_pdrop",
    "resid_pdrop",
    "embd_pdrop",
    "dropout",
    "hidden_dropout",
    "activation_dropout",
)

SMALL = {
    "hidden_size": 64, "word_embed_proj_dim": 64, "intermediate_size": 64, "moe_intermediate_size": 32,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64,
    "mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_chunk_size": 16,
}  # fmt: skip
"""Widths of the copy that the checks run."""

NEAR = 1e-4
"""How far two ways to the same logits may differ, of the largest."""

PROBE_STEPS = 3
"""Turns of the check of the cache: the prompts, and a step for each later one."""

PROBE_LENGTHS = (5, 1, 9, 3)
"""Samples of the checks: one shorter and one longer than its window of 4, and one of a single token.
"""


def stand_in_config(settings: Settings, rows: int) -> Any:
    """A config of the family with the settings' sizes and an embedding table of `rows` rows."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if settings.family not in CONFIG_MAPPING:
        raise InputError(unknown("backbone.family", "family of transformers", settings.family, CONFIG_MAPPING.keys()))
    sizes = {name: getattr(settings, name) for name in SIZES}
    sizes |= {name: value for name, value in STAND_IN.items() if sizes[name] is None}
    sizes |= {
        "vocabulary": rows,
        "mlp": settings.mlp or 3 * sizes["width"],
        "kv_heads": settings.kv_heads or sizes["heads"],
    }
    kind = CONFIG_MAPPING[settings.family]
    blank = kind()
    known: dict[str, Any] = {SIZES[n]: v for n, v in sizes.items() if v is not None and _has(blank, SIZES[n])}
    if _has(blank, "head_dim"):
        known["head_dim"] = settings.head_width or sizes["width"] // sizes["heads"]
    if _has(blank, "word_embed_proj_dim"):
        known["word_embed_proj_dim"] = sizes["width"]
    if settings.window is not None and _has(blank, "use_sliding_window"):
        known |= {"use_sliding_window": True, "max_window_layers": 0}
    known |= {name: settings.dropout for name in DROPOUTS if _has(blank, name)}
    # The tokenizer is another one, so the family's ids of special tokens mean nothing here.
    known |= {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    return kind(**known | {"tie_word_embeddings": settings.tied})


def published_config(settings: Settings) -> Any:
    """The config of `settings.source`; raises InputError where there is none or where sizes in the recipe
    contradict it."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(settings.source, trust_remote_code=False)
    except Exception as cause:  # a broken file leads the reader into errors of any kind
        what = f"cannot read a model from {settings.source!r}: {first_line(cause)}"
        fix = "give a local folder in save_pretrained layout, or say run.weights=random"
        raise InputError(Problem("backbone.source", what, fix)) from cause
    problems = []
    for name, theirs in SIZES.items():
        want, have = getattr(settings, name), getattr(config.get_text_config(), theirs, None)
        if want is not None and have is not None and want != have:
            fix = f"leave backbone.{name} out, or write {have}"
            problems.append(Problem(f"backbone.{name}", f"the recipe says {want}, {settings.source} has {have}", fix))
    if problems:
        raise InputError(problems)
    return config


def from_config(config: Any, dtype: torch.dtype, packed_attention: bool) -> nn.Module:
    """A model with random weights, drawn from torch's generator."""
    from transformers import AutoModelForCausalLM

    name = packed.register() if packed_attention else None
    return AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=dtype, attn_implementation=name)


def from_published(source: str, dtype: torch.dtype, packed_attention: bool) -> nn.Module:
    """The model with the published weights; raises InputError where they cannot be read, or not all are there."""
    from transformers import AutoModelForCausalLM

    name = packed.register() if packed_attention else None
    options = {"dtype": dtype, "attn_implementation": name}
    fix = "give a folder that has model.safetensors"
    model: nn.Module = published(AutoModelForCausalLM, source, "backbone.source", options, fix)
    return model


LENGTHENED = ("linear", "dynamic", "yarn")
"""Ways to stretch rotary positions of which a config may name the places before the stretch."""


def context_of(config: Any) -> int | None:
    """How many places a model of this config may read; None where the config names no limit."""
    text = config.get_text_config()
    places = getattr(text, "max_position_embeddings", None)
    if not isinstance(places, int) or places < 1:
        return None
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    if rope.get("rope_type", rope.get("type")) in LENGTHENED:
        before = rope.get("original_max_position_embeddings") or places
        places = max(places, int(before * rope.get("factor", 1.0)))
    return places


def checkpoint_layers(model: nn.Module) -> None:
    """Have each layer computed a second time in the backward pass instead of kept."""
    newer = getattr(model, "activation_checkpointing_enable", None)  # the older name warns from transformers 5.2x on
    (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})  # type: ignore[operator]


def with_lora(model: nn.Module, lora: Lora) -> nn.Module:
    """The model wrapped by peft, in place; adapters add nothing yet.

    peft freezes what it wraps. That is undone: what trains is for the stages of a recipe to say.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) or "all-linear",
        fan_in_fan_out=any(type(m).__name__ == "Conv1D" for m in model.modules()),
    )
    _refuse_targets(model, lora.targets)
    with warnings.catch_warnings():  # peft still asks transformers by a name that is on its way out
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        wrapped = get_peft_model(model, config)
    return wrapped.requires_grad_(True)


def _refuse_targets(model: nn.Module, targets: Sequence[str]) -> None:
    """Raises InputError for a name that no layer has, and for one of a layer that is not linear, or is the head."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    layers = {n: m for n, m in model.named_modules() if n}
    linear = [
        n for n, m in layers.items() if (isinstance(m, nn.Linear) or type(m).__name__ == "Conv1D") and m is not head
    ]
    known = tuple(sorted({name.rpartition(".")[2] for name in linear}))
    problems = []
    for target in targets:
        meant = [name for name in layers if f".{name}".endswith(f".{target}")]
        strange = sorted(set(meant).difference(linear))
        if not meant:
            problems.append(Problem("backbone.lora.targets", f"the model has no layer named {target}", known=known))
        elif strange:
            kind = (
                "the head" if layers[strange[0]] is head else f"a layer of the kind {type(layers[strange[0]]).__name__}"
            )
            what = f"{target} is {kind} ({strange[0]}): adapters go beside the linear layers inside"
            problems.append(Problem("backbone.lora.targets", what, known=known))
    if problems:
        raise InputError(problems)


def refuse_others(config: Any, place: str) -> None:
    """Raises InputError for a network that writes no text word after word: one with an encoder of its own beside the decoder, or
    one that sees what comes after a word, and would learn to copy it."""
    why = ""
    if getattr(config, "is_encoder_decoder", False):
        why = "its decoder reads an encoder of its own, and a prompt does not go there"
    elif _looks_ahead(config):
        why = "what comes after a word changes what it makes of it"
    if why:
        what = f"{config.model_type} is no language model that goes on with a text: {why}"
        raise InputError(Problem(place, what, "give a causal language model (LlamaForCausalLM, Qwen2ForCausalLM, …)"))


def _looks_ahead(config: Any) -> bool:
    """Whether, in a small copy of the model, another last word changes what comes of those before it."""
    try:
        with torch.no_grad(), torch.device("cpu"), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            small = small_copy(config, SMALL)
            model = from_config(small, torch.float32, packed_attention=False).eval()
            ids = torch.arange(8)
            one, other = (_logits(model, torch.cat([ids, torch.tensor([last])]), None, None)[:-1] for last in (9, 10))
            return bool((one - other).abs().max() >= NEAR * one.abs().max())
    except Exception:  # a family that cannot be made small, or is built otherwise
        return False


def packs(config: Any) -> bool:
    """Whether a family isolates packed samples: a small copy of the model, packed, against its own attention,
    unpacked.

    The copy has the config's kinds of layers, grouped heads and window at small sizes, and weights large
    enough that a leak shows. A family that passes a forward's arguments on to our attention, and takes
    positions from `position_ids`, passes. Where a family cannot be made small, its layers are tried at their
    own width.
    """
    said = "{family} cannot keep packed samples apart ({why}), so it runs one sample a row"
    return _passes(config, _keeps_apart, said)


def carries(config: Any, packed_attention: bool) -> bool:
    """Whether a family's cache is understood: tokens read one by one from it, against the whole read at every turn.

    Run on the same small copy as `packs`.
    """
    said = (
        "the cache of {family} is not understood ({why}), so answers are written the slow way: for every token the whole "
        "is read again"
    )
    return _passes(config, lambda small: _goes_on(small, packed_attention), said)


def _passes(config: Any, check: Callable[[Any], bool], said: str) -> bool:
    """Whether a check passes; where it does not, that is `said`, with the reason."""
    why = "it does not give what the plain way gives"
    for widths in (SMALL, {}):
        try:
            with torch.device("cpu"), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.manual_seed(0)
                if check(small_copy(config, widths)):
                    return True
            break
        except NotImplementedError as cause:
            why = str(cause)
            break
        except Exception as cause:  # families differ in more ways than can be listed; one that fails runs the slow way
            why = repr(cause)
    log.warning("backbone: %s", said.format(family=config.model_type, why=why))
    return False


@torch.no_grad()
def _keeps_apart(config: Any) -> bool:
    model = from_config(config, torch.float32, packed_attention=True).eval()
    if not model._can_set_attn_implementation():  # type: ignore[operator]
        return False
    ids = torch.randint(0, config.vocab_size, (sum(PROBE_LENGTHS),))
    positions = torch.cat([torch.arange(n) for n in PROBE_LENGTHS])
    together = _logits(model, ids, positions, packed.Packed(PROBE_LENGTHS))
    model.set_attn_implementation("eager")  # type: ignore[operator]
    alone = torch.cat([_logits(model, part, None, None) for part in ids.split(PROBE_LENGTHS)])
    return bool((together - alone).abs().max() < NEAR * alone.abs().max())


@torch.no_grad()
def _goes_on(config: Any, packed_attention: bool) -> bool:
    model = from_config(config, torch.float32, packed_attention).eval()
    embed: nn.Embedding = model.get_input_embeddings()  # type: ignore[operator]
    ids = torch.randint(0, config.vocab_size, (sum(PROBE_LENGTHS),))
    prompts = embed(ids).split(PROBE_LENGTHS if packed_attention else [len(ids)])
    name = cache_name(model)
    readers = [PromptReader(model, packed_attention, cache, prompts) for cache in (name, None)]
    for token in torch.randint(0, config.vocab_size, (PROBE_STEPS, len(prompts))):
        cached, whole = (reader.logits() for reader in readers)
        if (cached - whole).abs().max() >= NEAR * whole.abs().max():
            return False
        for reader in readers:
            reader.add(embed(token))
    return name is not None


def _logits(model: nn.Module, ids: Tensor, positions: Tensor | None, layout: packed.AttentionLayout | None) -> Tensor:
    more = {} if layout is None or positions is None else {"position_ids": positions[None], "layout": layout}
    embeds = model.get_input_embeddings()(ids[None])  # type: ignore[operator]
    return model(inputs_embeds=embeds, use_cache=False, **more).logits[0].float()


def small_copy(config: Any, widths: dict[str, int]) -> Any:
    """The config at small sizes: every kind of layer, the grouping of heads and the window stay."""
    small = copy.deepcopy(config.get_text_config())
    types = list(getattr(small, "layer_types", None) or ())
    kinds = list(dict.fromkeys(types))
    sizes = widths | {"vocab_size": 64, "sliding_window": 4, "num_hidden_layers": max(2, len(kinds))}
    heads: Any = getattr(small, "num_attention_heads", None)  # state space models have none
    if getattr(small, "num_key_value_heads", None) == heads:
        sizes |= {"num_key_value_heads": sizes.get("num_attention_heads", heads)}
    for name, value in sizes.items():
        if _has(small, name) and getattr(small, name) is not None:
            setattr(small, name, value)
    if kinds:
        try:
            small.layer_types = kinds if len(kinds) > 1 else kinds * 2
        except AttributeError:  # told from the number of layers: so many that each kind is there
            small.num_hidden_layers = max(2, *(types.index(kind) + 1 for kind in kinds))
    small.pad_token_id = small.bos_token_id = small.eos_token_id = None
    small.initializer_range = 0.2
    return small


def _has(config: Any, name: str) -> bool:
    """Whether a config has a setting of that name, or maps the name to one of its own."""
    return name in config.to_dict() or name in config.attribute_map
