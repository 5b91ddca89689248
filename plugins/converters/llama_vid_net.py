"""Reading LLaMA-VID's weights."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from affectkit_plugins.converters._known import wrong_file
from affectkit_plugins.converters._lora_net import backbone_name
from affectkit_plugins.converters._qformer_names import STRANGE, place
from affectkit_plugins.converters.llama_vid import Settings
from affectkit_plugins.encoders._layouts_net import EVA
from torch import Tensor

from affectkit.errors import InputError, Problem
from affectkit.interop.contract import Imported

LINEARS = {
    "vlm_att_ln": "norm",
    "vlm_att_projector": "query",
    "vlm_att_key_projector": "key",
    "vlm_att_val_projector": "value",
    "mm_projector.0": "content.0",
    "mm_projector.2": "content.2",
}
"""Linear layers and the norm of the tokens, as our step names them."""
QFORMER = "vlm_att_encoder."
TOWER = re.compile(r"(?:vision_tower\.)+")
WORDS = re.compile(r"(model\.(embed_tokens|layers\.\d+|norm)|lm_head)\.")
BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


class LlamaVid:
    """Importer of the published weights."""

    entry = ""
    overrides: tuple[str, ...] = ()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.recipe = settings.recipe

    def read(self, tensors: Mapping[str, Tensor]) -> Imported:
        """Account for every key; raises InputError where the context attention or the content projector is missing."""
        heads = {key.removeprefix("model.").partition(".")[0] for key in tensors}
        if not {"vlm_att_query", "mm_projector"} <= heads:
            what, fix = wrong_file(set(tensors), "model.vlm_att_query with model.mm_projector.*")
            raise InputError(Problem("the checkpoint", what, fix))
        if "vlm_att_bert_proj" in heads:
            what = "has vlm_att_bert_proj: its vision tower is another than EVA's, which this layout is for"
            raise InputError(Problem("the checkpoint", what, "take one of the models that look through EVA"))
        found = Imported(base=True)
        for key, value in tensors.items():
            self._place(found, key, key.removeprefix("model."), value)
        if any(ours.startswith(f"{self.settings.vision}.") for ours in found.weights):
            stream, _, step = self.settings.vision.partition(".")
            found.overrides = (f"streams.{stream}.steps.{step}.source=",)
        return found

    def _place(self, found: Imported, key: str, name: str, value: Tensor) -> None:
        head, _, kind = name.rpartition(".")
        step = self.settings.tokens
        if name.endswith(".inv_freq"):
            found.unused[key] = "the rotary table, a constant"
        elif name == "vlm_att_query":
            found.take(key, f"{step}.qformer.queries", value)
        elif head in LINEARS:
            found.take(key, f"{step}.{LINEARS[head]}.{kind}", value)
        elif name.startswith(QFORMER):
            place(found, key, name.removeprefix(QFORMER), value, f"{step}.qformer.model", text=True)
        elif tower := TOWER.match(name):
            self._tower(found, key, name[tower.end() :], value)
        elif WORDS.match(key):
            found.take(key, self._word(key), value)
        else:
            found.unused[key] = STRANGE

    def _word(self, key: str) -> str:
        """A parameter of the language model; below an adapter its plain weights have a name of their own."""
        if not self.settings.adapted:
            return backbone_name(key, ())
        layer = key.rpartition(".")[0]
        below = layer.rpartition(".")[2] in self.settings.adapted
        inner = f"base_model.model.{key}"
        return backbone_name(inner, (f"base_model.model.{layer}",) if below else ())

    def _tower(self, found: Imported, key: str, name: str, value: Tensor) -> None:
        if self.settings.tower == "leave":
            found.unused[key] = "a copy of the frozen vision tower, which its own file brings; --set tower=take uses it"
            return
        at, inside = f"{self.settings.vision}.net.model", BLOCK.fullmatch(name)
        if inside and int(inside[1]) >= self.settings.tower_layers:
            found.unused[key] = "a block behind those that are used"
        elif inside and inside[2] in ("attn.q_bias", "attn.v_bias"):
            joint = f"{at}.{EVA.block.format(i=inside[1])}.{EVA.qkv}.bias"
            _bias(found, key, joint, value, inside[2] == "attn.q_bias")
        elif ours := _tower_name(name, inside):
            found.take(key, f"{at}.{ours}", value)
        else:
            found.unused[key] = STRANGE

    def example(self) -> dict[str, Tensor]:
        """A language model of one layer and width 8, a Q-Former of one layer and width 4, a tower of width 6."""
        shapes = {
            "lm_head.weight": (9, 8),
            "model.embed_tokens.weight": (9, 8),
            "model.norm.weight": (8,),
            "model.layers.0.input_layernorm.weight": (8,),
            "model.layers.0.self_attn.q_proj.weight": (8, 8),
            "model.layers.0.self_attn.rotary_emb.inv_freq": (4,),
            "model.vlm_att_query": (1, 2, 4),
            "model.vlm_att_ln.weight": (6,),
            "model.mm_projector.0.weight": (8, 6),
            "model.mm_projector.2.bias": (8,),
            "model.vlm_att_encoder.bert.embeddings.word_embeddings.weight": (11, 4),
            "model.vlm_att_encoder.bert.embeddings.position_ids": (1, 16),
            "model.vlm_att_encoder.bert.encoder.layer.0.crossattention.self.key.weight": (4, 6),
            "model.vision_tower.vision_tower.blocks.0.attn.q_bias": (6,),
        }
        return {key: torch.randn(shape) for key, shape in shapes.items()}


def _tower_name(name: str, inside: re.Match[str] | None) -> str:
    """A parameter of EVA's tower as transformers has it; empty for an unknown one."""
    if inside is None:
        return EVA.top.get(name, "")
    block, (part, _, kind) = EVA.block.format(i=inside[1]), inside[2].rpartition(".")
    if part == "attn.qkv":
        return f"{block}.{EVA.qkv}.{kind}"
    return f"{block}.{EVA.parts[part]}.{kind}" if part in EVA.parts else ""


def _bias(found: Imported, key: str, ours: str, value: Tensor, first: bool) -> None:
    """One of the two biases that EVA keeps apart, into the joint one; there is none for the keys."""
    width = len(value)
    whole = found.weights.get(ours)
    whole = value.new_zeros(3 * width) if whole is None else whole
    part = [value if first else whole[:width], value.new_zeros(width), whole[2 * width :] if first else value]
    found.take(key, ours, torch.cat(part))
