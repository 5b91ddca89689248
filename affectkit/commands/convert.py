"""`affectkit convert`: a published checkpoint to a run folder, or the file of one network to a source of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from affectkit.commands._options import converter_settings, plugin_options
from affectkit.registry import Registry
from affectkit.report.terminal import table

if TYPE_CHECKING:
    from affectkit.interop.checkpoint import Account
    from affectkit.interop.contract import Network


@click.command("convert")
@click.argument("converter")
@click.argument("checkpoint", type=click.Path())
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--out", type=click.Path(), metavar="DIR", help="The run folder to make; it must be new or empty.")
@click.option("--dry-run", is_flag=True, help="Print the account of every key and write nothing.")
@converter_settings
@plugin_options
def command(
    converter: str,
    checkpoint: str,
    overrides: tuple[str, ...],
    out: str | None,
    dry_run: bool,
    chosen: tuple[str, ...],
    plugins: tuple[str, ...],
    trust_plugins: bool,
) -> None:
    """Read a published checkpoint, or a folder of shards; the result runs in `evaluate` and `predict`. The file of a
    single network becomes a folder that a step names as its `source`.

    Overrides are those of the recipe that the weights belong to: where its frozen parts lie, another data set. No code
    of the file is run. Every key is accounted for, in the terminal and in DIR/conversion.json.

    \b
    affectkit convert emotion-llama Emoation_LLaMA.pth --dry-run
    affectkit convert emotion-llama Emoation_LLaMA.pth --out runs/published backbone.source=/models/llama-2-7b-chat
    affectkit predict runs/published clip.mp4
    """
    if out is None and not dry_run:
        raise click.UsageError("name the folder to make with --out DIR, or look first with --dry-run")
    from affectkit.interop.checkpoint import account, convert
    from affectkit.interop.contract import Importer, Network, find_converter

    name, importer, settings = find_converter(Registry.load(plugins), converter, (Importer, Network), chosen)
    if isinstance(importer, Network):
        if overrides:
            raise click.UsageError(f"{name} reads sizes from the file and takes no overrides: {overrides[0]}")
        _network(importer, name, checkpoint, settings, None if dry_run else out)
        return
    plan, made = account(importer, name, checkpoint, overrides, plugins)
    _print_account(made, f"{checkpoint} as {importer.recipe}", found=made.found.overrides)
    if made.missing:
        click.echo(
            f"{len(made.missing)} parameters that the recipe trains are not in the file: train before you ask it"
        )
    if dry_run or out is None:
        click.echo("nothing was written")
        return
    run = convert(plan, made, out, settings)
    click.echo(f"run: {run.folder}")


def _network(network: Network, name: str, checkpoint: str, settings: Mapping[str, object], out: str | None) -> None:
    """The file of one network."""
    from affectkit.interop.checkpoint import account_of_network, convert_network

    made = account_of_network(network, name, checkpoint)
    _print_account(made, checkpoint)
    if out is None:
        click.echo("nothing was written")
        return
    block = convert_network(network, made, out, settings)
    click.echo(f"source: {out}\nas a step: {{{', '.join(f'{key}: {value}' for key, value in block.items())}}}")


def _print_account(made: Account, title: str, found: Sequence[str] = ()) -> None:

    table(title, ["key", "number", "size", "where it went"], made.rows())
    taken, unused = made.found.taken, made.found.unused
    click.echo(f"{len(taken)} of {len(made.shapes)} keys taken, {len(unused)} not used (each with its reason)")
    for override in found:
        click.echo(f"by the file: {override}")
