"""`affectkit review`: people look at the records of an annotation."""

from __future__ import annotations

from pathlib import Path

import click

from affectkit.errors import InputError, Problem

EXAMPLES = """
\b
Examples:
  affectkit review runs/last
  affectkit review runs/last --reviewer ann --count 200 --seed 1
  affectkit review runs/last --export
"""


@click.command("review", epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--reviewer", default="", metavar="NAME", help="Who reviews. Default: the page asks for a name.")
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="So many records, drawn by the seed. Default: all."
)
@click.option("--seed", default=0, show_default=True, help="The seed of --count: the same records for everybody.")
@click.option("--rejected", is_flag=True, help="Also the records that an annotator rejected.")
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Default: that of last time, or any that is free."
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--export", "export_only", is_flag=True, help="Serve nothing; write reviewed.jsonl, print the agreement.")
@click.option("--only", is_flag=True, help="With --export: leave out what nobody reviewed.")
def command(
    run: Path,
    reviewer: str,
    count: int | None,
    seed: int,
    rejected: bool,
    port: int,
    no_browser: bool,
    export_only: bool,
    only: bool,
) -> None:
    """Serve a page, to this machine alone, on which people accept, edit or reject the records of an annotation; at the end, or
    with --export, write reviewed.jsonl beside them and print how far people agree."""
    from affectkit.annotate.review_board import ReviewSettings, checked_name
    from affectkit.annotate.reviews import annotation_folder, export

    if only and not export_only:
        raise InputError(Problem("--only", "says what --export writes", "give both"))
    folder = annotation_folder(run)
    if export_only:
        export(folder, only)
        return
    try:
        from affectkit.annotate.review_server import serve
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        what = f"needs {error.name}, which is not installed"
        raise InputError(Problem("affectkit review", what, "pip install 'affectkit[review]'")) from None
    try:
        who = checked_name(reviewer) if reviewer else ""
    except ValueError as error:
        raise InputError(Problem("--reviewer", str(error))) from None
    serve(folder, ReviewSettings(who, count, seed, rejected, port, not no_browser))
