"""Reading CTranslate2's binary files, and Whisper's names in them.

A file is little-endian: version, name of the specification, its revision, tensors (name, rank, sizes, number format, bytes,
values), and aliases; a text is its length with a final zero, and its bytes.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from affectkit_plugins.converters import _save_net
from torch import Tensor
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from affectkit.errors import InputError, Problem
from affectkit.files import read_json, read_object
from affectkit.interop.contract import Imported

VERSION = 6
FORMATS = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
"""Number formats by their codes."""
AGAIN = "fetch it again"
MULTILINGUAL = 51_865
"""The least vocabulary that has tokens of languages."""
GELU = 3
LANGUAGE = re.compile(r"<\|[a-z]{2,3}\|>")
"""How Whisper's tokens of languages look, and none of its others."""
"""The code of the activation that Whisper has."""

ATTENTION: dict[str, dict[str, tuple[str, ...]]] = {
    "self_attention": {
        "linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "linear_1": ("self_attn.out_proj",),
        "layer_norm": ("self_attn_layer_norm",),
    },
    "attention": {
        "linear_0": ("encoder_attn.q_proj",),
        "linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
        "linear_2": ("encoder_attn.out_proj",),
        "layer_norm": ("encoder_attn_layer_norm",),
    },
    "ffn": {"linear_0": ("fc1",), "linear_1": ("fc2",), "layer_norm": ("final_layer_norm",)},
}
"""By part of a layer, each of its pieces with the names that it is stacked from in transformers."""
OUTSIDE = {
    "conv1": "conv1",
    "conv2": "conv2",
    "layer_norm": "layer_norm",
    "embeddings": "embed_tokens",
    "position_encodings": "embed_positions",
}
ENDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "encodings": "weight"}
EXPECTED = {"activation": GELU, "pre_norm": 1}
"""Scalars that Whisper has no other value of."""
NOTES = ("num_heads", "alignment_heads", "alignment_layer")
"""Scalars that are no option of the network."""


class Binary:
    """A file of CTranslate2: `spec` is what it holds, `tensors` its values by name, `aliases` further names of them.

    Raises InputError where it is none, of another version, or cut.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._at = path, 0
        try:
            self._data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
        except OSError as error:
            raise InputError(Problem(str(path), f"cannot be read: {error.strerror or error}", AGAIN)) from None
        if self._data[:4].tobytes() == b"GGUF":
            raise InputError(
                Problem(str(path), "is a GGUF file, no model of CTranslate2", "affectkit convert gguf reads it")
            )
        version = self._number("I")
        self.spec = self._text() if version == VERSION else ""
        if version != VERSION:
            what = f"is of version {version:,} of CTranslate2's format; version {VERSION} is read"
            raise InputError(Problem(str(path), what, "convert the model with a CTranslate2 of version 3 or 4"))
        self._number("I")
        self.tensors = dict(self._tensor() for _ in range(self._number("I")))
        self.aliases = {self._text(): self._text() for _ in range(self._number("I"))}
        if self._at != len(self._data):
            raise InputError(Problem(str(path), f"has {len(self._data) - self._at:,} bytes behind its end", AGAIN))

    def _take(self, count: int) -> np.ndarray:
        if self._at + count > len(self._data):
            what = f"is cut: it has {len(self._data):,} bytes, and more by what it says of itself"
            raise InputError(Problem(str(self.path), what, AGAIN))
        self._at += count
        return self._data[self._at - count : self._at]

    def _number(self, code: str) -> int:
        return int(struct.unpack(f"<{code}", self._take(struct.calcsize(code)).tobytes())[0])

    def _text(self) -> str:
        return self._take(self._number("H")).tobytes().rstrip(b"\0").decode("utf-8", "replace")

    def _tensor(self) -> tuple[str, Tensor]:
        name = self._text()
        sizes = [self._number("I") for _ in range(self._number("B"))]
        code, count = self._number("B"), self._number("I")
        if code >= len(FORMATS):
            raise InputError(Problem(str(self.path), f"{name} is of a number format that is not known ({code})"))
        if count != math.prod(sizes) * FORMATS[code].itemsize:
            raise InputError(
                Problem(str(self.path), f"says of {name} that {sizes} numbers fill {count:,} bytes", AGAIN)
            )
        return name, torch.from_numpy(self._take(count).copy()).view(FORMATS[code]).reshape(sizes)


class WhisperFormat:
    """Folder of CTranslate2's Whisper to one of transformers."""

    def open(self, path: Path) -> tuple[Mapping[str, tuple[int, ...]], Imported]:
        """Every tensor of `model.bin`; see `affectkit.FileFormat`."""
        file, near = _file(path), path if path.is_dir() else path.parent
        binary = Binary(file)
        if binary.spec != "WhisperSpec":
            raise InputError(Problem(str(file), f"holds a {binary.spec!r} of CTranslate2, no Whisper"))
        _tokens(near)  # `save` needs both: what is wrong with them is said here
        _optional(near / "config.json")
        found = Imported()
        for name, value in binary.tensors.items():
            _place(found, name, value, str(file))
        for name, other in binary.aliases.items():
            found.unused[name] = f"another name of {other}, which transformers ties as well"
        shapes = {name: tuple(value.shape) for name, value in binary.tensors.items()}
        config = _config(found.weights, binary.tensors, str(file))
        with torch.device("meta"):
            _save_net.network(WhisperForConditionalGeneration, config, found.weights, str(file))
        return {**shapes, **{name: shapes.get(other, ()) for name, other in binary.aliases.items()}}, found

    def save(self, path: Path, found: Imported, folder: Path) -> None:
        """The model, its generation config, the tokenizer and the feature extractor."""
        near = path if path.is_dir() else path.parent
        tokens, beside = _tokens(near), _optional(near / "config.json")
        config = _config(found.weights, Binary(near / "model.bin").tensors, str(path))
        ids = {"bos_token_id": tokens["<|endoftext|>"], "eos_token_id": tokens["<|endoftext|>"]}
        ids |= {"pad_token_id": tokens["<|endoftext|>"], "decoder_start_token_id": tokens["<|startoftranscript|>"]}
        for name, value in ids.items():
            setattr(config, name, value)
        net = _save_net.network(WhisperForConditionalGeneration, config, found.weights, str(path))
        net.generation_config = GenerationConfig(**ids, **_generation(tokens, beside, config))
        _save_net.write(net, folder)
        WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)
        shutil.copyfile(near / "tokenizer.json", folder / "tokenizer.json")
        end = "<|endoftext|>"
        about = {
            "tokenizer_class": "WhisperTokenizer",
            "bos_token": end,
            "eos_token": end,
            "pad_token": end,
            "unk_token": end,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    def block(self, found: Imported) -> Mapping[str, object]:
        """The encoder."""
        return {"use": "whisper"}

    def example(self, folder: Path) -> Path:
        """A Whisper of one layer that knows eight tokens."""
        (folder / "model.bin").write_bytes(_example(width=64, layers=1, vocabulary=8, mels=8, positions=(10, 6)))
        texts = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
        added = [{"id": 3 + i, "content": t, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                  "normalized": False} for i, t in enumerate(texts)]  # fmt: skip
        model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "merges": []}
        (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": added, "model": model}))
        return folder


def _file(path: Path) -> Path:
    """The binary of a folder, or the file itself. Raises InputError for a folder of another kind."""
    file = path / "model.bin"
    if not path.is_dir() or file.is_file():
        return path if path.is_file() else file
    if (path / "config.json").is_file() and any(path.glob("*.safetensors")):
        what = "is a folder of converted weights already"
        raise InputError(Problem(str(path), what, f"name it in a recipe: source={path}"))
    what = "is no folder of CTranslate2: it has no model.bin"
    raise InputError(Problem(str(path), what, "such a folder holds model.bin, tokenizer.json and mostly config.json"))


def _place(found: Imported, name: str, value: Tensor, place: str) -> None:
    """One tensor under its name in transformers, or the reason why it has none."""
    side, _, rest = name.partition("/")
    if value.dim() == 0:
        _refuse_option(rest, int(value), name, place)
        found.unused[name] = "an option, as Whisper has it"
        return
    if not value.is_floating_point():
        what = f"is quantised: {name} is {str(value.dtype).removeprefix('torch.')}"
        raise InputError(Problem(place, what, "convert the model without --quantization, or with float16"))
    names = _names(side, rest)
    if not names:
        what = f"has {name}, which no Whisper of transformers has"
        raise InputError(Problem(place, what, "is it a Whisper, of an unchanged architecture?"))
    for ours, part in zip(names, value.chunk(len(names)), strict=True):
        if not ours.endswith("k_proj.bias"):
            found.take(name, ours, part.contiguous())
        elif bool(part.any()):
            raise InputError(Problem(place, f"{name} gives keys a bias, which Whisper has not"))


def _refuse_option(option: str, value: int, name: str, place: str) -> None:
    if option not in NOTES and value != EXPECTED.get(option, 0):
        raise InputError(Problem(place, f"{name} is {value}, which makes another network than Whisper"))


def _names(side: str, rest: str) -> list[str]:
    """The names in transformers of what one tensor stacks; empty where there are none.

    >>> _names("encoder", "layer_2/ffn/linear_0/bias")
    ['model.encoder.layers.2.fc1.bias']
    """
    parts = rest.split("/")
    end = ENDS.get(parts[-1])
    if side not in ("encoder", "decoder") or end is None:
        return []
    number = parts[0].removeprefix("layer_")
    if len(parts) == 2 and parts[0] in OUTSIDE:
        return [f"model.{side}.{OUTSIDE[parts[0]]}.{end}"]
    if len(parts) == 4 and number.isdigit():
        stacked = ATTENTION.get(parts[1], {}).get(parts[2], ())
        return [f"model.{side}.layers.{number}.{ours}.{end}" for ours in stacked]
    return []


def _config(weights: Mapping[str, Tensor], there: Mapping[str, Tensor], place: str) -> WhisperConfig:
    """Sizes, from the weights. Raises InputError where those that tell them are missing."""
    try:
        rows, width = weights["model.decoder.embed_tokens.weight"].shape
        places = {side: len(weights[f"model.{side}.embed_positions.weight"]) for side in ("encoder", "decoder")}
        inner = {side: len(weights[f"model.{side}.layers.0.fc1.bias"]) for side in ("encoder", "decoder")}
        mels = weights["model.encoder.conv1.weight"].shape[1]
    except KeyError as error:
        raise InputError(Problem(place, f"lacks {error.args[0]} (as transformers names it)", AGAIN)) from None
    sizes: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        heads = there.get(f"{side}/num_heads")
        sizes[f"{side}_layers"] = len({n.split(".")[3] for n in weights if n.startswith(f"model.{side}.layers.")})
        sizes[f"{side}_attention_heads"] = width // 64 if heads is None else int(heads)
        sizes[f"{side}_ffn_dim"] = inner[side]
    end: dict[str, Any] = {
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
        "decoder_start_token_id": 0,
    }
    return WhisperConfig(
        vocab_size=rows, d_model=width, num_mel_bins=mels, max_source_positions=places["encoder"],
        max_target_positions=places["decoder"], **sizes, **end,
    )  # fmt: skip


def _tokens(folder: Path) -> dict[str, int]:
    """Ids of the special tokens. Raises InputError where the tokenizer is missing or lacks them."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise InputError(
            Problem(str(path), "is missing: Whisper's tokens are read from it", "fetch it beside model.bin")
        )
    told = read_json(path)
    added = told.get("added_tokens", []) if isinstance(told, dict) else []
    found = {str(token["content"]): int(token["id"]) for token in added}
    lacks = [t for t in ("<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>") if t not in found]
    if lacks:
        raise InputError(Problem(str(path), f"is no tokenizer of Whisper: it lacks {lacks[0]}"))
    return found


def _optional(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def _generation(tokens: Mapping[str, int], beside: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """What transformers must know to write: tokens of languages and tasks, and those that are never written."""
    many = config.vocab_size >= MULTILINGUAL
    found: dict[str, Any] = {
        "is_multilingual": many,
        "max_length": config.max_target_positions,
        "no_timestamps_token_id": tokens["<|notimestamps|>"],
        "return_timestamps": False,
    }
    renamed = {"suppress_ids": "suppress_tokens", "suppress_ids_begin": "begin_suppress_tokens"}
    found |= {ours: beside[theirs] for theirs, ours in {**renamed, "alignment_heads": "alignment_heads"}.items()
              if theirs in beside}  # fmt: skip
    if "<|startofprev|>" in tokens:
        found["prev_sot_token_id"] = tokens["<|startofprev|>"]
    if many:
        spoken = set(beside.get("lang_ids", ())) or {i for token, i in tokens.items() if LANGUAGE.fullmatch(token)}
        found["lang_to_id"] = {token: i for token, i in tokens.items() if i in spoken}
        tasks = ("transcribe", "translate")
        found["task_to_id"] = {task: tokens[f"<|{task}|>"] for task in tasks if f"<|{task}|>" in tokens}
    return found


def _example(width: int, layers: int, vocabulary: int, mels: int, positions: Sequence[int]) -> bytes:
    """A file of random float16 numbers in this layout."""
    draw = np.random.default_rng(0)
    entries: dict[str, np.ndarray] = {}

    def linear(at: str, rows: int, columns: int, keys: slice = slice(0)) -> None:
        entries[f"{at}/weight"] = draw.normal(0, 0.02, (rows, columns)).astype(np.float16)
        entries[f"{at}/bias"] = draw.normal(0, 0.02, rows).astype(np.float16)
        entries[f"{at}/bias"][keys] = 0

    def norm(at: str) -> None:
        entries[f"{at}/gamma"], entries[f"{at}/beta"] = np.ones(width, np.float16), np.zeros(width, np.float16)

    for side, places in zip(("encoder", "decoder"), positions, strict=True):
        for n in range(layers):
            at = f"{side}/layer_{n}"
            linear(f"{at}/self_attention/linear_0", 3 * width, width, slice(width, 2 * width))
            linear(f"{at}/self_attention/linear_1", width, width)
            if side == "decoder":
                linear(f"{at}/attention/linear_0", width, width)
                linear(f"{at}/attention/linear_1", 2 * width, width, slice(width))
                linear(f"{at}/attention/linear_2", width, width)
                norm(f"{at}/attention/layer_norm")
            linear(f"{at}/ffn/linear_0", 2 * width, width)
            linear(f"{at}/ffn/linear_1", width, 2 * width)
            norm(f"{at}/self_attention/layer_norm")
            norm(f"{at}/ffn/layer_norm")
        norm(f"{side}/layer_norm")
        entries[f"{side}/position_encodings/encodings"] = draw.normal(0, 0.02, (places, width)).astype(np.float16)
        entries[f"{side}/num_heads"] = np.array(width // 64, np.int16)
    for name, inputs in (("conv1", mels), ("conv2", width)):
        entries[f"encoder/{name}/weight"] = draw.normal(0, 0.02, (width, inputs, 3)).astype(np.float16)
        entries[f"encoder/{name}/bias"] = np.zeros(width, np.float16)
    entries["decoder/embeddings/weight"] = draw.normal(0, 0.02, (vocabulary, width)).astype(np.float16)
    return packed(entries, {"decoder/projection/weight": "decoder/embeddings/weight"})


def packed(entries: Mapping[str, np.ndarray], aliases: Mapping[str, str], spec: str = "WhisperSpec") -> bytes:
    """Tensors in the layout of a file, for examples and tests."""
    codes = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    text: Callable[[str], bytes] = lambda t: struct.pack("<H", len(t) + 1) + t.encode() + b"\0"  # noqa: E731
    out = [struct.pack("<I", VERSION), text(spec), struct.pack("<II", 3, len(entries))]
    for name, value in entries.items():
        out += [text(name), struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)]
        out += [struct.pack("<BI", codes[value.dtype.name], value.nbytes), value.tobytes()]
    return b"".join([*out, struct.pack("<I", len(aliases)), *(text(t) for pair in aliases.items() for t in pair)])
