"""`affectkit check`: every problem of a recipe at once, without torch."""

from __future__ import annotations

import click

from affectkit.commands._options import recipe_options


@click.command("check")
@recipe_options
@click.option("--full", is_flag=True, help="Print the whole recipe, defaults filled in, as YAML.")
@click.option(
    "--build",
    is_flag=True,
    help="Build everything on the meta device too, so that widths known only then are checked (loads torch).",
)
def command(
    recipe: str,
    overrides: tuple[str, ...],
    plugins: tuple[str, ...],
    trust_plugins: bool,
    full: bool,
    build: bool,
) -> None:
    """Check a recipe: unknown names, wrong types, ports that nothing fills, widths that do not meet, and more.

    \b
    affectkit check recipes/emo_llama.yaml
    affectkit check recipes/emo_llama.yaml backbone.lora.rank=32
    affectkit check recipes/paper/emo_llama.yaml --full
    """
    from affectkit.plan import check
    from affectkit.summary import full_recipe, summary_rows

    plan = check(recipe, overrides, plugins, trust_plugins, data=True)
    if build:
        from affectkit.meta import build_on_meta

        build_on_meta(plan)
    if full:
        click.echo(full_recipe(plan), nl=False)
        return
    from affectkit.commands._options import table

    table(f"{plan.name}: nothing wrong", ["what", "is"], summary_rows(plan))
