"""Build a plan on the meta device: real sizes and parameter counts, no memory, nothing downloaded but configurations."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch

from affectkit.errors import InputError, Problem
from affectkit.model.model import Model, build
from affectkit.plan.plan import Plan
from affectkit.plan.summary import slot_tokens


@dataclass
class Sizes:
    """Parameters by address, in all and by stage."""

    parameters: Counter[str] = field(default_factory=Counter)
    trainable: dict[str, Counter[str]] = field(default_factory=dict)
    """Stage to address to parameters that train."""


def build_on_meta(plan: Plan) -> tuple[Model, Plan]:
    """The same as `build`, without memory behind it. Raises InputError where widths known only when built do not meet."""
    with torch.device("meta"):
        model, plan = build(plan, lambda: ["any words"])  # a tokenizer that is made for the run needs some
    for slot in plan.slots:
        end = plan.graph.ends[slot]
        width = plan.graph.shape(end).width
        if width is not None and width != model.llm.width:
            at = plan.recipe.place(("streams", slot))
            raise InputError(
                Problem(at, f"{end} is {width} wide, the LLM {model.llm.width}", "end the stream with a projector")
            )
    return model, plan


def sizes(model: Model) -> Sizes:
    """Parameters by address, and those that train in each stage."""
    found = Sizes()
    for name, parameter in model.named_parameters():
        found.parameters[model.address(name)] += parameter.numel()
    for stage in model.plan.stages.values():
        found.trainable[stage.name] = Counter({a: n for a, n in found.parameters.items() if a in stage.trains})
    return found


def memory(model: Model, stage: str, words: int = 96) -> dict[str, float]:
    """Rough bytes of a training step: weights, gradients, AdamW's two moments, and activations of the LLM.

    Activations are taken as 34 bytes a token, layer and unit of width (Korthikanti et al. 2022, equation 2, without
    the attention scores, which fused kernels do not keep), for 2-byte numbers; with gradient checkpointing each layer
    keeps its input alone, and one layer is whole at a time.
    """
    plan = model.plan
    trains = plan.stages[stage].trains
    needs = dict.fromkeys(("weights", "gradients", "optimiser", "activations"), 0.0)
    for name, parameter in model.named_parameters():
        size = float(parameter.numel() * parameter.element_size())
        needs["weights"] += size
        if model.address(name) in trains:
            needs["gradients"] += size
            needs["optimiser"] += 2 * size
    if not plan.asks(plan.stages[stage]) or plan.backbone is None or model.backbone is None:
        return needs
    first = next(iter(model.backbone.parameters()))
    layers = getattr(model.backbone, "layers", None) or getattr(plan.backbone.settings, "layers", None) or 4
    tokens = words + sum(slot_tokens(plan, s) or 0 for s in plan.slots)
    width = float(plan.width or 0) * tokens * plan.stages[stage].settings.batch * first.element_size()
    checkpointing = getattr(plan.backbone.settings, "gradient_checkpointing", False)
    needs["activations"] = width * (layers + 17) if checkpointing else width * 17 * layers
    return needs
