"""Reading Emotion-LLaMA's checkpoints, writing its feature folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from affectkit_plugins.converters._known import wrong_file
from affectkit_plugins.converters._lora_net import adapted_layers, backbone_name
from affectkit_plugins.converters.emotion_llama import Settings
from torch import Tensor

from affectkit.errors import InputError, Problem
from affectkit.interop.contract import Imported

LLM = "llama_model."
NORM = "ln_vision"
DEAD = {
    "attention.": "a head of six classes that the published code never calls",
    "visual_encoder.": "the frozen vision tower, which its own file brings",
    "emos_head.": "a head that the published code never calls",
}
WHERE_THE_NORM_LIES = "net.model.post_layernorm"


class EmotionLlama:
    """Importer of the published checkpoints and layout of the published feature folders."""

    entry = "model"
    overrides: tuple[str, ...] = ()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.recipe = settings.recipe

    def read(self, tensors: Mapping[str, Tensor]) -> Imported:
        """Account for every key; raises InputError where there is neither the patch projection nor an adapter."""
        names = {key: key.removeprefix("module.") for key in tensors}
        inner = {name.removeprefix(LLM) for name in names.values() if name.startswith(LLM)}
        adapted = adapted_layers(inner)
        if not adapted or not any(name.startswith("llama_proj.") for name in names.values()):
            what, fix = wrong_file(set(names.values()), "llama_proj.* with the adapters llama_model.*.lora_A.weight")
            raise InputError(Problem("the checkpoint", what, fix))
        found = Imported(parts_of=(self.settings.vision,))
        for key, name in names.items():
            self._place(found, key, name, tensors[key], adapted)
        self._norm(found)
        return found

    def _place(self, found: Imported, key: str, name: str, value: Tensor, adapted: set[str]) -> None:
        head, _, kind = name.rpartition(".")
        if name.endswith(".inv_freq"):
            found.unused[key] = "the rotary table, a constant"
        elif name.startswith(LLM):
            found.take(key, backbone_name(name.removeprefix(LLM), adapted), value)
        elif head in self.settings.projectors:
            found.take(key, f"{self.settings.projectors[head]}.layers.0.{kind}", value)
        elif head == NORM:
            found.take(key, f"{self.settings.vision}.{WHERE_THE_NORM_LIES}.{kind}", value)
        else:
            dead = (why for start, why in DEAD.items() if name.startswith(start))
            found.unused[key] = next(dead, "NOT KNOWN to this layout")

    def _norm(self, found: Imported) -> None:
        """No known file has the final norm of the tower; the published code then runs it without learnt gain."""
        groups = found.weights.get(f"{self.settings.projectors.get('llama_proj', '')}.layers.0.weight")
        for kind, make in (("weight", torch.ones), ("bias", torch.zeros)):
            ours = f"{self.settings.vision}.{WHERE_THE_NORM_LIES}.{kind}"
            if ours not in found.weights and groups is not None:
                value = make(groups.shape[1] // 4, device=groups.device)
                what = "1" if kind == "weight" else "0"
                found.assume(ours, value, f"set to {what}, as the published code leaves the norm of the vision tower")

    def example(self) -> dict[str, Tensor]:
        """Two layers of width 8, a tower of width 3, features of width 5."""
        layers = {f"{LLM}base_model.model.model.layers.{i}.self_attn": i for i in range(2)}
        state = {f"{at}.{p}_proj.lora_A.weight": torch.randn(2, 8) for at in layers for p in "qv"}
        state |= {f"{at}.{p}_proj.lora_B.weight": torch.randn(8, 2) for at in layers for p in "qv"}
        state |= {f"{at}.rotary_emb.inv_freq": torch.ones(4) for at in layers}
        for name, width in zip(self.settings.projectors, (12, 5, 5, 5, 3), strict=False):
            state |= {f"{name}.weight": torch.randn(8, width), f"{name}.bias": torch.randn(8)}
        return state | {"attention.fc_out.weight": torch.randn(6, 128), "attention.fc_out.bias": torch.randn(6)}

    def wants(self) -> Mapping[str, str]:
        """Folder to block."""
        return self.settings.folders

    def save(self, folder: Path, name: str, sample: str, tokens: np.ndarray, mask: np.ndarray) -> Path:
        """The mean of what is real, (d,) float32, as `name/sample.npy`."""
        path = folder / name / f"{sample}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, tokens[mask].mean(0, dtype=np.float64).astype(np.float32))
        return path
