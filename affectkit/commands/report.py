"""`affectkit report`: a run's pages again, or runs side by side."""

from __future__ import annotations

from pathlib import Path

import click

EXAMPLES = """
\b
Examples:
  affectkit report runs/last
  affectkit report runs/full runs/no_face runs/no_audio --out ablations.html
"""


@click.command("report", epilog=EXAMPLES)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("comparison.html"),
    show_default=True,
    help="Where to write the comparison of several runs; the same as .md lies beside it.",
)
def command(runs: tuple[Path, ...], out: Path) -> None:
    """Make a run's report.html and report.md again, or compare runs, the first being the baseline."""
    if len(runs) == 1:
        from affectkit.report import write_report

        page = write_report(runs[0])
    else:
        from affectkit.comparison import compare_report

        page = compare_report(runs, out)
    click.echo(f"{page}\n{page.with_suffix('.md')}")
