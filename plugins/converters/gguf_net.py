"""GGUF files through transformers' reader, and every tensor held against it.

What can be told from the header (`_gguf_header`) is told before any tensor is read: transformers fills what it lacks with its own
defaults, and speaks of other sizes by its own names.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from affectkit_plugins._published_net import first_line, refuse_gaps, without_report
from affectkit_plugins.converters import _save_net
from affectkit_plugins.converters._gguf_header import Header, read_header
from affectkit_plugins.converters.gguf import Settings
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import (
    GGUF_TO_TRANSFORMERS_MAPPING,
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
)

from affectkit.errors import InputError, Problem
from affectkit.interop.contract import Imported

CONSTANTS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Tables of positions, which transformers computes from the configuration."""
_TABLES: Any = GGUF_TO_TRANSFORMERS_MAPPING
MAPPINGS: dict[str, dict[str, str | None]] = {
    name: keys for name, keys in _TABLES["config"].items() if "block_count" in keys
}
"""By architecture, the notes that transformers reads its sizes from; two entries of its table are of no architecture."""
SIZES = ("embedding_length", "block_count", "attention.head_count")
"""Notes that no file of an architecture that has them leaves out; transformers would take defaults, in silence."""
TOKENS = ("tokenizer.ggml.model", "tokenizer.ggml.tokens")
TURNED = ("gpt2", "mamba", "lfm2")
"""Architectures of which transformers turns tensors, or gives them a size of one more."""
OTHER = "fetch the model as safetensors, or another GGUF of it"


class GGUFFormat:
    """A GGUF file to a folder of transformers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def open(self, path: Path) -> tuple[Mapping[str, tuple[int, ...]], Imported]:
        """Every tensor of the file as plain numbers; see `affectkit.FileFormat`."""
        _refuse_folder(path)
        header = read_header(path)
        _refuse_strange(header, path)
        config = _config(path)
        names = _places(header, config, str(path))
        _tokenizer(path)
        state = _state(path, getattr(torch, self.settings.dtype))
        found = Imported()
        for name in header.tensors:
            ours = names.get(name, "")
            if ours in state:
                found.take(name, ours, state[ours])
            elif name in CONSTANTS:
                found.unused[name] = "a table of positions, which is computed"
            else:
                what = f"has {name}, which transformers' {config.model_type} did not take"
                raise InputError(Problem(str(path), what, OTHER))
        for name in state.keys() - found.weights.keys():
            found.assume(name, state[name], "joined or split from several by transformers")
        with torch.device("meta"):
            _save_net.network(AutoModelForCausalLM.from_config, config, found.weights, str(path))
        if header.spare:
            found.notes.append(f"{header.spare:,} bytes behind the last tensor are not read")
        return {name: entry.shape for name, entry in header.tensors.items()}, found

    def save(self, path: Path, found: Imported, folder: Path) -> None:
        """The model and its tokenizer."""
        net = _save_net.network(AutoModelForCausalLM.from_config, _config(path), found.weights, str(path))
        _tokenizer(path).save_pretrained(folder)
        with _silence():
            _save_net.write(net, folder)

    def block(self, found: Imported) -> Mapping[str, object]:
        """The backbone."""
        return {"use": "causal_lm"}

    def example(self, folder: Path) -> Path:
        """A Llama of one layer and nine tokens."""
        return write_example(folder / "model.gguf")


def _silence() -> redirect_stderr[StringIO]:
    """Without the bars of transformers, which know no other switch for all of them: the account is what is shown."""
    return redirect_stderr(StringIO())


def _refuse_folder(path: Path) -> None:
    if not path.is_dir():
        return
    files = tuple(sorted(p.name for p in path.glob("*.gguf")))
    if (path / "config.json").is_file() and not files:
        what = "is a folder of converted weights already"
        raise InputError(Problem(str(path), what, f"name it in a recipe: source={path}"))
    fix = f"name the file: {path / files[0]}" if files else "name a file of GGUF"
    raise InputError(Problem(str(path), "is a folder, and a GGUF is one file", fix, files))


def _refuse_strange(header: Header, path: Path) -> None:
    """Raises InputError for an architecture or a quantisation that cannot be read, and for a file that does not say its sizes
    or has no tokenizer."""
    kind, place = header.architecture, str(path)
    mapping = next((keys for name, keys in MAPPINGS.items() if _plain(name) == _plain(kind)), None)
    if mapping is None:
        what = f"holds a {kind!r}, an architecture that transformers does not read from GGUF"
        raise InputError(Problem(place, what, "fetch the model as safetensors", tuple(sorted(MAPPINGS))))
    lacks = [f"{kind}.{key}" for key in SIZES if mapping.get(key) and f"{kind}.{key}" not in header.notes]
    if lacks:
        what = f"does not say its {', '.join(lacks)}, without which the network's sizes are not known"
        raise InputError(Problem(place, what, OTHER))
    if silent := [key for key in TOKENS if not header.notes.get(key)]:
        raise InputError(Problem(place, f"holds no tokenizer: it has no {silent[0]}", OTHER))
    for name, entry in {entry.kind: (name, entry) for name, entry in header.tensors.items()}.values():
        try:  # zeros show it as well as what is there
            dequantize(np.zeros(GGML_QUANT_SIZES[entry.kind][1], np.uint8), entry.kind)
        except NotImplementedError:
            what = f"holds {name} as {entry.kind.name}, a quantisation that cannot be turned into plain numbers"
            raise InputError(Problem(place, what, "upgrade the package gguf, or fetch another quantisation")) from None


def _plain(architecture: str) -> str:
    """Spelt without what llama.cpp and transformers spell differently."""
    return architecture.replace("-", "").replace("_", "")


def _config(path: Path) -> Any:
    """What the file says of sizes, without its quantisation."""
    try:
        config = copy.deepcopy(AutoConfig.from_pretrained(str(path.parent), gguf_file=path.name))
    except Exception as error:  # odd metadata leads transformers into errors of any kind
        raise InputError(Problem(str(path), f"its sizes cannot be read ({first_line(error)})", OTHER)) from error
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return config


def _places(header: Header, config: Any, place: str) -> dict[str, str]:
    """Each tensor's name in transformers, by its name in the file. Raises InputError, in the file's own names, where tensors are
    missing, have no place, or are of other sizes than the notes of the file make."""
    try:
        with torch.device("meta"):
            net = AutoModelForCausalLM.from_config(config)
            net.tie_weights()
    except Exception as error:  # sizes that do not go together lead it into errors of any kind
        what = f"says sizes that make no {config.model_type} ({first_line(error)})"
        raise InputError(Problem(place, what, OTHER)) from error
    processor = TENSOR_PROCESSORS.get(header.architecture, TensorProcessor)(config=config.to_dict())
    try:
        names: dict[str, str] = get_gguf_hf_weights_map(net, processor)
    except NotImplementedError as error:
        raise InputError(Problem(place, first_line(error), "upgrade the package gguf")) from error
    own = dict(net.named_parameters())  # each tied one once
    lost = {ours: theirs for theirs, ours in names.items() if ours in own}
    for theirs in header.tensors:
        lost.pop(names.get(theirs, ""), None)
    odd = [name for name in header.tensors if name not in names and name not in CONSTANTS]
    problems = []
    if lost:
        also = f", and has {_some(odd)}, which no part of it takes" if odd else ""
        what = f"lacks {_some(list(lost.values()))}, which transformers' {config.model_type} wants{also}"
        problems.append(Problem(place, what, OTHER))
    elif odd:
        what = f"has {_some(odd)}, which no part of transformers' {config.model_type} takes"
        problems.append(Problem(place, what, "is it a language model alone, of an unchanged architecture?"))
    if wrong := _other_sizes(header, names, own):
        what = f"holds {_some(wrong)} by the sizes that it says of its {header.architecture}"
        problems.append(Problem(place, what, OTHER))
    if problems:
        raise InputError(problems)
    return names


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _other_sizes(header: Header, names: Mapping[str, str], own: Mapping[str, nn.Parameter]) -> list[str]:
    """Tensors that are not of the sizes of what they go into, in words; those that are joined to one are not compared."""
    several = Counter(names.values())
    wrong = []
    for name, entry in header.tensors.items():
        ours = names.get(name, "")
        if ours not in own or several[ours] > 1:
            continue
        there, here = entry.shape, tuple(own[ours].shape)
        if header.architecture in TURNED:
            there, here = (tuple(sorted(n for n in shape if n != 1)) for shape in (there, here))
        if there != here:
            wrong.append(f"{name} of {entry}, which is {' x '.join(map(str, own[ours].shape))}")
    return wrong


def _tokenizer(path: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    except Exception as error:  # of any kind, by tokenizer
        what = f"its tokenizer cannot be read ({first_line(error)})"
        raise InputError(Problem(str(path), what, OTHER)) from error


def _state(path: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The weights by transformers' names, each once. Raises InputError where transformers cannot read them, or lacks some."""
    kind: Any = AutoModelForCausalLM
    options = {"dtype": dtype, "output_loading_info": True, "ignore_mismatched_sizes": True}  # they are named below
    try:
        with without_report(), _silence():
            net, told = kind.from_pretrained(str(path.parent), gguf_file=path.name, **options)
    except Exception as error:  # of any kind, by architecture
        raise InputError(Problem(str(path), f"cannot be read ({first_line(error)})", OTHER)) from error
    refuse_gaps(str(path), str(path), told, net.state_dict())
    own = dict(net.named_parameters())  # each tied one once
    own |= {name: value for name, value in net.named_buffers() if name in net.state_dict()}
    return {name: value.detach() for name, value in own.items()}


def write_example(
    path: Path, kind: str = "llama", types: Mapping[str, tuple[np.ndarray, GGMLQuantizationType | None]] | None = None
) -> Path:
    """The smallest GGUF of a Llama, for the contract test and others; `types` stand in for tensors of these names, or beside
    them: values as they lie in the file, and their quantisation."""
    tokens = ["<unk>", "<s>", "</s>", *"abcde", "ab"]
    width, draw = 32, np.random.default_rng(0)
    writer = GGUFWriter(path, kind)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([2, 3, 3, *[1] * 6])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    half = width // 2
    sizes = {"token_embd": (len(tokens), width), "output_norm": (width,), "blk.0.attn_norm": (width,), "blk.0.ffn_norm": (width,),
             "blk.0.attn_q": (width, width), "blk.0.attn_k": (half, width), "blk.0.attn_v": (half, width),
             "blk.0.attn_output": (width, width), "blk.0.ffn_gate": (32, width), "blk.0.ffn_up": (32, width),
             "blk.0.ffn_down": (width, 32)}  # fmt: skip
    tensors = {f"{name}.weight": draw.normal(0, 0.1, size).astype(np.float32) for name, size in sizes.items()}
    for name, (value, quantised) in ({n: (v, None) for n, v in tensors.items()} | dict(types or {})).items():
        writer.add_tensor(name, value, raw_dtype=quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
