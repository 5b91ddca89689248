"""Reading AffectGPT's checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from affectkit_plugins.converters._known import wrong_file
from affectkit_plugins.converters._lora_net import adapted_layers, backbone_name
from affectkit_plugins.converters._qformer_names import STRANGE, place
from affectkit_plugins.converters.affectgpt import Settings
from torch import Tensor

from affectkit.errors import InputError, Problem
from affectkit.interop.contract import Imported

LLM = "llama_model."
STILLS = (
    "image_llama_proj.",
    "image_attention_mlp.",
    "image_Qformer.",
    "image_query_tokens",
    "image_position_embedding.",
)


@dataclass(frozen=True)
class ProjectionNames:
    """The names of one of the three projections in the file."""

    linears: Mapping[str, str]
    """A linear layer to its name in our step."""
    weights: str
    """The layer that only the projection by attention has."""
    projection: str
    """The last layer, which every kind has."""
    body: str
    queries: str
    positions: str


LAYOUTS = {
    "video": ProjectionNames(
        {"video_attention_mlp": "score", "affectgpt_proj": "projector"}, "video_attention_mlp", "affectgpt_proj",
        "video_Qformer", "video_query_tokens", "video_frame_position_embedding",
    ),
    "audio": ProjectionNames(
        {"audio_attention_mlp": "score", "audio_llama_proj": "projector"}, "audio_attention_mlp", "audio_llama_proj",
        "audio_Qformer", "audio_query_tokens", "audio_position_embedding",
    ),
    "multi": ProjectionNames(
        {"multi_video_embs": "video_width", "multi_audio_embs": "audio_width", "attention_mlp": "mix", "fc_att": "weigh",
         "multi_llama_proj": "projector"}, "fc_att", "multi_llama_proj",
        "multi_Qformer", "multi_query_tokens", "multi_position_embedding",
    ),
}  # fmt: skip


class AffectGPT:
    """Importer of the published checkpoints."""

    entry = "model"
    overrides: tuple[str, ...] = ()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.recipe = settings.recipe

    def read(self, tensors: Mapping[str, Tensor]) -> Imported:
        """Account for every key; raises InputError where there are no projections beside adapters."""
        named = {key.removeprefix("module."): key for key in tensors}
        adapted = adapted_layers({name.removeprefix(LLM) for name in named if name.startswith(LLM)})
        if not adapted or not any(f"{part.projection}.weight" in named for part in LAYOUTS.values()):
            wanted = "affectgpt_proj.*, audio_llama_proj.* or multi_llama_proj.* with the adapters "
            what, fix = wrong_file(set(named), f"{wanted}llama_model.*.lora_A.default.weight")
            raise InputError(Problem("the checkpoint", what, fix))
        state = {name: tensors[key] for name, key in named.items()}
        found = Imported(overrides=tuple(text for part in LAYOUTS if (text := self._step(part, state))))
        for name, key in named.items():
            self._place(found, key, name, tensors[key], adapted)
        return found

    def _place(self, found: Imported, key: str, name: str, value: Tensor, adapted: set[str]) -> None:
        if name.endswith(".inv_freq"):
            found.unused[key] = "the rotary table, a constant"
        elif name.startswith(LLM):
            found.take(key, backbone_name(name.removeprefix(LLM), adapted), value)
        elif name.startswith(STILLS):
            found.unused[key] = "the projection of still images, which no clip goes through"
        elif not any(self._in_part(found, key, name, value, part) for part in LAYOUTS):
            found.unused[key] = STRANGE

    def _in_part(self, found: Imported, key: str, name: str, value: Tensor, part: str) -> bool:
        """Whether the key belongs to this projection; it is then taken, or its reason noted."""
        layout, step = LAYOUTS[part], self.settings.steps[part]
        head, _, kind = name.rpartition(".")
        if head in layout.linears:
            found.take(key, f"{step}.{layout.linears[head]}.{kind}", value)
        elif name == layout.queries:
            found.take(key, f"{step}.qformer.queries", value)
        elif head == layout.positions:
            found.take(key, f"{step}.positions.{kind}", value)
        elif name.startswith(f"{layout.body}."):
            place(found, key, name.removeprefix(f"{layout.body}."), value, f"{step}.qformer.model", text=False)
        else:
            return False
        return True

    def _step(self, part: str, state: Mapping[str, Tensor]) -> str:
        """The override that makes the recipe's step one by Q-Former; empty where the file has one by attention, or none.

        Raises InputError for the third kind of the published code, a plain mean, which the recipe has no step for.
        """
        layout = LAYOUTS[part]
        if layout.queries not in state:
            if f"{layout.projection}.weight" in state and f"{layout.weights}.weight" not in state:
                what = f"its projection of {part} is neither by attention ({layout.weights}) nor by Q-Former ({layout.body})"
                raise InputError(Problem("the checkpoint", what, "only these two kinds were published"))
            return ""
        stream, _, step = self.settings.steps[part].partition(".")
        block = {"use": "qformer", "per": "clip", "cross_every": 1, "question": "null"}
        if part == "multi":
            block = {"use": "qformer_fusion", **self.settings.ports}
        block |= {**sizes(layout, state), "heads": self.settings.heads}
        return f"streams.{stream}.steps.{step}={{{', '.join(f'{key}: {value}' for key, value in block.items())}}}"

    def example(self) -> dict[str, Tensor]:
        """Two layers of width 8 and a projection of each kind: picture by attention, sound by Q-Former, no pre-fusion."""
        at = f"{LLM}base_model.model.model.layers"
        state = {}
        for layer in range(2):
            for name in ("self_attn.q_proj", "mlp.up_proj"):
                state[f"{at}.{layer}.{name}.lora_A.default.weight"] = torch.randn(2, 8)
                state[f"{at}.{layer}.{name}.lora_B.default.weight"] = torch.randn(8, 2)
        for name, shape in {
            "video_attention_mlp": (1, 6),
            "affectgpt_proj": (8, 6),
            "audio_llama_proj": (8, 4),
        }.items():
            state |= {f"{name}.weight": torch.randn(*shape), f"{name}.bias": torch.randn(shape[0])}
        body = "audio_Qformer.bert"
        state |= {"audio_query_tokens": torch.randn(1, 2, 4), "audio_position_embedding.weight": torch.randn(8, 6)}
        state |= {
            f"{body}.embeddings.LayerNorm.weight": torch.ones(4),
            f"{body}.embeddings.position_ids": torch.ones(1, 9),
        }
        state[f"{body}.encoder.layer.0.intermediate_query.dense.weight"] = torch.randn(16, 4)
        return state | {"image_llama_proj.weight": torch.randn(8, 6)}


def sizes(layout: ProjectionNames, state: Mapping[str, Tensor]) -> dict[str, int]:
    """Of a Q-Former, as its weights have them. Raises InputError where those that tell are not there."""
    layers = f"{layout.body}.bert.encoder.layer."
    inner, table = f"{layers}0.intermediate_query.dense.weight", f"{layout.positions}.weight"
    if missing := [key for key in (inner, table) if key not in state]:
        raise InputError(Problem("the checkpoint", f"has {layout.queries} and no {missing[0]}", "fetch the file again"))
    _, queries, hidden = state[layout.queries].shape
    return {
        "queries": queries,
        "hidden": hidden,
        "layers": 1 + max(int(key.removeprefix(layers).split(".")[0]) for key in state if key.startswith(layers)),
        "intermediate": len(state[inner]),
        "positions": len(state[table]),
    }
