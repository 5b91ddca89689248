"""`affectkit cache`: the feature cache."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("cache", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show the feature cache: where it is, how large, how many shards; or clear it.

    Frozen steps run once a sample; what they gave is kept here, and so are clips that data sets made. The folder is
    $AFFECTKIT_CACHE, $XDG_CACHE_HOME/affectkit or ~/.cache/affectkit; a recipe may name another for its features.

    \b
    affectkit cache                                             the folder, its shards and their size
    affectkit cache clear --yes                                 remove features; generated clips stay
    affectkit cache clear --all                                 remove the clips too, after asking
    AFFECTKIT_CACHE=/tmp/try affectkit fit voice                another folder, for one run
    affectkit fit voice run.cache=/tmp/try                      the same for features alone
    affectkit fit voice streams.audio.cache=none                keep nothing of that stream
    """
    if ctx.invoked_subcommand:
        return
    from affectkit.commands._options import table

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
    from affectkit.files import cache_folder

    return cache_folder()


@command.command("clear")
@click.option("--all", "everything", is_flag=True, help="Generated clips as well as features.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(everything: bool, yes: bool) -> None:
    """Remove cached features; they are made again when they are needed.

    \b
    affectkit cache clear
    affectkit cache clear --yes
    affectkit cache clear --all --yes
    """
    import shutil

    folder = _folder()
    doomed = folder if everything else folder / "features"
    if not doomed.exists():
        click.echo(f"{doomed}: nothing there")
        return
    if not yes:
        click.confirm(f"remove {doomed}?", abort=True)
    shutil.rmtree(doomed)
    click.echo(f"removed {doomed}")
