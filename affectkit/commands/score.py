"""`affectkit score`: metrics with intervals from answers and truths in files, or from a confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from affectkit.commands._options import client_options, plugin_files, print_json, reader_named, reader_option, values_of
from affectkit.errors import InputError, Problem
from affectkit.evaluation.clients import access_for
from affectkit.evaluation.figures import Matrix, SplitFigures, digits
from affectkit.evaluation.prediction import ANSWERED
from affectkit.labels.answers import Source
from affectkit.labels.scoring import build_metrics, checked_range, of_answers, of_confusion, read_by, unread
from affectkit.registry import Registry
from affectkit.report.answers import reliability_line
from affectkit.report.terminal import table

EXAMPLES = """
\b
Examples:
  affectkit score uar war --predictions answers.csv --labels truth.csv
  affectkit score uar war --predictions runs/last/predictions.jsonl --split test
  affectkit score weighted_f1 --confusion matrix.json --json
  affectkit score uar --predictions thoughts.csv --labels truth.csv --reader tagged reader.answer=final
  affectkit score mer2023_upstream --predictions generated.csv --labels truth.csv
  affectkit score clue_overlap label_overlap --predictions answers.csv --labels gt-eng.csv
    --client openai_compatible client.url=http://127.0.0.1:8000/v1 client.model=NAME
  affectkit score ccc mae --predictions answers.csv --labels truth.csv --range valence=-1,1
  affectkit score multilabel_f1 jaccard --predictions answers.csv --labels truth.csv
  affectkit score ov_wheels hit_rate --predictions P-openset.npz --labels label.npz --split test --wheels emotion_wheel

Files are tables (CSV, Excel, JSON, JSONL, Parquet) with the columns id (or name) and label (or labels, a list, or a text
such as ['sad']); metrics of texts find a column of texts, or take --answer-column and --truth-column. A truth without an
answer, and an empty answer, count as wrong; answers without a truth are left out. Labels are read as an evaluation reads
them (Happy. is happy); what is read otherwise than it is written, refused or without a partner is noted, with a count and
an example. Metrics of numbers read a column a rating (valence; where one file holds both, true_valence and valence), metrics of
several labels a column of labels with | , ; or / between them, or JSON lists.

A confusion matrix is a JSON list of rows, rows are truth; one column more than rows holds invalid answers.
Published npz are read, too, and nothing in them is run.
"""


@click.command("score", epilog=EXAMPLES)
@click.argument("metrics", nargs=-1, required=True, metavar="METRIC... [METRIC.KEY=VALUE]... [client.KEY=VALUE]...")
@click.option("--predictions", type=click.Path(path_type=Path), help="Answers, or a run's predictions.jsonl.")
@click.option("--labels", type=click.Path(path_type=Path), help="Truths; not needed where the predictions hold them.")
@click.option("--confusion", type=click.Path(path_type=Path), help="A confusion matrix instead of answers and truths.")
@click.option("--answer-column", metavar="NAME", help="Column of --predictions that holds the answers.")
@click.option("--truth-column", metavar="NAME", help="Column of --labels that holds the truths.")
@click.option("--classes", help="The label set, comma separated. Default: every label that occurs.")
@click.option(
    "--range", "ranges", multiple=True, metavar="RATING=LOW,HIGH", help="A rating's scale: what lies outside is noted."
)
@click.option("--split", help="Which split of a run's predictions.jsonl, or of a published npz of labels.")
@click.option("--wheels", metavar="DIR", help="The published emotion-wheel tables, for metrics that map words.")
@click.option("--groups", metavar="DIR", help="Stored groups of synonyms, for metrics that replay them.")
@click.option("--client", metavar="NAME", help="The piece that judges, for metrics that ask a model.")
@client_options
@reader_option
@click.option("--resamples", default=1000, show_default=True, type=click.IntRange(1), help="Bootstrap draws.")
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap.")
@plugin_files
@click.option("--json", "as_json", is_flag=True, help="Print JSON with every digit.")
def command(
    metrics: tuple[str, ...],
    predictions: Path | None,
    labels: Path | None,
    confusion: Path | None,
    answer_column: str | None,
    truth_column: str | None,
    classes: str | None,
    ranges: tuple[str, ...],
    split: str | None,
    wheels: str | None,
    groups: str | None,
    client: str | None,
    servers: tuple[str, ...],
    api_key_env: str | None,
    reader: str | None,
    resamples: int,
    seed: int,
    plugins: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compute metrics with 95 % bootstrap intervals from answers and truths, or from a confusion matrix."""
    if (predictions is None) == (confusion is None):
        raise InputError(
            Problem("score", "give either --predictions or --confusion", "see affectkit score --help"),
        )
    if confusion is not None and (labels is not None or split is not None):
        what = "a confusion matrix has no labels and splits to look up"
        raise InputError(Problem("score", what, "leave --labels and --split out"))
    asked = [m for m in metrics if "=" not in m]
    said = [m for m in metrics if "=" in m] + ([f"client.use={client}"] if client else [])
    names = tuple(name for c in classes.split(",") if (name := c.strip())) if classes else None
    if names and len(set(names)) < len(names):
        raise InputError(Problem("--classes", f"names a class twice: {classes}"))
    with access_for(servers, api_key_env, said):
        shared = {key: value for key, value in {"wheels": wheels, "groups": groups}.items() if value is not None}
        values = values_of(said, [*asked, "client", "reader"]) if asked else {}
        settings = {name: values.get(name, {}) for name in asked}
        registry = Registry.load(plugins)
        wanted = build_metrics(settings, registry, shared, values.get("client"))
    read = reader_named(reader, values.get("reader", {}), registry)
    unused = [
        f"--{key} is not used: no setting {key!r} in {', '.join(asked)}"
        for key in shared
        if not any(key in scorer.settings for scorer in wanted.values())
    ]
    if read:
        unused += unread("--reader", wanted, confusion is None)
    if confusion is not None:
        found = of_confusion(confusion, wanted, names, seed, resamples)
    else:
        assert predictions is not None
        source = Source(predictions, labels, split, answer_column, truth_column, names, dict(map(_range, ranges)))
        found = of_answers(read_by(source, read), wanted, names, seed, resamples)
    if unused:
        found = replace(found, remarks=(*unused, *(found.remarks or ())))
    if as_json:
        print_json(found.to_dict())
    else:
        show(found, asked)


def _range(text: str) -> tuple[str, tuple[float, float]]:
    """`valence=-1,1` as a rating and the ends of its scale. Raises InputError for anything else."""
    name, _, ends = text.partition("=")
    try:
        low, high = map(float, ends.split(","))
    except ValueError:
        raise InputError(Problem("--range", f"cannot read {text!r}", "write it as valence=-1,1")) from None
    return name, checked_range("--range", name, low, high)


def show(found: SplitFigures, names: Sequence[str]) -> None:
    """Print the figures as tables for people."""
    metrics = {name: found.metrics[name] for name in names if name in found.metrics}
    rows = [
        [name, *one.digits(4), *(digits(guess, 4) for guess in found.guesses(name))] for name, one in metrics.items()
    ]
    if rows:
        table("", ["metric", "value", "95 % interval", "chance", "majority"], rows)
    for name in names:
        one = found.by_metric[name]
        if isinstance(one, Mapping) and "rows" in one:
            matrix = Matrix.from_dict(one)
            lines = [[truth, *map(str, row)] for truth, row in zip(matrix.labels, matrix.rows, strict=True)]
            table(f"{name}: rows truth, columns answer", ["", *matrix.columns], lines)
        parts = metrics[name].parts if name in metrics else {}
        if parts:
            columns = list(next(iter(parts.values())))
            lines = [
                [p, *(str(v[c]) if isinstance(v[c], int) else digits(v[c], 4) for c in columns)]
                for p, v in parts.items()
            ]
            table(f"{name}, by part", ["", *columns], lines)
        if name in metrics and metrics[name].protocol:
            click.echo(f"{name}: {metrics[name].protocol}")
    if found.reliability:
        click.echo(reliability_line(found.reliability))
    for remark in found.remarks or ():
        click.echo(f"note: {remark}")
    states = {state: n for state, n in found.ledger.to_dict().items() if n} if found.ledger else {}
    wrong = [f"{states[s]} {s}" for s in ANSWERED[1:] if s in states]
    out = [f"{states[s]} {s}" for s in ("undecodable", "skipped") if s in states]
    classes = f" in {len(found.labels)} classes: {', '.join(found.labels)}" if found.labels else ""
    click.echo(f"{found.count} samples{classes}")
    if wrong:
        click.echo(f"of these no valid answer{', counted as wrong' if found.labels else ''}: {', '.join(wrong)}")
    if out:
        click.echo(f"left out besides: {', '.join(out)}")
