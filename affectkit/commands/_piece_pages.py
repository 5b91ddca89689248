"""Every piece with its ports and settings as one Markdown page, docs/pieces.md; the fields of the records that pieces are
given and give, as they stand in docs/add-a-piece.md.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path

from affectkit.pieces import KINDS
from affectkit.recipe.settings import describe, sentences
from affectkit.registry import Registry
from affectkit.templates import environment

RECORDS = {"Sample": "sample", "Fact": "sample", "Ask": "prompt", "Segment": "prompt", "RawPixels": "raw",
           "RawWave": "raw", "Reading": "reading", "Prediction": "evaluation.prediction", "Targets": "sample",
           "ModelOutputs": "objectives", "HeadOutputs": "objectives"}  # fmt: skip
"""Records that pieces are given or give, and the module of each."""


def record_tables() -> str:
    """The fields of each record as Markdown: name, type, default, what it is."""
    records = [getattr(importlib.import_module(f"affectkit.{module}"), name) for name, module in RECORDS.items()]
    return _page("records.md", {"records": records})


def markdown_pages(registry: Registry) -> str:
    """The page, by kind and name; the same pieces give the same text."""
    kinds = [(kind, about, registry.pieces(kind)) for kind, about in KINDS.items()]
    return _page("pieces.md", {"kinds": kinds, "registry": registry})


def _page(template: str, given: Mapping[str, object]) -> str:
    pages = environment(Path(__file__).parent / "templates")
    pages.filters.update(describe=describe, sentences=sentences, fields=dataclasses.fields, text=_text)
    pages.filters["default_text"] = _default
    return pages.get_template(template).render(given).rstrip("\n") + "\n"


def _default(field: dataclasses.Field[object]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    factory = field.default_factory
    return "required" if factory is dataclasses.MISSING else "empty" if factory is dict else "made anew"


def _text(doc: str | None) -> str:
    return inspect.cleandoc(doc or "")
