"""`affectkit report`: a run's pages again, or runs side by side."""

from __future__ import annotations

from pathlib import Path

import click

from affectkit.commands._options import page_file

EXAMPLES = """
\b
Examples:
  affectkit report runs/last
  affectkit report runs/full runs/no_face runs/no_audio --out ablations.html
  affectkit report --folds runs/fold1 runs/fold2 runs/fold3 runs/fold4 runs/fold5 --out folds.html
"""


@click.command("report", epilog=EXAMPLES)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("comparison.html"),
    show_default=True,
    callback=page_file,
    help="Where to write the comparison of several runs; the same as .md lies beside it.",
)
@click.option("--folds", is_flag=True, help="The runs are folds of one data set: one table with their mean.")
def command(runs: tuple[Path, ...], out: Path, folds: bool) -> None:
    """Make a run's report.html and report.md again, or compare runs, the first being the baseline."""
    if folds:
        from affectkit.report.terminal import table
        from affectkit.studies.folds import fold_report, fold_table

        page, figures = fold_report(runs, out)
        grid = fold_table(figures)
        rows = [["" if cell is None else str(cell) for cell in row] for row in grid.rows]
        table(f"split {figures.split}", grid.head, rows)
    elif len(runs) == 1:
        from affectkit.report.run import write_report

        page = write_report(runs[0])
    else:
        from affectkit.report.compare import compare_report

        page = compare_report(runs, out)
    click.echo(f"{page}\n{page.with_suffix('.md')}")
