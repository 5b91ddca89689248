"""affectkit: pieces for multimodal LLMs that understand human emotion.

Public names are resolved on first use, so that `import affectkit` (and with it the command line) imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from affectkit import _moved

if TYPE_CHECKING:
    from affectkit.annotators import Annotator, Reject
    from affectkit.api import LoadedRun, evaluate, fit, load
    from affectkit.blocks import OverTokens, TokenBlock, ViewBlock, number_facts, word_facts
    from affectkit.data.faces import Face
    from affectkit.encode.steps import build
    from affectkit.errors import InputError, Problem
    from affectkit.evaluation.clients import CachedClient, Client, ClientError, key_for
    from affectkit.evaluation.prediction import Metric, Prediction
    from affectkit.heads import Answer, Head
    from affectkit.interop.contract import Exporter, FileFormat, Imported, Importer, Layout, Network
    from affectkit.labels.scoring import score
    from affectkit.messages import Attachment, Message, Reply
    from affectkit.model.packing import Backbone, LMInput
    from affectkit.objectives import HeadOutputs, ModelOutputs, Objective
    from affectkit.pieces import Piece, Port, Shape, Survey, hookimpl
    from affectkit.plan.check import check
    from affectkit.prompt import Ask, PromptPiece, Segment
    from affectkit.raw import RawPixels, RawWave
    from affectkit.reading import Reader, Reading, read_plain
    from affectkit.recipe.load import load_recipe
    from affectkit.sample import Fact, Sample, Targets, targets_in

_moved.install()
_PUBLIC = {
    "annotators": "Annotator Reject",
    "api": "LoadedRun evaluate fit load",
    "blocks": "OverTokens TokenBlock ViewBlock number_facts word_facts",
    "data.faces": "Face",
    "encode.steps": "build",
    "errors": "InputError Problem",
    "evaluation.clients": "CachedClient Client ClientError key_for",
    "evaluation.prediction": "Metric Prediction",
    "heads": "Answer Head",
    "interop.contract": "Exporter FileFormat Imported Importer Layout Network",
    "labels.scoring": "score",
    "messages": "Attachment Message Reply",
    "model.packing": "Backbone LMInput",
    "objectives": "HeadOutputs ModelOutputs Objective",
    "pieces": "Piece Port Shape Survey hookimpl",
    "plan.check": "check",
    "prompt": "Ask PromptPiece Segment",
    "raw": "RawPixels RawWave",
    "reading": "Reader Reading read_plain",
    "recipe.load": "load_recipe",
    "sample": "Fact Sample Targets targets_in",
}
"""Modules and the names that they give, as above for type checkers."""
_WHERE = {name: module for module, names in _PUBLIC.items() for name in names.split()}
__all__ = [
    "Annotator", "Answer", "Ask", "Attachment", "Backbone", "CachedClient", "Client", "ClientError", "Exporter", "Face",
    "Fact", "FileFormat", "Head", "HeadOutputs", "Imported", "Importer", "InputError", "LMInput", "Layout", "LoadedRun",
    "Message", "Metric", "ModelOutputs", "Network", "Objective", "OverTokens", "Piece", "Port", "Prediction", "Problem",
    "PromptPiece", "RawPixels", "RawWave", "Reader", "Reading", "Reject", "Reply", "Sample", "Segment", "Shape", "Survey",
    "Targets", "TokenBlock", "ViewBlock", "build", "check", "evaluate", "fit", "hookimpl", "key_for", "load", "load_recipe",
    "number_facts", "read_plain", "score", "targets_in", "word_facts",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'affectkit' has no attribute {name!r}")
    if name in _moved.MOVED:  # also a module once: the old name, which can be called
        return importlib.import_module(f"affectkit.{name}")
    return getattr(importlib.import_module(f"affectkit.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
