"""Every piece with its ports and settings as one Markdown page: docs/pieces.md is this text. Imports no torch."""

from __future__ import annotations

import inspect

from affectkit.pieces import KINDS, Piece
from affectkit.recipe.settings import describe
from affectkit.registry import Plugin, Registry


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
