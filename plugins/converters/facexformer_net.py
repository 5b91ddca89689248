"""Reading FaceXFormer's weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from math import isqrt
from typing import Any

import torch
from affectkit_plugins.converters._known import wrong_file
from affectkit_plugins.converters._qformer_names import STRANGE
from affectkit_plugins.converters.facexformer import Settings
from affectkit_plugins.encoders import facexformer
from affectkit_plugins.encoders.facexformer_net import FaceXFormer
from torch import Tensor

from affectkit.errors import InputError, Problem
from affectkit.interop.contract import Imported
from affectkit.weights import refuse_unfit

STAGES = "backbone.0"
DECODER = "face_decoder.transformer.layers"
NEEDED = (
    f"{STAGES}.0.0.weight",
    f"{STAGES}.1.0.attn.relative_position_index",
    f"{DECODER}.0.mlp.lin1.weight",
    "linear_fuse.weight",
)
"""The weights that tell sizes."""


class WeightsReader:
    """Reader of the published file."""

    entry = "state_dict_backbone"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def read(self, tensors: Mapping[str, Tensor]) -> Imported:
        """Account for every key. Raises InputError for another file, and for one that lacks weights of the network."""
        named = {key.removeprefix("module."): key for key in tensors}
        if missing := [name for name in NEEDED if name not in named]:
            what, fix = wrong_file(set(named), missing[0])
            raise InputError(Problem("the checkpoint", what, fix))
        state = {name: tensors[key] for name, key in named.items()}
        with torch.device("meta"):
            mine = FaceXFormer(self._sizes(state)).state_dict(keep_vars=True)
        check(mine, state)
        found = Imported()
        for name, key in named.items():
            if name in mine:
                found.take(key, name, tensors[key])
            else:
                found.unused[key] = STRANGE
        return found

    def _sizes(self, state: Mapping[str, Tensor]) -> facexformer.Settings:
        """The encoder's settings that the weights have. Raises InputError where no such network can be."""
        side = isqrt(isqrt(len(state[f"{STAGES}.1.0.attn.relative_position_index"])))
        sizes = facexformer.Settings(
            channels=len(state[f"{STAGES}.0.0.weight"]),
            depths=tuple(_count(state, f"{STAGES}.{stage}") for stage in (1, 3, 5, 7)),
            window=side,
            width=len(state["linear_fuse.weight"]),
            layers=_count(state, DECODER),
            heads=self.settings.heads,
            hidden=len(state[f"{DECODER}.0.mlp.lin1.weight"]),
        )
        if wrong := sizes.problems():
            raise InputError([Problem("the checkpoint", f"{name}: {what}") for name, what in wrong])
        return sizes

    def block(self, found: Imported) -> Mapping[str, Any]:
        """The encoder, with the sizes that are not the published ones."""
        sizes = self._sizes(found.weights)
        other = {
            f.name: getattr(sizes, f.name) for f in dataclasses.fields(sizes) if getattr(sizes, f.name) != f.default
        }
        return {"use": "facexformer", **{k: list(v) if isinstance(v, tuple) else v for k, v in other.items()}}

    def example(self) -> dict[str, Tensor]:
        """The smallest network."""
        sizes = facexformer.Settings(
            channels=32, depths=(1, 1, 1, 1), window=2, width=16, layers=2, heads=self.settings.heads, hidden=16
        )
        return FaceXFormer(sizes).state_dict()


def check(mine: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Raise InputError where the file lacks weights of the network, or has some of another shape."""
    if missing := sorted(mine.keys() - state.keys()):
        what = f"lacks {len(missing)} weights of this network: {', '.join(missing[:3])}"
        raise InputError(Problem("the checkpoint", what, "fetch the file again"))
    refuse_unfit(mine, state, "the checkpoint")


def _count(names: Iterable[str], at: str) -> int:
    """How many numbered parts there are below a name."""
    found = {name.removeprefix(f"{at}.").split(".")[0] for name in names if name.startswith(f"{at}.")}
    return len(found)
