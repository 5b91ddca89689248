"""Arguments that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def plugin_options(command: Command) -> Command:
    """`--plugin FILE` and `--trust-plugins`."""
    command = click.option("--trust-plugins", is_flag=True, help="Load the plugin files that the recipe names.")(
        command
    )
    return click.option(
        "--plugin",
        "plugins",
        multiple=True,
        type=click.Path(),
        metavar="FILE.py",
        help="Load this file as a plugin; may be repeated.",
    )(command)


def recipe_options(command: Command) -> Command:
    """RECIPE and dotted overrides, with the plugin options."""
    command = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")(plugin_options(command))
    return click.argument("recipe")(command)


def converter_settings(command: Command) -> Command:
    """`--set KEY=VALUE`: settings of a converter."""
    return click.option(
        "--set", "chosen", multiple=True, metavar="KEY=VALUE", help="A setting of the converter; may be repeated."
    )(command)


def client_options(command: Command) -> Command:
    """`--server URL` and `--api-key-env NAME`: whom metrics may ask, which no recipe can say."""
    command = click.option(
        "--api-key-env",
        metavar="NAME",
        help="Environment variable that holds the key for these servers.",
    )(command)
    return click.option(
        "--server",
        "servers",
        multiple=True,
        metavar="URL",
        help="A server that metrics may ask (an LLM as judge); may be repeated. One in a KEY=VALUE counts, too.",
    )(command)


def table(title: str, columns: list[str], rows: list[list[str]], named: bool = False) -> None:
    """A table in the terminal, as wide as it needs; `named`: the first column holds names, which stay on one line."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    made = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, overflow="fold", no_wrap=named and number == 0)
    for row in rows:
        made.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(made)
