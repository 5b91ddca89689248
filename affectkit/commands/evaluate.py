"""`affectkit evaluate`: figures of a run or a recipe, on its own data or on a suite of data sets."""

from __future__ import annotations

from pathlib import Path

import click

from affectkit.commands._options import client_options, goes_on_with_it, plugin_options
from affectkit.errors import InputError, Problem


@click.command("evaluate")
@click.argument("target", metavar="RUN|RECIPE")
@click.argument("others", nargs=-1, metavar="[RUN]... [KEY=VALUE]...")
@plugin_options
@client_options
@click.option(
    "--vary",
    multiple=True,
    metavar="KIND",
    help="Also try other ways to ask: labels (their order), frames (first, middle, peak), transcript (without it).",
)
@click.option(
    "--bias",
    is_flag=True,
    help="Also: figures by age, gender and race, and when these are stated otherwise; with --suite, gaps over all sets too.",
)
@click.option(
    "--suite",
    metavar="NAME|FILE",
    help="Evaluate on the data sets of a suite (mer_unibench, mer2026_track1, …, or a file of your own).",
)
@click.option(
    "--checkpoints",
    default="",
    metavar="all|NAMES",
    help="With --suite: evaluate these checkpoints too (all, or names with commas such as tune/epoch-2,tune).",
)
@click.option("--again", is_flag=True, help="With --suite: ask everything again, what is done too.")
@click.option(
    "--submission",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --suite: write the answers to hand in, in the form that the suite describes.",
)
def command(
    target: str,
    others: tuple[str, ...],
    plugins: tuple[str, ...],
    trust_plugins: bool,
    servers: tuple[str, ...],
    api_key_env: str | None,
    vary: tuple[str, ...],
    bias: bool,
    suite: str | None,
    checkpoints: str,
    again: bool,
    submission: Path | None,
) -> None:
    """Evaluate a trained run, again or otherwise; or a recipe as it starts, untrained.

    The figures go into the run's folder. With overrides or a suite a new one is made beside it (or below run.folder=FOLDER), so
    that the run's own figures stay as they are. With --suite, overrides of data, sets, defaults, show and published are the
    suite's, all others the recipe's. What is done of a suite stays done: the same command again goes on where it stopped.

    \b
    affectkit evaluate runs/last
    affectkit evaluate runs/last 'score.splits=[conflict]' score.method=generate
    affectkit evaluate runs/last data.use=table data.path=clips.csv
    affectkit evaluate runs/last --vary labels --vary transcript
    affectkit evaluate runs/last --server https://judge.example/v1 --api-key-env JUDGE_KEY
    affectkit evaluate runs/last --bias
    affectkit evaluate runs/last --suite mer_unibench data.root=/data
    affectkit evaluate runs/last --suite fer data.root=/data --bias
    affectkit evaluate runs/last --suite mer_unibench data.root=/data --checkpoints all
    affectkit evaluate runs/last --suite mer2026_track1 data.root=/data --submission submission.csv
    """
    from affectkit.evaluation.clients import access_for

    overrides = tuple(o for o in others if "=" in o)
    runs = [target, *(o for o in others if "=" not in o)]
    if suite is None:
        _refuse(runs, {"--checkpoints": checkpoints, "--submission": submission, "--again": again})
    elif vary:
        raise InputError(Problem("--vary", "cannot be had with --suite", "evaluate the run on its own data"))
    with access_for(servers, api_key_env, overrides):
        _look_at(target, suite, overrides, plugins, trust_plugins)
        if suite is None:
            from affectkit.api import evaluate

            run = evaluate(target, overrides, plugins, trust_plugins, click.echo, vary, bias)
        else:
            from affectkit.studies.matrix import CrossOptions
            from affectkit.studies.suite_run import evaluate_suite

            how = CrossOptions(None, (plugins, trust_plugins), again, bias, click.echo, checkpoints, submission)
            with goes_on_with_it():
                run = evaluate_suite(runs, suite, overrides, how)
    from affectkit.report.run import print_outcome

    print_outcome(run, click.echo)


def _look_at(
    target: str, suite: str | None, overrides: tuple[str, ...], plugins: tuple[str, ...], trust_plugins: bool
) -> None:
    """What is wrong with a suite, or with a recipe, before torch is imported."""
    from affectkit.plan.check import check
    from affectkit.registry import Registry
    from affectkit.studies.suite import load_suite, split_overrides
    from affectkit.train.run_folder import is_run

    if suite is not None:
        load_suite(suite, split_overrides(overrides)[0], Registry.load(plugins))
    elif not is_run(target):
        check(target, overrides, plugins, trust_plugins)


def _refuse(runs: list[str], given: dict[str, object]) -> None:
    """What is only to be had with a suite."""
    if len(runs) > 1:
        what = "is no KEY=VALUE; several runs are evaluated together with --suite only"
        raise InputError(Problem(runs[1], what, "name one run"))
    for option in (name for name, value in given.items() if value):
        raise InputError(Problem(option, "is for --suite", "add --suite NAME"))
