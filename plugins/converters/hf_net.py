"""Writing a language model as transformers and peft lay it out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from affectkit_plugins.converters import _licences
from affectkit_plugins.converters.hf import Settings
from torch import Tensor

from affectkit.api import LoadedRun
from affectkit.errors import InputError, Problem
from affectkit.interop.export import trains_whole

MERGED = """
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
"""
ADAPTER = """
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained({base})
model = PeftModel.from_pretrained(base, folder)  # AutoPeftModelForCausalLM does too, while the base lies where it lay
tokenizer = AutoTokenizer.from_pretrained(folder)
"""


class HuggingFace:
    """Exporter of the language model."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._base = ""

    def write(self, loaded: LoadedRun, folder: Path) -> Mapping[str, str]:
        """The model (or adapter, and base where it is the run's own) and the tokenizer."""
        if loaded.plan.alone:
            what = f"the run has no language model, which is all that hf writes: {', '.join(loaded.plan.heads)} answer alone"
            raise InputError(Problem("backbone", what, "hand on the run folder: affectkit.load and predict read it"))
        backbone: Any = loaded.model.llm
        core: Any = getattr(backbone, "core", None)
        lm: Any = getattr(backbone, "lm", None)
        if core is None or not hasattr(core, "save_pretrained"):
            what = f"the backbone {loaded.plan.backbone.piece.name!r} is no model of transformers"  # type: ignore[union-attr]
            raise InputError(Problem("backbone", what, "export a run of a backbone that is one"))
        adapted = lm is not core
        if self.settings.lora == "adapter" and not adapted:
            fix = "export it without --adapter"
            raise InputError(Problem("backbone.lora", "this run's language model has no adapter", fix))
        written: dict[str, str] = {}
        if self.settings.lora == "merge":
            save(core, folder, plain_weights(core, add=True), backbone)
            written["*.safetensors, config.json"] = "the language model" + (", LoRA merged" if adapted else "")
        else:
            lm.save_pretrained(folder)
            written["adapter_model.safetensors, adapter_config.json"] = "the low-rank adapter"
            source = str(core.config.name_or_path)
            self._base, base = repr(source), source
            if trains_whole(loaded):
                save(core, folder / "base", plain_weights(core, add=False), backbone)
                written["base/"] = "the language model that the adapter belongs to"
                self._base, base = 'f"{folder}/base"', str(folder / "base")
            # a relative path would be looked for in the folder that Python runs in, and then on the hub
            _point(folder / "adapter_config.json", str(Path(base).resolve()) if Path(base).exists() else base)
        save_tokenizer(backbone, folder)
        if (folder / "base").is_dir():
            save_tokenizer(backbone, folder / "base")
        return {**written, "tokenizer*": "the tokenizer"}

    def usage(self) -> str:
        """Their own calls."""
        return MERGED if self.settings.lora == "merge" else ADAPTER.replace("{base}", self._base)

    def terms(self, sources: Sequence[str]) -> Mapping[str, str]:
        """Of the published parts that we know."""
        return _licences.terms(sources)


def plain_weights(core: Any, add: bool) -> dict[str, Tensor]:
    """The state of a model as if peft had never wrapped its layers, with (`add`) or without what the adapters add."""
    from peft.tuners.lora import LoraLayer

    layers: dict[str, Any] = {n: module for n, module in core.named_modules() if isinstance(module, LoraLayer)}
    state: dict[str, Tensor] = {}
    for key, value in core.state_dict().items():
        if ".lora_" in key:
            continue
        owner, _, rest = key.rpartition(".base_layer.")
        if add and owner in layers and rest == "weight":
            update = sum(layers[owner].get_delta_weight(a).float() for a in layers[owner].active_adapters)
            value = (value.float() + update).to(value.dtype)
        state[key.replace(".base_layer.", ".")] = value
    return state


def save(core: Any, folder: Path, state: Mapping[str, Tensor], backbone: Any) -> None:
    """Weights and configuration; ends of answers are those that our backbone stops at."""
    folder.mkdir(exist_ok=True)
    core.save_pretrained(folder, state_dict=dict(state))
    known = {"bos_token_id": backbone.start_ids[:1], "eos_token_id": backbone.end_ids[:1]}
    values = {name: ids[0] for name, ids in known.items() if ids}
    for file in (folder / "config.json", folder / "generation_config.json"):
        if file.is_file():
            note = json.loads(file.read_text(encoding="utf-8"))
            file.write_text(json.dumps({**note, **values}, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def save_tokenizer(backbone: Any, folder: Path) -> None:
    """The tokenizer's own files. Where ours reads a `tokenizer.model` literally, transformers converts it when it loads."""
    backbone.save_tokenizer(str(folder))


def _point(config: Path, base: str) -> None:
    note = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**note, "base_model_name_or_path": base}, indent=2, sort_keys=True), encoding="utf-8")
