"""`affectkit pieces`: what there is to compose, without torch."""

from __future__ import annotations

from inspect import cleandoc

import click

from affectkit.commands._options import plugin_files
from affectkit.commands._piece_pages import markdown_pages, record_tables
from affectkit.errors import InputError, unknown
from affectkit.pieces import KINDS, Piece
from affectkit.recipe.settings import describe
from affectkit.registry import Registry
from affectkit.report.terminal import table


@click.command("pieces")
@click.argument("words", nargs=-1, metavar="[KIND | show NAME]")
@plugin_files
@click.option("--markdown", is_flag=True, help="Print every piece with its settings as Markdown (docs/pieces.md).")
@click.option(
    "--records", is_flag=True, help="Print the fields of what pieces are given and give (docs/add-a-piece.md)."
)
def command(words: tuple[str, ...], plugins: tuple[str, ...], markdown: bool, records: bool) -> None:
    """List the pieces, those of one kind, or show one with its settings.

    \b
    affectkit pieces
    affectkit pieces encoder
    affectkit pieces show face_info_mining
    affectkit pieces --records                what Sample, Ask, Prediction and their like hold
    """
    if records:
        click.echo(record_tables(), nl=False)
        return
    registry = Registry.load(plugins)
    if markdown:
        click.echo(markdown_pages(registry), nl=False)
        return
    if words and words[0] == "show":
        if len(words) != 2:
            raise click.UsageError("affectkit pieces show NAME")
        found = [p for p in registry.pieces() if p.name == words[1]]
        if not found:
            names = [p.name for p in registry.pieces()]
            raise InputError(unknown("", "piece", words[1], names, registry.not_loaded()))
        for piece in found:
            _show(registry, piece)
        return
    if words and words[0] not in KINDS:
        named = any(p.name == words[0] for p in registry.pieces())
        also = f"for the piece of that name: affectkit pieces show {words[0]}" if named else ""
        raise InputError(unknown("", "kind of piece", words[0], [*KINDS, "show"], also))
    _list(registry, words[0] if words else None)


def _list(registry: Registry, kind: str | None) -> None:
    rows = [[p.kind, p.name, p.about, registry.plugin_of(p).source] for p in registry.pieces(kind)]
    of_kind = f" of the kind {kind}: {KINDS[kind]}" if kind else ""
    table(f"{len(rows)} pieces{of_kind}", ["kind", "name", "what it is", "from"], rows)
    for plugin in registry.plugins:
        for module, cause in plugin.broken:
            click.echo(f"did not load: {plugin}, {module}: {cause} ({plugin.disable()})", err=True)


def _show(registry: Registry, piece: Piece) -> None:
    plugin = registry.plugin_of(piece)
    click.echo(f"{click.style(piece.name, bold=True)}, {piece.kind}, from {plugin.source} {plugin.version}")
    click.echo(cleandoc(piece.settings.__doc__ or ""))
    if piece.ports:
        rows = [[p.name, p.eats, "optional" if p.optional else "required", p.about] for p in piece.ports]
        table("ports", ["port", "eats", "", "what it is"], rows)
    rows = [[f.name, f.type, f.default or "(required)", f.about] for f in describe(piece.settings)]
    table("settings", ["setting", "type", "default", "what it does"], rows)
    if piece.objective:
        click.echo("can be a stage's objective")
    if piece.needs:
        click.echo(f"needs {', '.join(piece.needs)}" + (f" ({plugin.install(piece)})" if piece.extra else ""))
