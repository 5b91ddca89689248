"""affectkit: pieces for multimodal LLMs that understand human emotion.

Public names are resolved on first use, so that `import affectkit` (and with it the command line) imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from affectkit import _moved

if TYPE_CHECKING:
    from affectkit.api import evaluate, fit, load
    from affectkit.blocks import TokenBlock, ViewBlock
    from affectkit.pieces import Piece, Port, Shape, Survey, hookimpl
    from affectkit.plan.check import check
    from affectkit.prompt import Ask, Segment
    from affectkit.raw import RawPixels, RawWave
    from affectkit.recipe.load import load_recipe
    from affectkit.sample import Fact, Sample

_moved.install()
_WHERE = {
    "Ask": "prompt",
    "Fact": "sample",
    "Piece": "pieces",
    "Port": "pieces",
    "RawPixels": "raw",
    "RawWave": "raw",
    "Sample": "sample",
    "Segment": "prompt",
    "Shape": "pieces",
    "Survey": "pieces",
    "TokenBlock": "blocks",
    "ViewBlock": "blocks",
    "check": "plan.check",
    "evaluate": "api",
    "fit": "api",
    "hookimpl": "pieces",
    "load": "api",
    "load_recipe": "recipe.load",
}
__all__ = [
    "Ask",
    "Fact",
    "Piece",
    "Port",
    "RawPixels",
    "RawWave",
    "Sample",
    "Segment",
    "Shape",
    "Survey",
    "TokenBlock",
    "ViewBlock",
    "check",
    "evaluate",
    "fit",
    "hookimpl",
    "load",
    "load_recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'affectkit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"affectkit.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
