"""`affectkit export`: a trained run as another library reads it."""

from __future__ import annotations

import click

from affectkit.commands._options import converter_settings, plugin_options
from affectkit.interop.contract import Exporter, find_converter
from affectkit.registry import Registry
from affectkit.report.terminal import table
from affectkit.train.run_folder import open_run


@click.command("export")
@click.argument("run")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--to", "converter", required=True, metavar="CONVERTER", help="Converter piece that writes the layout.")
@click.option(
    "--out", required=True, type=click.Path(), metavar="DIR", help="The folder to make; it must be new or empty."
)
@click.option("--merge", "lora", flag_value="merge", help="Add low-rank adapters to the weights (the usual).")
@click.option("--adapter", "lora", flag_value="adapter", help="Keep low-rank adapters as a folder of peft.")
@converter_settings
@plugin_options
def command(
    run: str,
    overrides: tuple[str, ...],
    converter: str,
    out: str,
    lora: str | None,
    chosen: tuple[str, ...],
    plugins: tuple[str, ...],
    trust_plugins: bool,
) -> None:
    """Write a trained run as another library reads it: weights, tokenizer, streams, recipe and a model card.

    \b
    affectkit export runs/last --to hf --out exported
    affectkit export runs/last --to hf --out exported --adapter
    """
    open_run(run)
    settings = [*chosen, *([f"lora={lora}"] if lora else [])]
    _, exporter, _ = find_converter(Registry.load(plugins), converter, Exporter, settings)
    from affectkit.api import load
    from affectkit.interop.export import export

    written = export(load(run, overrides, plugins, trust_plugins), exporter, out)
    table(f"{run} -> {out}", ["file", "holds"], [[name, what] for name, what in written.items()])
