"""Arguments that several verbs share, and what they have in common in reading and printing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from affectkit.errors import InputError, Problem, unknown
from affectkit.files import Json, plain

if TYPE_CHECKING:
    from affectkit.reading import Reader
    from affectkit.registry import Registry

Command = Callable[..., Any]


@contextmanager
def goes_on_with_it() -> Iterator[None]:
    """Say what to do after an interruption of work whose parts are kept."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on with it", err=True)
        raise


def page_file(_: click.Context, __: click.Parameter, out: Path) -> Path:
    """Of `--out PAGE`: the path with the ending .html, which may be left out; others are refused, not replaced."""
    if out.suffix not in ("", ".html"):
        what = f"writes a page, its .md and the like beside it; got {out.name!r}"
        raise InputError(Problem("--out", what, f"write --out {out.with_suffix('.html')}"))
    return out.with_suffix(".html")


def plugin_files(command: Command) -> Command:
    """`--plugin FILE`."""
    about = "Load this file as a plugin; may be repeated."
    return click.option("--plugin", "plugins", multiple=True, type=click.Path(), metavar="FILE.py", help=about)(command)


def plugin_options(command: Command) -> Command:
    """`--plugin FILE` and `--trust-plugins`."""
    about = "Load the plugin files that the recipe names."
    return plugin_files(click.option("--trust-plugins", is_flag=True, help=about)(command))


def recipe_options(command: Command) -> Command:
    """RECIPE and dotted overrides, with the plugin options."""
    command = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")(plugin_options(command))
    return click.argument("recipe")(command)


def converter_settings(command: Command) -> Command:
    """`--set KEY=VALUE`: settings of a converter."""
    about = "A setting of the converter; may be repeated."
    return click.option("--set", "chosen", multiple=True, metavar="KEY=VALUE", help=about)(command)


def client_options(command: Command) -> Command:
    """`--server URL` and `--api-key-env NAME`: whom metrics may ask, which no recipe can say."""
    about = "Environment variable that holds the key for these servers."
    command = click.option("--api-key-env", metavar="NAME", help=about)(command)
    about = "A server that metrics may ask (an LLM as judge); may be repeated. One in a KEY=VALUE counts, too."
    return click.option("--server", "servers", multiple=True, metavar="URL", help=about)(command)


def reader_option(command: Command) -> Command:
    """`--reader NAME`: the piece that reads answers."""
    about = "The piece that reads answers, with settings reader.KEY=VALUE. Default: the whole answer is read."
    return click.option("--reader", metavar="NAME", help=about)(command)


def reader_named(name: str | None, settings: Mapping[str, object], registry: Registry) -> Reader | None:
    """What `--reader` names, built; None where it is not given. Raises InputError for settings of none."""
    from affectkit.labels.scoring import built_reader

    if name is None:
        if settings:
            raise InputError(
                Problem("reader.KEY=VALUE", "is a setting of a reader, and none is named", "add --reader NAME")
            )
        return None
    return built_reader({"use": name, **settings}, registry)


def print_json(value: object, indent: int | None = None) -> None:
    """Print JSON with every digit and sign, as `--json` promises, whatever the terminal can show."""
    text = json.dumps(plain(value), indent=indent, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(plain(value), indent=indent)
    click.echo(text)


def values_of(said: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Json]]:
    """`KEY.KEY=VALUE` as nested mappings; the first key is a metric that is asked for, or `client`."""
    # here, for it brings YAML, which not every verb needs
    from affectkit.recipe.overrides import parse_values

    for text in said:
        first, dot, _ = text.partition("=")[0].partition(".")
        if not dot:
            raise InputError(Problem(text, "is not of the form METRIC.KEY=VALUE", "for example client.model=NAME"))
        if first not in names:
            raise InputError(unknown(text, "metric", first, names))
    values, problems = parse_values(said, "METRIC.KEY=VALUE", "for example client.model=NAME")
    if problems:
        raise InputError(problems)
    return {name: block for name, block in values.items() if isinstance(block, dict)}
