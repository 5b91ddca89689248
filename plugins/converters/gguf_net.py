"""GGUF files through transformers' reader, and every tensor held against it."""

from __future__ import annotations

import copy
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from affectkit_plugins._published_net import first_line, refuse_gaps
from affectkit_plugins.converters import _save_net
from affectkit_plugins.converters.gguf import Settings
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import (
    GGUF_SUPPORTED_ARCHITECTURES,
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
)

from affectkit import weight_files
from affectkit.errors import InputError, Problem
from affectkit.interop.contract import Imported

VERSIONS = (2, 3)
AGAIN = "fetch it again"
CONSTANTS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Tables of positions, which transformers computes from the configuration."""
ARCHITECTURE = "general.architecture"


class GGUFFormat:
    """A GGUF file to a folder of transformers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def open(self, path: Path) -> tuple[Mapping[str, tuple[int, ...]], Imported]:
        """Every tensor of the file as plain numbers; see `affectkit.FileFormat`."""
        reader = _reader(path)
        config = _config(path)
        state = _state(path, getattr(torch, self.settings.dtype))
        found = Imported()
        names = _names(reader, config, str(path))
        for tensor in reader.tensors:
            ours = names.get(tensor.name, "")
            if ours in state:
                found.take(tensor.name, ours, state[ours])
            elif tensor.name in CONSTANTS:
                found.unused[tensor.name] = "a table of positions, which is computed"
            else:
                what = f"has {tensor.name}, which no part of transformers' {config.model_type} takes"
                raise InputError(
                    Problem(str(path), what, "is it a language model alone, of an unchanged architecture?")
                )
        for name in state.keys() - found.weights.keys():
            found.assume(name, state[name], "joined or split from several by transformers")
        with torch.device("meta"):
            _save_net.network(AutoModelForCausalLM.from_config, config, found.weights, str(path))
        shapes = {tensor.name: tuple(int(n) for n in reversed(tensor.shape)) for tensor in reader.tensors}
        return shapes, found

    def save(self, path: Path, found: Imported, folder: Path) -> None:
        """The model and its tokenizer."""
        net = _save_net.network(AutoModelForCausalLM.from_config, _config(path), found.weights, str(path))
        _save_net.write(net, folder)
        try:
            AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name).save_pretrained(folder)
        except Exception as error:  # of any kind, by tokenizer
            what = f"its tokenizer cannot be read ({first_line(error)})"
            raise InputError(Problem(str(path), what, "name another one in backbone.tokenizer")) from error

    def block(self, found: Imported) -> Mapping[str, object]:
        """The backbone."""
        return {"use": "causal_lm"}

    def example(self, folder: Path) -> Path:
        """A Llama of one layer and nine tokens."""
        return write_example(folder / "model.gguf")


def _reader(path: Path) -> GGUFReader:
    """The file, opened. Raises InputError where it is no GGUF, of another version, cut, or of a quantisation or an architecture
    that cannot be read."""

    def wrong(what: str, fix: str = AGAIN, known: tuple[str, ...] = ()) -> InputError:
        return InputError(Problem(str(path), what, fix, known))

    weight_files.refuse_stand_in(path)
    with path.open("rb") as file:
        start = file.read(8)
    if not start.startswith(b"GGUF"):
        raise wrong(f"is no GGUF file: it begins with {start[:4]!r}")
    if len(start) == 8 and (version := struct.unpack("<I", start[4:])[0]) not in VERSIONS:
        raise wrong(f"is of version {version:,} of GGUF; versions {VERSIONS[0]} and {VERSIONS[1]} are read", "")
    try:
        reader = GGUFReader(path)
        kind = reader.fields[ARCHITECTURE].contents()
    except KeyError:
        raise wrong(f"does not say its {ARCHITECTURE}") from None
    except ValueError as error:
        if "GGMLQuantizationType" in str(error):
            code = re.findall(r"\d+", str(error).partition(" is not")[0])[-1]
            raise wrong(
                f"holds numbers of a quantisation that is not known ({code})", "upgrade the package gguf"
            ) from None
        raise wrong(f"is cut or broken ({first_line(error)})") from None
    except Exception as error:  # a cut header leads the reader into errors of any kind
        raise wrong(f"is cut or broken ({first_line(error)})") from None
    if not reader.tensors:
        raise wrong("holds no weights")
    if _plain(kind) not in map(_plain, GGUF_SUPPORTED_ARCHITECTURES):
        what = f"holds a {kind!r}, an architecture that transformers does not read from GGUF"
        raise wrong(what, "fetch the model as safetensors", tuple(sorted(GGUF_SUPPORTED_ARCHITECTURES)))
    return reader


def _plain(architecture: str) -> str:
    """Spelt without what llama.cpp and transformers spell differently."""
    return architecture.replace("-", "").replace("_", "")


def _config(path: Path) -> Any:
    """What the file says of sizes, without its quantisation."""
    try:
        config = copy.deepcopy(AutoConfig.from_pretrained(str(path.parent), gguf_file=path.name))
    except Exception as error:  # missing metadata leads transformers into errors of any kind
        raise InputError(Problem(str(path), f"its sizes cannot be read ({first_line(error)})", AGAIN)) from error
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return config


def _state(path: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The weights by transformers' names, each once. Raises InputError where transformers cannot read them, or lacks some."""
    kind: Any = AutoModelForCausalLM
    try:
        net, told = kind.from_pretrained(str(path.parent), gguf_file=path.name, dtype=dtype, output_loading_info=True)
    except NotImplementedError as error:
        what = f"holds numbers of a quantisation that cannot be turned into plain ones ({first_line(error)})"
        raise InputError(Problem(str(path), what, "upgrade the package gguf, or fetch another quantisation")) from error
    except Exception as error:  # of any kind, by architecture
        raise InputError(Problem(str(path), f"cannot be read ({first_line(error)})", AGAIN)) from error
    refuse_gaps(str(path), str(path), told, net.state_dict())
    own = dict(net.named_parameters())  # each tied one once
    own |= {name: value for name, value in net.named_buffers() if name in net.state_dict()}
    return {name: value.detach() for name, value in own.items()}


def _names(reader: GGUFReader, config: Any, place: str) -> dict[str, str]:
    """Each tensor's name in transformers, by its name in the file."""
    kind = reader.fields[ARCHITECTURE].contents()
    with torch.device("meta"):
        net = AutoModelForCausalLM.from_config(config)
    processor = TENSOR_PROCESSORS.get(kind, TensorProcessor)(config=config.to_dict())
    try:
        names: dict[str, str] = get_gguf_hf_weights_map(net, processor)
    except NotImplementedError as error:
        raise InputError(Problem(place, first_line(error), "upgrade the package gguf")) from error
    return names


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
