"""`affectkit convert`: a published checkpoint to a run folder, or the file of one network to a source of a step."""

from __future__ import annotations

import click

from affectkit.commands._options import converter_settings, plugin_options
from affectkit.interop.checkpoint import (
    account,
    account_of_network,
    convert,
    convert_network,
    refuse_missing,
    refuse_used,
)
from affectkit.interop.contract import FileFormat, Importer, Network, find_converter
from affectkit.registry import Registry
from affectkit.report.terminal import table


@click.command("convert")
@click.argument("converter")
@click.argument("checkpoint", type=click.Path())
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--out", type=click.Path(), metavar="DIR", help="The run folder to make; it must be new or empty.")
@click.option("--dry-run", is_flag=True, help="Print the account of every key and write nothing.")
@click.option(
    "--allow-missing",
    "allowed",
    multiple=True,
    metavar="GLOB",
    help="Let parts stay untrained that the file lacks, by address (backbone.lora, face.*); every report says so.",
)
@converter_settings
@plugin_options
def command(
    converter: str,
    checkpoint: str,
    overrides: tuple[str, ...],
    out: str | None,
    dry_run: bool,
    allowed: tuple[str, ...],
    chosen: tuple[str, ...],
    plugins: tuple[str, ...],
    trust_plugins: bool,
) -> None:
    """Read a published checkpoint, or a folder of shards; the result runs in `evaluate` and `predict`. The file of a
    single network, also in another library's format (GGUF, CTranslate2), becomes a folder that a recipe names as a `source`.

    Overrides are those of the recipe that the weights belong to: where its frozen parts lie, another data set. No code
    of the file is run. Every key is accounted for, in the terminal and in DIR/conversion.json; a file that lacks what the
    recipe trains is refused, unless --allow-missing names the part.

    \b
    affectkit convert emotion-llama Emoation_LLaMA.pth --dry-run
    affectkit convert emotion-llama Emoation_LLaMA.pth --out runs/published backbone.source=/models/llama-2-7b-chat
    affectkit predict runs/published clip.mp4
    affectkit convert gguf SmolLM2-135M-Instruct.Q4_1.gguf --out models/smollm2
    """
    if out is None and not dry_run:
        raise click.UsageError("name the folder to make with --out DIR, or look first with --dry-run")
    name, importer, settings = find_converter(
        Registry.load(plugins), converter, (Importer, Network, FileFormat), chosen
    )
    if out is not None and not dry_run:
        refuse_used(out)  # before anything is read
    alone = isinstance(importer, (Network, FileFormat))
    if alone and overrides:
        raise click.UsageError(f"{name} reads sizes from the file and takes no overrides: {overrides[0]}")
    if alone:
        title, made = checkpoint, account_of_network(importer, name, checkpoint)
    else:
        plan, made = account(importer, name, checkpoint, overrides, plugins)
        title = f"{checkpoint} as {importer.recipe}"
    table(title, ["key", "number", "size", "where it went"], made.rows())
    taken, unused = made.found.taken, made.found.unused
    click.echo(f"{len(taken)} of {len(made.shapes)} keys taken, {len(unused)} not used (each with its reason)")
    for override in made.found.overrides:
        click.echo(f"by the file: {override}")
    for note in made.found.notes:
        click.echo(f"note: {note}")
    if made.missing:
        lacks = f"{len(made.missing)} parameters that the recipe trains are not in the file"
        click.echo(f"{lacks}: train before you ask it")
        refuse_missing(made, allowed)
    if dry_run or out is None:
        click.echo("nothing was written")
    elif alone:
        block = convert_network(importer, made, out, settings)
        click.echo(f"source: {out}\nin a recipe: {{{', '.join(f'{key}: {value}' for key, value in block.items())}}}")
    else:
        click.echo(f"run: {convert(plan, made, out, settings, allowed).folder}")
