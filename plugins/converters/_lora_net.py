"""Names of a language model and its adapters in published checkpoints, as our backbone has them."""

from __future__ import annotations

import re
from collections.abc import Collection

LINEAR = re.compile(r"(.*_proj)\.(weight|bias)")


def backbone_name(key: str, adapted: Collection[str]) -> str:
    """A key below the published model's wrapper (`base_model.model.…`) as `backbone.…`.

    Older peft leaves the adapter's name out (`lora_A.weight`), newer writes `lora_A.default.weight`. In a file of both,
    base weights of adapted layers (`adapted`: their names without `.weight`) lie in `base_layer` here. The output layer
    may be wrapped (`lm_head.0`).
    """
    name = re.sub(r"\.lora_([AB])\.(weight|bias)$", r".lora_\1.default.\2", key)
    name = name.replace(".lm_head.0.", ".lm_head.")
    found = LINEAR.fullmatch(name)
    if found and found[1] in adapted:
        name = f"{found[1]}.base_layer.{found[2]}"
    return f"backbone.lm.{name}"


def adapted_layers(keys: Collection[str]) -> set[str]:
    """The layers that have an adapter."""
    return {key.partition(".lora_")[0] for key in keys if ".lora_" in key}
