"""`affectkit fit`: train, evaluate, report."""

from __future__ import annotations

import click

from affectkit.commands._options import client_options, plugin_options


@click.command("fit")
@click.argument("recipe", required=False)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@plugin_options
@client_options
@click.option(
    "--resume",
    type=click.Path(exists=True),
    metavar="RUN",
    help="Go on with a run that was cut off; it ends as it would have.",
)
def command(
    recipe: str | None,
    overrides: tuple[str, ...],
    plugins: tuple[str, ...],
    trust_plugins: bool,
    servers: tuple[str, ...],
    api_key_env: str | None,
    resume: str | None,
) -> None:
    """Train a recipe through its stages, evaluate it, write the report.

    \b
    affectkit fit recipes/emo_llama.yaml
    affectkit fit recipes/emo_llama.yaml backbone.lora.rank=32 stages.align.epochs=1
    affectkit fit --resume runs/last
    """
    if (recipe is None or "=" in recipe) and resume is None:
        raise click.UsageError("name a recipe, or a run with --resume RUN")
    if resume is not None and recipe is not None and "=" in recipe:
        overrides, recipe = (recipe, *overrides), None
    if resume is not None and recipe is not None:
        raise click.UsageError("a run is resumed with its own recipe: leave the recipe out")
    from affectkit.plan.check import check
    from affectkit.recipe.load import load_recipe

    source = load_recipe(recipe, overrides) if recipe is not None else None
    if source is not None:
        check(source, (), plugins, trust_plugins, data=True)  # before torch is loaded, so that a mistake shows at once
    from affectkit.api import fit
    from affectkit.evaluation.clients import access_for
    from affectkit.report.run import print_outcome

    with access_for(servers, api_key_env, overrides):
        run = fit(source or "", overrides if source is None else (), plugins, trust_plugins, resume, click.echo)
    print_outcome(run, click.echo)
