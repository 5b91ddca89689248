"""`affectkit check`: every problem of a recipe at once, without torch."""

from __future__ import annotations

import math
from collections import Counter

import click

from affectkit.annotate.plan import annotation_rows, check_annotation, is_annotation
from affectkit.commands._options import recipe_options
from affectkit.errors import AffectkitError, Problem, RunError, cause
from affectkit.plan.check import check
from affectkit.plan.forecast import COLUMNS, forecast, forecast_rows
from affectkit.plan.plan import Plan
from affectkit.plan.summary import full_recipe, summary_rows
from affectkit.report.terminal import table
from affectkit.studies.sweep import is_sweep


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
    """Check a recipe, or every run of a sweep: unknown names, wrong types, ports that nothing fills, widths that do not
    meet, and more.

    Data is looked at as far as that needs no decoding: files, columns, splits, labels. What the feature cache will hold
    is told too: blocks of frozen steps as float32, and views as encoders prepare them.

    \b
    affectkit check recipes/emo_llama.yaml
    affectkit check recipes/emo_llama.yaml backbone.lora.rank=32
    affectkit check recipes/paper/emo_llama.yaml --full
    """
    if is_sweep(recipe):
        from affectkit.studies.sweep_page import check_sweep

        if full or build:
            raise click.UsageError("--full and --build are for a recipe; this is a sweep")
        check_sweep(recipe, overrides, plugins, trust_plugins, click.echo)
        return
    if is_annotation(recipe):
        if full or build:
            raise click.UsageError("--full and --build are for a training recipe; this is an annotation")
        made = check_annotation(recipe, overrides, plugins, data=True)
        table(f"{made.name}: nothing wrong", ["what", "is"], annotation_rows(made))
        return
    plan = check(recipe, overrides, plugins, trust_plugins, data=True)
    parameters = None
    if build:
        plan, parameters = _built_parameters(plan)
    if full:
        click.echo(full_recipe(plan), nl=False)
        return
    table(f"{plan.name}: nothing wrong", ["what", "is"], [*summary_rows(plan, parameters), *_data_rows(plan)])
    kept = forecast(plan)
    if kept:
        table("the feature cache will hold about", COLUMNS, forecast_rows(kept))


def _built_parameters(plan: Plan) -> tuple[Plan, Counter[str]]:
    """The plan as a build on the meta device settles it, and parameters by address.

    Raises PieceError, InputError or RunError, never a stranger's error.
    """
    from affectkit.model.sizes import build_on_meta, sizes

    try:
        model, built = build_on_meta(plan)
        return built, sizes(model).parameters
    except AffectkitError:
        raise
    except Exception as error:
        what = f"the recipe is right, and building it on the meta device failed: {cause(error)}"
        fix = (
            "affectkit fit builds it with real weights; in Python, affectkit.model.sizes.build_on_meta(plan) says more"
        )
        raise RunError(Problem(plan.recipe.source, what, fix)) from error


def _data_rows(plan: Plan) -> list[list[str]]:
    """What each data set told of itself."""
    rows = []
    for path, told in plan.surveys.items():
        splits = ", ".join(f"{name} {count:,}" for name, count in told.splits.items())
        ratings = ", ".join(name + scale_text(*ends) for name, ends in told.numbers.items())
        labels = f"labels {', '.join(told.labels)}" if told.labels else ""
        said = [told.note, splits, labels, f"ratings {ratings}" if ratings else ""]
        rows.append([f"samples of {'.'.join(map(str, path))}", "; ".join(t for t in said if t)])
    return rows


def scale_text(low: float, high: float) -> str:
    """The ends of a scale, with a blank before; nothing where it has none."""
    return f" {low:g} to {high:g}" if math.isfinite(low) and math.isfinite(high) else ""
