"""`affectkit score`: metrics with intervals from answers and truths in files, or from a confusion matrix."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from affectkit.commands._options import client_options
from affectkit.errors import InputError, Problem

if TYPE_CHECKING:
    import numpy as np

    from affectkit.evaluation.prediction import Metric, Prediction
    from affectkit.labels.answers import Source
    from affectkit.plan.use import Use

EXAMPLES = """
\b
Examples:
  affectkit score uar war --predictions answers.csv --labels truth.csv
  affectkit score uar war --predictions runs/last/predictions.jsonl --split test
  affectkit score weighted_f1 --confusion matrix.json --json
  affectkit score mer2023_upstream --predictions generated.csv --labels truth.csv
  affectkit score clue_overlap label_overlap --predictions answers.csv --labels gt-eng.csv
    --client openai_compatible client.url=http://127.0.0.1:8000/v1 client.model=NAME
  affectkit score ov_wheels hit_rate --predictions P-openset.npz --labels label.npz --split test --wheels emotion_wheel

Files are CSV or JSONL with the columns id (or name) and label (or labels, a list, or a text such as ['sad']); metrics
of texts find a column of texts, or take --answer-column and --truth-column. A truth without an answer, and an empty
answer, count as wrong; answers without a truth are left out. A confusion matrix is a JSON list of rows, rows are truth;
one column more than rows holds invalid answers. Published npz are read, too, and nothing in them is run.
"""


@click.command("score", epilog=EXAMPLES)
@click.argument("metrics", nargs=-1, required=True, metavar="METRIC... [METRIC.KEY=VALUE]... [client.KEY=VALUE]...")
@click.option("--predictions", type=click.Path(path_type=Path), help="Answers, or a run's predictions.jsonl.")
@click.option("--labels", type=click.Path(path_type=Path), help="Truths; not needed where the predictions hold them.")
@click.option("--confusion", type=click.Path(path_type=Path), help="A confusion matrix instead of answers and truths.")
@click.option("--answer-column", metavar="NAME", help="Column of --predictions that holds the answers.")
@click.option("--truth-column", metavar="NAME", help="Column of --labels that holds the truths.")
@click.option("--classes", help="The label set, comma separated. Default: every label that occurs.")
@click.option("--split", help="Which split of a run's predictions.jsonl, or of a published npz of labels.")
@click.option("--wheels", metavar="DIR", help="The published emotion-wheel tables, for metrics that map words.")
@click.option("--groups", metavar="DIR", help="Stored groups of synonyms, for metrics that replay them.")
@click.option("--client", metavar="NAME", help="The piece that judges, for metrics that ask a model.")
@client_options
@click.option("--resamples", default=1000, show_default=True, type=click.IntRange(1), help="Bootstrap draws.")
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--plugin", "plugins", multiple=True, metavar="FILE.py", help="Load this file as a plugin.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with every digit.")
def command(
    metrics: tuple[str, ...],
    predictions: Path | None,
    labels: Path | None,
    confusion: Path | None,
    answer_column: str | None,
    truth_column: str | None,
    classes: str | None,
    split: str | None,
    wheels: str | None,
    groups: str | None,
    client: str | None,
    servers: tuple[str, ...],
    api_key_env: str | None,
    resamples: int,
    seed: int,
    plugins: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compute metrics with 95 % bootstrap intervals from answers and truths, or from a confusion matrix."""
    from affectkit.evaluation.clients import granted
    from affectkit.labels.answers import Source

    if (predictions is None) == (confusion is None):
        raise InputError(
            Problem("score", "give either --predictions or --confusion", "see affectkit score --help"),
        )
    if confusion is not None and (labels is not None or split is not None):
        what = "a confusion matrix has no labels and splits to look up"
        raise InputError(Problem("score", what, "leave --labels and --split out"))
    asked = [m for m in metrics if "=" not in m]
    said = [m for m in metrics if "=" in m] + ([f"client.use={client}"] if client else [])
    names = tuple(c.strip() for c in classes.split(",")) if classes else None
    if names and len(set(names)) < len(names):
        raise InputError(Problem("--classes", f"names a class twice: {classes}"))
    with granted(servers, api_key_env, said):
        shared = {key: value for key, value in {"wheels": wheels, "groups": groups}.items() if value is not None}
        uses, built = build(asked, said, plugins, shared)
    if confusion is not None:
        found = of_confusion(confusion, built, names, seed, resamples)
    else:
        assert predictions is not None
        source = Source(predictions, labels, split, answer_column, truth_column, names)
        found = of_answers(source, uses, built, names, seed, resamples)
    if as_json:
        from affectkit.files import plain

        click.echo(json.dumps(plain(found), ensure_ascii=False))
    else:
        show(found, asked)


def build(
    names: Sequence[str],
    said: Sequence[str],
    plugins: tuple[str, ...],
    shared_settings: Mapping[str, str] | None = None,
) -> tuple[dict[str, Use], dict[str, Metric]]:
    """The metrics of those names, with the settings that were said: (by name what they use, built).

    `shared_settings` go to every metric that has a setting of that name. Raises InputError where none has.
    """
    from affectkit.commands._blocks import client_of, settings_of, values_of
    from affectkit.evaluation.protocol import build_metric
    from affectkit.plan.metrics import no_client, wants_client
    from affectkit.plan.use import Use
    from affectkit.registry import Registry

    if not names:
        raise InputError(Problem("score", "names no metric", "see affectkit pieces metric"))
    registry = Registry.load(plugins)
    values = values_of(said, [*names, "client"])
    shared = values.pop("client", {})
    uses, built = {}, {}
    pieces = {name: registry.piece("metric", name) for name in names}
    for key in shared_settings or {}:
        if not any(key in _fields(piece.settings) for piece in pieces.values()):
            raise InputError(Problem(f"--{key}", f"none of {', '.join(names)} has the setting {key!r}"))
    for name, piece in pieces.items():
        fields = _fields(piece.settings)
        own = {**{k: v for k, v in (shared_settings or {}).items() if k in fields}, **values.get(name, {})}
        asking = "client" in fields
        if asking and (shared or own.get("client")):
            own["client"] = {**shared, **(own.get("client") or {})}
        use = Use(piece, settings_of(piece.settings, own, name))
        client = None
        if wants_client(use):
            if not use.settings.client:
                raise InputError(no_client(f"metric {name}", use, registry.names("client")))
            client = client_of(registry, use.settings.client)
        uses[name], built[name] = use, build_metric(use, client)
    return uses, built


def _fields(settings: type) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(settings, "__dataclass_fields__", {})
    return fields


def of_confusion(
    path: Path, built: dict[str, Metric], classes: tuple[str, ...] | None, seed: int, resamples: int
) -> dict[str, Any]:
    """Figures of a confusion matrix in a file."""
    from affectkit.evaluation.score import score_counts
    from affectkit.labels.answers import read_confusion

    counts, names = read_confusion(path, classes)
    slow = [name for name, metric in built.items() if not _of_counts(metric)]
    if slow:
        what = "cannot be had from a confusion matrix"
        raise InputError(Problem(f"metric {slow[0]!r}", what, "give --predictions and --labels"))
    return score_counts(counts, built, names, seed, resamples) | _matrices(counts, names, built)


def _of_counts(metric: Metric) -> bool:
    """Whether the counts of a confusion matrix are enough for a metric."""
    return hasattr(metric, "from_confusions") or hasattr(metric, "from_counts")


def _matrices(counts: np.ndarray, names: tuple[str, ...], built: dict[str, Metric]) -> dict[str, Any]:
    """What metrics that are no number make of the counts: the matrix itself."""
    return {name: m.from_counts(counts, names) for name, m in built.items() if hasattr(m, "from_counts")}


def of_answers(
    source: Source,
    uses: Mapping[str, Use],
    built: Mapping[str, Metric],
    classes: tuple[str, ...] | None,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """Figures of answers in files: metrics of labels together, metrics of texts by the task that they score."""
    from affectkit.evaluation.protocol import comparable
    from affectkit.evaluation.score import ledger, measure
    from affectkit.labels.answers import read_labelled, read_texts
    from affectkit.plan.metrics import LABEL, asked_by, held_against, read_from

    tasks = {name: asked_by(use.settings, "")[0] for name, use in uses.items()}
    texts_of = {name: use.settings for name, use in uses.items() if tasks[name] != LABEL}
    reads = {name: (tasks[name], read_from(own), held_against(own)) for name, own in texts_of.items()}
    found: dict[str, Any] = {}
    of_labels = {name: metric for name, metric in built.items() if tasks[name] == LABEL}
    if of_labels:
        found = of_labelled(*read_labelled(source, classes), of_labels, seed, resamples)
    for read in dict.fromkeys(reads.values()):
        texts = read_texts(source, *read)
        answered = comparable(texts)
        for name in (n for n, own in reads.items() if own == read):
            found[name] = measure(built[name], answered, classes or (), seed, resamples)
        if not of_labels:
            found |= {"count": len(answered), "labels": list(classes or ()), "ledger": ledger(texts)}
    return found


def of_labelled(
    found: list[Prediction], names: tuple[str, ...], built: Mapping[str, Metric], seed: int, resamples: int
) -> dict[str, Any]:
    """Figures of predictions. Where counts are enough the metrics are not called: that would import torch."""
    from affectkit.evaluation.protocol import comparable
    from affectkit.evaluation.score import count, ledger, measure, score_counts

    quick = {name: metric for name, metric in built.items() if _of_counts(metric)}
    slow = {name: metric for name, metric in built.items() if name not in quick}
    answered = comparable(found)
    counts = count(answered, names)
    figures = score_counts(counts, quick, names, seed, resamples) | {"ledger": ledger(found)}
    figures |= {name: measure(metric, answered, names, seed, resamples) for name, metric in slow.items()}
    return figures | _matrices(counts, names, quick)


def show(found: Mapping[str, Any], names: Sequence[str]) -> None:
    """Print the figures as tables for people."""
    from affectkit.report.terminal import table

    def digits(value: float | None) -> str:
        return "–" if value is None else f"{value:.4f}"

    rows = []
    for name in names:
        if "value" in found[name]:
            one = found[name]
            guess = [digits(found.get(kind, {}).get(name)) for kind in ("chance", "majority")]
            rows.append([name, digits(one["value"]), f"{digits(one['low'])} to {digits(one['high'])}", *guess])
    if rows:
        table("", ["metric", "value", "95 % interval", "chance", "majority"], rows)
    for name in names:
        if "rows" in found[name]:
            matrix = [[t, *map(str, r)] for t, r in zip(found[name]["labels"], found[name]["rows"], strict=True)]
            table(f"{name}: rows truth, columns answer", ["", *found[name]["columns"]], matrix)
        if found[name].get("parts"):
            parts = found[name]["parts"]
            columns = list(next(iter(parts.values())))
            lines = [
                [p, *(digits(v[c]) if not isinstance(v[c], int) else str(v[c]) for c in columns)]
                for p, v in parts.items()
            ]
            table(f"{name}, by part", ["", *columns], lines)
        if found[name].get("protocol"):
            click.echo(f"{name}: {found[name]['protocol']}")
    states = {state: n for state, n in found.get("ledger", {}).items() if n}
    wrong = [f"{states[s]} {s}" for s in ("unparsed", "out_of_vocabulary") if s in states]
    out = [f"{states[s]} {s}" for s in ("undecodable", "skipped") if s in states]
    classes = f" in {len(found['labels'])} classes: {', '.join(found['labels'])}" if found["labels"] else ""
    click.echo(f"{found['count']} samples{classes}")
    if wrong:
        click.echo(f"of these no valid answer, counted as wrong: {', '.join(wrong)}")
    if out:
        click.echo(f"left out besides: {', '.join(out)}")
