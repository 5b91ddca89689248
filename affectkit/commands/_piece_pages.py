"""Every piece with its ports and settings as one Markdown page, docs/pieces.md; the fields of the records that pieces are
given and give, as they stand in docs/add-a-piece.md.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect

from affectkit.pieces import KINDS, Piece
from affectkit.recipe.settings import describe, sentences
from affectkit.registry import Plugin, Registry

RECORDS = {"Sample": "sample", "Fact": "sample", "Ask": "prompt", "Segment": "prompt", "RawPixels": "raw",
           "RawWave": "raw", "Prediction": "evaluation.prediction"}  # fmt: skip
"""Records that pieces are given or give, and the module of each."""


def record_tables() -> str:
    """The fields of each record as Markdown: name, type, default, what it is."""
    lines: list[str] = []
    for name, module in RECORDS.items():
        cls = getattr(importlib.import_module(f"affectkit.{module}"), name)
        about = inspect.cleandoc(cls.__doc__ or "").split("\n\n")
        lines += [f"### {name}", "", *(" ".join(part.split()) + "\n" for part in about)]
        lines += ["| field | type | default | |", "| --- | --- | --- | --- |"]
        said = sentences(cls)
        for field in dataclasses.fields(cls):
            row = (f"`{field.name}`", f"`{_cell(str(field.type))}`", _default(field), _cell(said.get(field.name, "")))
            lines.append(f"| {' | '.join(row)} |")
        lines.append("")
    return "\n".join(lines)


def _default(field: dataclasses.Field[object]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    factory = field.default_factory
    return "required" if factory is dataclasses.MISSING else "empty" if factory is dict else "made anew"


def markdown_pages(registry: Registry) -> str:
    """The page, by kind and name; the same pieces give the same text."""
    lines = [
        "# Pieces",
        "",
        "Made by `affectkit pieces --markdown > docs/pieces.md`; a test keeps it so.",
        "",
    ]
    for kind, about in KINDS.items():
        pieces = registry.pieces(kind)
        lines += [f"## {kind}", "", f"{about[0].upper()}{about[1:]}.", ""]
        if not pieces:
            lines += ["None ships yet.", ""]
        for piece in pieces:
            lines += _piece(piece, registry.plugin_of(piece))
    return "\n".join(lines)


def _piece(piece: Piece, plugin: Plugin) -> list[str]:
    text = inspect.cleandoc(piece.settings.__doc__ or "")
    lines = [f"### {piece.name}", "", text, ""]
    if piece.ports:
        lines += ["| port | eats | | |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{p.name}` | {p.eats} | {'optional' if p.optional else 'required'} | {_cell(p.about)} |"
            for p in piece.ports
        ]
        lines.append("")
    fields = describe(piece.settings)
    if fields:
        lines += ["| setting | type | default | |", "| --- | --- | --- | --- |"]
        lines += [
            f"| `{f.name}` | {_cell(f.type)} | {f'`{_cell(f.default)}`' if f.default else 'required'} | {_cell(f.about)} |"
            for f in fields
        ]
        lines.append("")
    if piece.objective:
        lines += ["Can be a stage's objective.", ""]
    if piece.extra:
        lines += [f"Needs `{plugin.install(piece)}`.", ""]
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
