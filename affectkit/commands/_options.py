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
