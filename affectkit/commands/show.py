"""`affectkit show`: the composed graph, or one sample on its way."""

from __future__ import annotations

import click

from affectkit.commands._options import recipe_options
from affectkit.errors import InputError, unknown
from affectkit.plan.check import check


@click.command("show")
@recipe_options
@click.option(
    "--sample",
    type=int,
    default=None,
    metavar="N",
    help="Follow the N-th training sample from its file to the tokens that are trained.",
)
@click.option(
    "--stage",
    default=None,
    help="Show what trains in this stage, by address; with --sample, the stage whose prompt is shown.",
)
def command(
    recipe: str,
    overrides: tuple[str, ...],
    plugins: tuple[str, ...],
    trust_plugins: bool,
    sample: int | None,
    stage: str | None,
) -> None:
    """Show what a recipe composes: steps with shapes, parameters total and trainable, tokens a sample, memory.

    \b
    affectkit show recipes/emo_llama.yaml
    affectkit show recipes/paper/emo_llama.yaml run.weights=random
    affectkit show recipes/emo_llama.yaml --stage align
    affectkit show recipes/emo_llama.yaml --sample 3
    """
    plan = check(recipe, overrides, plugins, trust_plugins, data=True)
    if sample is not None:
        from affectkit.commands._show_sample import show_sample

        show_sample(plan, sample, stage)
        return
    if stage is not None and stage not in plan.stages:
        raise InputError(unknown("--stage", "stage", stage, plan.stages))
    from affectkit.commands._show_graph import show_graph, show_stage

    if stage is not None:
        show_stage(plan, stage)
    else:
        show_graph(plan)
