"""`affectkit evaluate`: figures of a run or a recipe."""

from __future__ import annotations

import click

from affectkit.commands._options import client_options, plugin_options


@click.command("evaluate")
@click.argument("target", metavar="RUN|RECIPE")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@plugin_options
@client_options
@click.option(
    "--vary",
    multiple=True,
    metavar="KIND",
    help="Also try other ways to ask: labels (their order), frames (first, middle, peak), transcript (without it).",
)
def command(
    target: str,
    overrides: tuple[str, ...],
    plugins: tuple[str, ...],
    trust_plugins: bool,
    servers: tuple[str, ...],
    api_key_env: str | None,
    vary: tuple[str, ...],
) -> None:
    """Evaluate a trained run, again or otherwise; or a recipe as it starts, untrained.

    With overrides a new run folder is made, so that the run's own figures stay as they are.

    \b
    affectkit evaluate runs/last
    affectkit evaluate runs/last 'score.splits=[conflict]' score.method=generate
    affectkit evaluate runs/last data.use=table data.path=clips.csv
    affectkit evaluate runs/last --vary labels --vary transcript
    affectkit evaluate runs/last --server https://judge.example/v1 --api-key-env JUDGE_KEY
    """
    from affectkit.runs import is_run

    if not is_run(target):
        from affectkit.plan import check

        check(target, overrides, plugins, trust_plugins)
    from affectkit.clients import granted
    from affectkit.fit import evaluate
    from affectkit.outcome import tell_outcome

    with granted(servers, api_key_env, overrides):
        run = evaluate(target, overrides, plugins, trust_plugins, click.echo, vary)
    tell_outcome(run, click.echo)
