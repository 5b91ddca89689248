"""`affectkit cross`: runs on data sets that they were not trained on, as a matrix."""

from __future__ import annotations

from pathlib import Path

import click

from affectkit.commands._options import goes_on_with_it, page_file, plugin_options
from affectkit.errors import InputError, Problem

EXAMPLES = """
\b
Examples:
  affectkit cross runs/stills runs/clips
  affectkit cross runs/stills runs/clips --on fer data.root=/data --bias
  affectkit cross runs/last --on recipes/mine.yaml --on other.yaml --map joy=happy --out transfer.html
"""


@click.command("cross", epilog=EXAMPLES)
@click.argument("arguments", nargs=-1, required=True, metavar="RUN... [KEY=VALUE]...")
@click.option(
    "--on",
    multiple=True,
    metavar="DATA",
    help="A suite (name or file), a recipe, a run, or a YAML file with a block `data`; may be repeated. "
    "Without it: the data of all the runs.",
)
@click.option("--split", default="test", show_default=True, help="The split of data that is no suite's.")
@click.option(
    "--map",
    "given",
    multiple=True,
    metavar="THEIRS=OURS",
    help="Take a data set's label for one of the runs' (nothing after = leaves it out); may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("cross.html"),
    show_default=True,
    callback=page_file,
    help="The page; .md and .json lie beside it, and the answers in a folder of that name. The same page again goes on.",
)
@click.option("--bias", is_flag=True, help="Also: gaps between ages, genders and races in each cell and over each row.")
@click.option("--again", is_flag=True, help="Ask everything again, what is done too.")
@plugin_options
def command(
    arguments: tuple[str, ...],
    on: tuple[str, ...],
    split: str,
    given: tuple[str, ...],
    out: Path,
    bias: bool,
    again: bool,
    plugins: tuple[str, ...],
    trust_plugins: bool,
) -> None:
    """Ask runs about other data sets: rows are runs, columns data sets, each cell has its metrics with intervals.

    Labels are matched by name (happiness is happy); what a run does not know is left out and told. Overrides of data, sets,
    defaults, show and published are a suite's, all others the runs'.

    What is done stays done: the same command again goes on where it stopped, and asks again where the run, its recipe or the
    data changed.
    """
    for one in given:
        if "=" not in one or one.startswith("="):
            raise InputError(Problem("--map", f"{one!r} is no THEIRS=OURS", "write --map joy=happy"))
    runs = [a for a in arguments if "=" not in a]
    if not runs:
        raise InputError(Problem("cross", "no run is named", "affectkit cross runs/last --on DATA"))
    overrides = [a for a in arguments if "=" in a]
    if on:  # what is wrong with it, before torch is imported
        from affectkit.registry import Registry
        from affectkit.studies.cross import columns_on

        columns_on(on, overrides, split, Registry.load(plugins))
    from affectkit.studies.cross import print_matrix
    from affectkit.studies.cross_run import cross
    from affectkit.studies.matrix import CrossOptions

    names = dict(one.split("=", 1) for one in given)
    how = CrossOptions(names, (plugins, trust_plugins), again, bias, click.echo)
    with goes_on_with_it():
        told = cross(runs, out, on, overrides, split, how)
    print_matrix(told, click.echo)
    click.echo(f"{out.with_suffix('.html')}\n{out.with_suffix('.md')}\n{out.with_suffix('.json')}")
