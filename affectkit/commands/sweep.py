"""`affectkit sweep`: variants of a recipe, run and compared."""

from __future__ import annotations

from pathlib import Path

import click

from affectkit.commands._options import client_options, plugin_options


@click.command("sweep")
@click.argument("sweep", metavar="SWEEP")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@plugin_options
@client_options
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where the runs and the comparison go; without it RUNS/NAME of the sweep. The same folder again goes on.",
)
@click.option(
    "--from",
    "givers",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The folder of another sweep: stages that are the same there are taken over; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Check every run and print what would be run; train nothing.")
@click.option("--compare", is_flag=True, help="Compare the runs that are done; train nothing.")
def command(
    sweep: str,
    overrides: tuple[str, ...],
    plugins: tuple[str, ...],
    trust_plugins: bool,
    servers: tuple[str, ...],
    api_key_env: str | None,
    out: Path | None,
    givers: tuple[Path, ...],
    dry_run: bool,
    compare: bool,
) -> None:
    """Run variants of one recipe, each in a run folder of its own, and compare them with the first.

    What is done stays done: the same command again goes on where it stopped, and tries again what failed. Overrides of
    seeds, devices, base, share, runs and recipe are the sweep's, all others the recipe's in every run.

    \b
    affectkit sweep recipes/sweeps/emo_llama_ablation.yaml
    affectkit sweep recipes/sweeps/emo_llama_ablation.yaml 'seeds=[0,1,2]' devices=2
    affectkit sweep recipes/sweeps/emo_llama_ablation.yaml runs.local=null --dry-run
    """
    from affectkit.errors import Problem, RunError
    from affectkit.studies.sweep import load_sweep
    from affectkit.studies.sweep_page import print_comparison, print_planned, write_comparison
    from affectkit.studies.sweep_run import Runner, check_folder, devices_for, folder_of, jobs_of

    read = load_sweep(sweep, overrides, plugins, trust_plugins)
    folder = folder_of(read, out)
    jobs = jobs_of(read, folder)
    check_folder(jobs)
    if dry_run:
        print_planned(read, jobs, folder, givers, click.echo)
        return
    if not compare:
        options = [w for p in plugins for w in ("--plugin", p)] + (["--trust-plugins"] if trust_plugins else [])
        options += [w for s in servers for w in ("--server", s)]
        options += ["--api-key-env", api_key_env] if api_key_env else []
        devices = devices_for(read.settings.devices, jobs[0].plan.run.accelerator)
        try:
            Runner(jobs, folder, options, click.echo, devices, givers).run()
        except KeyboardInterrupt:
            click.echo(f"stopped; the same command goes on with it (done: {sum(j.finished for j in jobs)})", err=True)
            raise
    page, figures = write_comparison(read, jobs, folder)
    print_comparison(figures, click.echo)
    click.echo(f"{page}\n{page.with_suffix('.md')}\n{page.with_suffix('.json')}")
    fix = "the same command tries it again"
    failed = [Problem(j.name, f"failed: {j.error}", fix) for j in jobs if j.state == "failed"]
    if failed:
        raise RunError(failed)
