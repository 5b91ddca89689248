"""`affectkit wheels`: the published emotion-wheel tables, read into the user's cache."""

from __future__ import annotations

from pathlib import Path

import click

from affectkit.labels.wheels import SHA256, import_tables
from affectkit.report.terminal import table


@click.group("wheels")
def command() -> None:
    """Import the published emotion-wheel tables, which open-vocabulary metrics map words with.

    Without them a small lexicon of our own serves, and figures are not comparable with published ones.

    \b
    affectkit wheels import AffectGPT/emotion_wheel
    affectkit score ov_wheels --predictions P-openset.npz --labels truth.csv --wheels AffectGPT/emotion_wheel
    """


@command.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
def import_(folder: Path) -> None:
    """Read format.csv, format_mer2026.csv, synonym.xlsx and wheel1.xlsx to wheel5.xlsx of FOLDER; print their SHA-256.

    \b
    affectkit wheels import AffectGPT/emotion_wheel
    """
    written = import_tables(folder)
    sums = {file: digest for tables, _ in written for file, digest in tables.sources.items()}
    known = {digest: file for file, digest in SHA256.items()}
    table("", ["file", "SHA-256", "is"], [[f, d, _what(f, known.get(d))] for f, d in sums.items()])
    for tables, path in written:
        words = len({w for words in tables.words.values() for w in words})
        sizes = f"{len(tables.forms)} forms, {len(tables.words)} base words, {words} wheel words"
        click.echo(f"{tables.name}: {sizes}\n    {path}")


def _what(file: str, published: str | None) -> str:
    if published is None:
        return "not a published file: figures are not comparable"
    return "as published" if published == file else f"as published ({published})"
