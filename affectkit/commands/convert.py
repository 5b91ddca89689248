"""`affectkit convert`: a published checkpoint to a run folder."""

from __future__ import annotations

import click

from affectkit.commands._options import plugin_options


@click.command("convert")
@click.argument("converter")
@click.argument("checkpoint", type=click.Path())
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--out", type=click.Path(), metavar="DIR", help="The run folder to make; it must be new or empty.")
@click.option("--dry-run", is_flag=True, help="Print the account of every key and write nothing.")
@click.option(
    "--set", "chosen", multiple=True, metavar="KEY=VALUE", help="A setting of the converter; may be repeated."
)
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
    """Read a published checkpoint, or a folder of shards; the result runs in `evaluate` and `predict`.

    Overrides are those of the recipe that the weights belong to: where its frozen parts lie, another data set. No code
    of the file is run. Every key is accounted for, in the terminal and in DIR/conversion.json.

    \b
    affectkit convert emotion-llama Emoation_LLaMA.pth --dry-run
    affectkit convert emotion-llama Emoation_LLaMA.pth --out runs/published backbone.source=/models/llama-2-7b-chat
    affectkit predict runs/published clip.mp4
    """
    if out is None and not dry_run:
        raise click.UsageError("name the folder to make with --out DIR, or look first with --dry-run")
    from affectkit.commands._options import table
    from affectkit.convert import account, convert
    from affectkit.converters import Importer, find_converter
    from affectkit.registry import Registry

    name, importer, settings = find_converter(Registry.load(plugins), converter, Importer, chosen)
    plan, made = account(importer, name, checkpoint, overrides, plugins)
    table(f"{checkpoint} as {importer.recipe}", ["key", "number", "size", "where it went"], made.rows())
    found = made.found
    click.echo(
        f"{len(found.taken)} of {len(made.shapes)} keys taken, {len(found.unused)} not used (each with its reason)"
    )
    if made.missing:
        click.echo(
            f"{len(made.missing)} parameters that the recipe trains are not in the file: train before you ask it"
        )
    if dry_run or out is None:
        click.echo("nothing was written")
        return
    run = convert(plan, made, out, settings)
    click.echo(f"run: {run.folder}")
