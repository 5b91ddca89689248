"""`affectkit annotate`: raw clips to instruction data."""

from __future__ import annotations

import click

from affectkit.commands._options import client_options, goes_on_with_it, plugin_files


@click.command("annotate")
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--max-calls", type=click.IntRange(min=0), metavar="N", help="Ask models no more than so often.")
@click.option(
    "--max-cost", type=click.FloatRange(min=0), metavar="X", help="Ask until so much is spent, by the client's prices."
)
@click.option("--dry-run", is_flag=True, help="Count the calls and estimate their cost; ask nobody.")
@plugin_files
@client_options
def command(
    recipe: str,
    overrides: tuple[str, ...],
    max_calls: int | None,
    max_cost: float | None,
    dry_run: bool,
    plugins: tuple[str, ...],
    servers: tuple[str, ...],
    api_key_env: str | None,
) -> None:
    """Run a recipe's annotators over its samples and write a record a sample.

    Every answer is kept: the same command after an interruption, or with a changed part, asks only what is new.

    \b
    affectkit annotate recipes/annotate/merr.yaml
    affectkit annotate mine.yaml --dry-run --server http://127.0.0.1:8000
    affectkit annotate mine.yaml run.splits=[train,val] --max-calls 1000 --server http://127.0.0.1:8000
    """
    from affectkit.annotate.plan import check_annotation

    plan = check_annotation(recipe, overrides, plugins, data=True)
    from affectkit.annotate.run import annotate, forecast
    from affectkit.evaluation.clients import access_for

    with access_for(servers, api_key_env, overrides), goes_on_with_it():
        if dry_run:
            forecast(plan)
        else:
            annotate(plan, max_calls, max_cost)
