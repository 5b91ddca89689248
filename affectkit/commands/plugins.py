"""`affectkit plugins`: what is installed, and a start for one's own."""

from __future__ import annotations

from pathlib import Path

import click

from affectkit.commands._options import plugin_files
from affectkit.pieces import KINDS
from affectkit.registry import Registry
from affectkit.report.terminal import table


@click.group("plugins", invoke_without_command=True)
@plugin_files
@click.pass_context
def command(ctx: click.Context, plugins: tuple[str, ...]) -> None:
    """List installed plugins and what did not load, or start one of your own.

    A plugin is an installed distribution with an entry point of the group `affectkit`, or a loose file that is named
    with --plugin. AFFECTKIT_DISABLE_PLUGINS=NAME,… leaves distributions out.

    \b
    affectkit plugins                                           what is installed, and what did not load and why
    affectkit plugins --plugin my_piece.py                      a loose file too
    affectkit check voice --plugin my_piece.py                  use it; so do fit, evaluate, predict and show
    affectkit plugins new my-proj --kind projector              write ./my-proj, a working distribution with its test
    """
    if ctx.invoked_subcommand:
        return
    registry = Registry.load(plugins)
    rows = [[p.source, p.version, p.name, str(len(p.pieces)), _state(p.broken)] for p in registry.plugins]
    table("plugins", ["distribution", "version", "entry point", "pieces", "state"], rows)
    for plugin in registry.plugins:
        for habit in dict.fromkeys(plugin.habits):
            click.echo(f"{plugin}: {habit}; that was put back, and is its author's to mend", err=True)
        for module, cause in plugin.broken:
            click.echo(f"{plugin}: {module} did not load: {cause}\n    to go on without: {plugin.disable()}", err=True)
    for (kind, name), both in registry.clashes.items():
        whose = " and ".join(p.source for p in both)
        click.echo(f"two plugins offer a {kind} {name!r}: {whose}; neither can be used", err=True)
    if registry.clashes:
        ctx.exit(1)


def _state(broken: list[tuple[str, str]]) -> str:
    return f"{len(broken)} did not load" if broken else "loaded"


@command.command("new")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default="projector",
    show_default=True,
    help="Kind of the piece to start with.",
)
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Where to put it; default ./NAME.")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=None,
    help="Add a piece of that name to the distribution in this folder instead.",
)
def new(name: str, kind: str, out: Path | None, into: Path | None) -> None:
    """Write a working distribution with one piece and its contract test, or add a piece to one that is there.

    \b
    affectkit plugins new my-proj --kind projector
    affectkit plugins new my-proj --kind metric --out elsewhere/my-proj
    affectkit plugins new my_score --kind metric --into my-proj
    pip install -e my-proj && pytest my-proj
    """
    from affectkit.commands._scaffold import add_piece, write_plugin

    if out is not None and into is not None:
        raise click.UsageError("--out is for a new distribution, --into for one that is there: give one of them")
    for path in add_piece(name, kind, into) if into is not None else write_plugin(name, kind, out or Path(name)):
        click.echo(str(path))
