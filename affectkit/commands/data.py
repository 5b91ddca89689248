"""`affectkit data`: look at data."""

from __future__ import annotations

from pathlib import Path

import click


class DataSets(click.Group):
    """A verb for every data set that makes its own clips."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from affectkit.registry import Registry

        return [p.name for p in Registry.load().pieces("dataset") if p.write is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from affectkit.errors import InputError, unknown
        from affectkit.registry import Registry

        piece = next((p for p in Registry.load().pieces("dataset") if p.name == cmd_name and p.write is not None), None)
        if piece is None:
            raise InputError(unknown("", "data set that makes its own clips", cmd_name, self.list_commands(ctx)))
        return _command(cmd_name, piece.about)


@click.group("data", cls=DataSets)
def command() -> None:
    """Look at data: write example clips of a data set that makes its own, with a contact sheet.

    \b
    affectkit data puppets --count 12 --out clips
    """


def _command(name: str, about: str) -> click.Command:
    @click.command(name, help=f"Write example clips of {name}: {about}")
    @click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
    @click.option("--count", default=12, show_default=True, help="How many clips.")
    @click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to put them in.")
    def made(overrides: tuple[str, ...], count: int, out: Path) -> None:
        from affectkit import marked_yaml, settings
        from affectkit.errors import InputError
        from affectkit.registry import Registry

        piece = Registry.load().piece("dataset", name)
        read = {k: marked_yaml.parse(v, k) for k, _, v in (o.partition("=") for o in overrides)}
        broken = [problem for _, _, problems in read.values() for problem in problems]
        if broken:
            raise InputError(broken)
        values = {k: value for k, (value, _, _) in read.items()}
        given, problems = settings.read(piece.settings, values, lambda path: ".".join(map(str, path)))
        if problems:
            raise InputError(problems)
        assert piece.write is not None
        piece.write(given, out, count)
        for path in sorted(out.iterdir()):
            click.echo(str(path))

    return made
