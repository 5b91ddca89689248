"""`affectkit data`: look at data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from affectkit.commands._options import print_json, recipe_options
from affectkit.errors import InputError, Problem, unknown
from affectkit.pieces import Piece
from affectkit.recipe import settings
from affectkit.recipe.overrides import parse_values
from affectkit.registry import Registry
from affectkit.report.terminal import table

CHECK = "check"


class DataSets(click.Group):
    """The verb `check`, and one for every data set that makes its own clips."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [CHECK, *(p.name for p in Registry.load().pieces("dataset") if p.write is not None)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == CHECK:
            return check_data
        piece = next((p for p in Registry.load().pieces("dataset") if p.name == cmd_name and p.write is not None), None)
        if piece is None:
            raise InputError(unknown("", "data set that makes its own clips", cmd_name, self.list_commands(ctx)))
        return _command(piece)


@click.group("data", cls=DataSets)
def command() -> None:
    """Look at data: check that of a recipe, or write example clips of a data set that makes its own.

    Each data set that can do so is a command below; its settings are given as KEY=VALUE. Your own clips need no command:
    a recipe reads them from a table.

    \b
    affectkit data check recipes/emo_llama.yaml                 every sample of a recipe: missing, broken, there twice
    affectkit data puppets --count 12 --out clips               a few clips, their facts, contact-sheet.png
    affectkit data puppets size=192 seconds=3 --out large       other settings (affectkit pieces show puppets)
    affectkit check voice data.use=table data.path=mine.csv     is a table of your own all right?
    """


def _command(piece: Piece) -> click.Command:
    name = piece.name
    examples = f"\b\naffectkit data {name} --count 4 --out few\naffectkit data {name} seed=7 --count 28 --out many"
    told = f"Write example clips of {name}, with a contact sheet. {piece.about}"

    @click.command(name, help=f"{told}\n\n{examples}")
    @click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
    @click.option("--count", default=12, show_default=True, type=click.IntRange(1), help="How many clips.")
    @click.option(
        "--out", type=click.Path(path_type=Path), required=True, help="Folder to put them in; made if needed."
    )
    def made(overrides: tuple[str, ...], count: int, out: Path) -> None:
        given = _settings(piece, overrides)
        before = _files(out)
        assert piece.write is not None
        piece.write(given, out, count)
        for path, changed in sorted(_files(out).items()):
            if before.get(path) != changed:
                click.echo(str(path))

    return made


def _settings(piece: Piece, overrides: tuple[str, ...]) -> Any:
    """The settings of a data set from KEY=VALUE; raises InputError with all that is wrong."""
    values, problems = parse_values(overrides, example="for example seed=7")
    given, wrong = settings.read(piece.settings, values, lambda path: ".".join(map(str, path)))
    if problems or wrong:
        raise InputError([*problems, *wrong])
    return given


def _files(out: Path) -> dict[Path, int]:
    """Files in a folder, which is made, with the time of their last change."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        return {path: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()}
    except OSError as error:
        raise InputError(Problem("--out", f"{out}: {error.strerror}", "name a folder that can be written to")) from None


@click.command(CHECK)
@recipe_options
@click.option("--quick", is_flag=True, help="Open no media file: no lengths, duplicates by id and path alone.")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@click.pass_context
def check_data(
    ctx: click.Context,
    recipe: str,
    overrides: tuple[str, ...],
    plugins: tuple[str, ...],
    trust_plugins: bool,
    quick: bool,
    as_json: bool,
) -> None:
    """Look at every sample of a recipe's data, or of a data set: files that are missing or broken, labels, lengths, what is
    there twice.

    Exit code 0: nothing wrong; 1: something is; 2: the recipe is wrong, or its data cannot be opened.

    \b
    affectkit data check recipes/emo_llama.yaml
    affectkit data check recipes/paper/emotion_llama.yaml --quick
    affectkit data check cmu_mosi root=/data/MOSI                a data set by itself, with its settings
    """
    from affectkit.data import check as data_check
    from affectkit.plan.check import check
    from affectkit.plan.use import Use
    from affectkit.recipe.load import find, shipped_recipes

    registry = Registry.load(plugins)
    data_sets = registry.names("dataset")
    if find(recipe) is None and recipe not in data_sets and not {"/", "."} & set(recipe):
        also = "give a data set, the name of a shipped recipe, or the path of a YAML file"
        raise InputError(unknown("", "data set or recipe", recipe, [*data_sets, *shipped_recipes()], also))
    if find(recipe) is None and recipe in data_sets:
        piece = registry.piece("dataset", recipe)
        report = data_check.check_data_set(Use(piece, _settings(piece, overrides)), quick)
    else:
        report = data_check.check_data(check(recipe, overrides, plugins, trust_plugins, data=True), quick)
    if as_json:
        print_json(data_check.as_json(report), indent=1)
    else:
        if report.splits:
            table(f"{report.recipe}: data", data_check.SPLIT_COLUMNS, data_check.split_rows(report))
            table("labels", *data_check.label_rows(report))
        for line in (*(f"note: {note}" for note in report.notes), *data_check.finding_lines(report.findings)):
            click.echo(line)
        many = f"{len(report.findings):,} things are wrong"
        click.echo("nothing wrong" if report.ok else "1 thing is wrong" if len(report.findings) == 1 else many)
    ctx.exit(0 if report.ok else 1)
