"""`affectkit cache`: the feature cache."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import click

from affectkit.commands._options import converter_settings, goes_on_with_it, plugin_options
from affectkit.errors import InputError, Problem, RunError
from affectkit.files import cache_folder
from affectkit.registry import Registry
from affectkit.report.terminal import table


@click.group("cache", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show the feature cache: where it is, how large, how many shards; or clear it.

    Frozen steps run once a sample; what they gave is kept here, and so are clips that data sets made. The folder is
    $AFFECTKIT_CACHE, $XDG_CACHE_HOME/affectkit or ~/.cache/affectkit; a recipe may name another for its features.

    \b
    affectkit cache                                             the folder, its shards and their size
    affectkit cache build voice                                 make what fit and evaluate would make
    affectkit cache clear --yes                                 remove features; generated clips stay
    affectkit cache clear --all                                 remove the clips too, after asking
    AFFECTKIT_CACHE=/tmp/try affectkit fit voice                another folder, for one run
    affectkit fit voice run.cache=/tmp/try                      the same for features alone
    affectkit fit voice streams.audio.cache=none                keep nothing of that stream
    """
    if ctx.invoked_subcommand:
        return
    folder = _folder()
    shards = list((folder / "features").rglob("*.safetensors"))
    steps = {p.parent for p in shards}
    size = sum(p.stat().st_size for p in shards)
    other = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) - size if folder.exists() else 0
    rows = [
        ["folder", str(folder)],
        ["features", f"{len(shards)} shards of {len(steps)} steps, {size / 1e6:.1f} MB"],
        ["other (generated clips)", f"{other / 1e6:.1f} MB"],
    ]
    table("cache", ["what", "is"], rows)


def _folder() -> Path:
    """The cache's folder, which need not be there. Raises InputError where something else is there."""
    folder = cache_folder()
    if folder.exists() and not folder.is_dir():
        fix = "let AFFECTKIT_CACHE (or XDG_CACHE_HOME) name a folder, which need not be there yet"
        raise InputError(Problem(str(folder), "is to be the cache, and is a file", fix))
    return folder


@command.command("build")
@click.argument("target", metavar="RECIPE|RUN")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--split", "splits", multiple=True, metavar="NAME", help="Only this split; may be repeated.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", help="This process, or a Ray cluster.")
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Workers of the cluster. Default: one a CPU, or GPU."
)
@click.option(
    "--address", default="", metavar="HOST:PORT", help="A running Ray cluster, or `auto`. Default: start one here."
)
@plugin_options
def build(
    target: str,
    overrides: tuple[str, ...],
    splits: tuple[str, ...],
    engine: str,
    workers: int | None,
    address: str,
    plugins: tuple[str, ...],
    trust_plugins: bool,
) -> None:
    """Make the features of all frozen steps ahead of training, for the splits that fit and evaluate read.

    What is there is not made again. Processes that torchrun or srun starts share the work.

    \b
    affectkit cache build recipes/emo_llama.yaml
    affectkit cache build mine.yaml --split train --engine ray --workers 8
    affectkit cache build runs/last score.splits=[val,test]
    torchrun --nproc-per-node 4 -m affectkit cache build mine.yaml
    """
    from affectkit.cluster import Cluster
    from affectkit.plan.check import check
    from affectkit.train.ahead import build_ahead, built_steps, ranks
    from affectkit.train.run_folder import is_run

    rank, world = ranks()
    if engine == "local" and (workers or address):
        raise click.UsageError("--workers and --address are for --engine ray")
    if engine == "ray" and world > 1:
        raise click.UsageError("ranks share the work by themselves: leave out --engine ray, or torchrun and srun")
    trained = is_run(target)
    with Cluster(address, workers or 0) if engine == "ray" else nullcontext() as cluster, goes_on_with_it():
        if trained:
            from affectkit.api import load

            loaded = load(target, overrides, plugins, trust_plugins)
            plan, steps = loaded.plan, loaded.model.steps
        else:
            steps, plan = built_steps(check(target, overrides, plugins, trust_plugins), click.echo)
        made = build_ahead(plan, steps, trained, splits, cluster)
    for where, why in made.left_out.items():
        click.echo(f"not ahead of the run: {where}: {why}")
    for sample, why in list(made.broken.items())[:20]:
        click.echo(f"cannot be decoded: {sample}: {why}")
    if len(made.broken) > 20:
        click.echo(f"and {len(made.broken) - 20} more that cannot be decoded")
    share = f"rank {rank} of {world}: " if world > 1 else ""
    click.echo(f"{share}{made.made} entries made, {made.there} there before, {made.seconds:.1f} s")


@command.command("clear")
@click.option("--all", "everything", is_flag=True, help="Generated clips as well as features.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(everything: bool, yes: bool) -> None:
    """Remove cached features, and what was noted of files; they are made again when they are needed.

    \b
    affectkit cache clear
    affectkit cache clear --yes
    affectkit cache clear --all --yes
    """
    folder = _folder()
    doomed = [path for path in ([folder] if everything else _features(folder)) if path.exists() or path.is_symlink()]
    if not doomed:
        click.echo(f"{folder if everything else folder / 'features'}: nothing there")
        return
    if not yes:
        click.confirm(f"remove {' and '.join(map(str, doomed))}?", abort=True)
    for path in doomed:
        try:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError as error:
            what = f"cannot be removed: {error.strerror or error}"
            raise RunError(
                Problem(str(error.filename or path), what, "remove it by hand, or let it be written to")
            ) from None
        click.echo(f"removed {path}")


def _features(folder: Path) -> list[Path]:
    """What holds cached features, and what was noted of files; the latter may be damaged in any way, a folder even."""
    return [folder / "features", *sorted(folder.glob("memo.sqlite*"))]


@command.command("export")
@click.argument("target", metavar="RECIPE|RUN")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--layout", required=True, metavar="CONVERTER", help="Converter piece that knows the layout.")
@click.option("--out", required=True, type=click.Path(), metavar="DIR", help="Where the feature folders go.")
@click.option("--split", "splits", multiple=True, metavar="NAME", help="Only this split; may be repeated.")
@converter_settings
@plugin_options
def export(
    target: str,
    overrides: tuple[str, ...],
    layout: str,
    out: str,
    splits: tuple[str, ...],
    chosen: tuple[str, ...],
    plugins: tuple[str, ...],
    trust_plugins: bool,
) -> None:
    """Write features of every clip as another system's code reads them, from raw clips through the recipe's encoders.

    \b
    affectkit cache export recipes/paper/emotion_llama.yaml --layout emotion_llama --out features
    affectkit cache export runs/last --layout emotion_llama --out features --set folders.HL-UTT=audio.encoder
    """
    from affectkit.interop.contract import Layout, find_converter
    from affectkit.interop.feature_files import export_features
    from affectkit.plan.check import check
    from affectkit.train.run_folder import is_run

    _, made, _ = find_converter(Registry.load(plugins), layout, Layout, chosen)
    if is_run(target):
        from affectkit.api import load

        loaded = load(target, overrides, plugins, trust_plugins)
        written = export_features(loaded.plan, made, out, splits, loaded.model.steps)
    else:
        written = export_features(check(target, overrides, plugins, trust_plugins), made, out, splits)
    for name, count in written.counts.items():
        click.echo(f"{name}: {count} files, from {written.blocks[name]}")
    for where, why in list(written.left_out.items())[:20]:
        click.echo(f"no file for {where}: {why}")
    if len(written.left_out) > 20:
        click.echo(f"and {len(written.left_out) - 20} more without a file, all in features.json")
    click.echo(f"features: {out}")
