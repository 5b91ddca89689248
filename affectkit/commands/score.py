"""`affectkit score`: metrics with intervals from answers and truths in files, or from a confusion matrix."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from affectkit.errors import InputError, Problem, unknown

if TYPE_CHECKING:
    import numpy as np

    from affectkit.score import Metric, Prediction, State

MOST = 2**53
"""No count is as large as this."""
EXAMPLES = """
\b
Examples:
  affectkit score uar war --predictions answers.csv --labels truth.csv
  affectkit score uar war --predictions runs/last/predictions.jsonl --split test
  affectkit score weighted_f1 --confusion matrix.json --json

Files are CSV or JSONL with the columns id and label. A truth without an answer, and an empty answer, count as
wrong; answers without a truth are left out. A confusion matrix is a JSON list of rows, rows are truth; one
column more than rows holds invalid answers.
"""


@click.command("score", epilog=EXAMPLES)
@click.argument("metrics", nargs=-1, required=True, metavar="METRIC...")
@click.option("--predictions", type=click.Path(path_type=Path), help="Answers, or a run's predictions.jsonl.")
@click.option("--labels", type=click.Path(path_type=Path), help="Truths; not needed where the predictions hold them.")
@click.option("--confusion", type=click.Path(path_type=Path), help="A confusion matrix instead of answers and truths.")
@click.option("--classes", help="The label set, comma separated. Default: every label that occurs.")
@click.option("--split", help="Which split of a run's predictions.jsonl.")
@click.option("--resamples", default=1000, show_default=True, type=click.IntRange(1), help="Bootstrap draws.")
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--plugin", "plugins", multiple=True, metavar="FILE.py", help="Load this file as a plugin.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with every digit.")
def command(
    metrics: tuple[str, ...],
    predictions: Path | None,
    labels: Path | None,
    confusion: Path | None,
    classes: str | None,
    split: str | None,
    resamples: int,
    seed: int,
    plugins: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compute metrics with 95 % bootstrap intervals from answers and truths, or from a confusion matrix."""
    if (predictions is None) == (confusion is None):
        _wrong("score", "give either --predictions or --confusion", "see affectkit score --help")
    if confusion is not None and (labels is not None or split is not None):
        _wrong("score", "a confusion matrix has no labels and splits to look up", "leave --labels and --split out")
    built = build(metrics, plugins)
    names = tuple(c.strip() for c in classes.split(",")) if classes else None
    if names and len(set(names)) < len(names):
        _wrong("--classes", f"names a class twice: {classes}")
    if confusion is not None:
        found = of_confusion(confusion, built, names, seed, resamples)
    else:
        assert predictions is not None
        found = of_answers(*read_answers(predictions, labels, names, split), built, seed, resamples)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        show(found, metrics)


def build(names: tuple[str, ...], plugins: tuple[str, ...]) -> dict[str, Metric]:
    """The metrics of those names, with their default settings."""
    from affectkit.registry import Registry

    registry = Registry.load(plugins)
    pieces = [registry.piece("metric", name) for name in names]
    return {piece.name: piece.build(piece.settings()) for piece in pieces}


def of_confusion(
    path: Path, built: dict[str, Metric], classes: tuple[str, ...] | None, seed: int, resamples: int
) -> dict[str, Any]:
    """Figures of a confusion matrix in a file."""
    from affectkit.score import score_counts

    counts, names = read_confusion(path, classes)
    slow = [name for name, metric in built.items() if not _of_counts(metric)]
    if slow:
        _wrong(f"metric {slow[0]!r}", "cannot be had from a confusion matrix", "give --predictions and --labels")
    return score_counts(counts, built, names, seed, resamples) | _matrices(counts, names, built)


def _of_counts(metric: Metric) -> bool:
    """Whether the counts of a confusion matrix are enough for a metric."""
    return hasattr(metric, "from_confusions") or hasattr(metric, "from_counts")


def _matrices(counts: np.ndarray, names: tuple[str, ...], built: dict[str, Metric]) -> dict[str, Any]:
    """What metrics that are no number make of the counts: the matrix itself."""
    return {name: m.from_counts(counts, names) for name, m in built.items() if hasattr(m, "from_counts")}


def of_answers(
    found: list[Prediction], names: tuple[str, ...], built: dict[str, Metric], seed: int, resamples: int
) -> dict[str, Any]:
    """Figures of predictions. Where counts are enough the metrics are not called: that would import torch."""
    from affectkit.score import ANSWERED, count, ledger, score, score_counts

    if not all(_of_counts(metric) for metric in built.values()):
        return score(found, built, names, seed, resamples)
    counts = count([p for p in found if p.truth is not None and p.state in ANSWERED], names)
    figures = score_counts(counts, built, names, seed, resamples) | {"ledger": ledger(found)}
    return figures | _matrices(counts, names, built)


def read_confusion(path: Path, classes: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """(counts int64 [k, k + 1], labels) from a JSON list of rows, or an object with `rows` and `labels`."""
    import numpy as np

    from affectkit.files import read_json

    value = read_json(path)
    rows = value.get("rows") if isinstance(value, Mapping) else value
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        _wrong(str(path), "a confusion matrix is a list of rows of counts", "for example [[10, 2], [1, 7]]")
    for i, row in enumerate(rows):
        if len(row) not in (len(rows), len(rows) + 1) or len(row) != len(rows[0]):
            _wrong(f"{path}: row {i}", f"has {len(row)} counts beside {len(rows)} rows", "one column a class")
        wrong = [n for n in row if not _is_count(n)]
        if wrong:
            _wrong(f"{path}: row {i}", f"holds {wrong[0]!r}, which is no count", "a count is a whole number from 0")
    counts = np.array(rows, dtype=np.int64)
    if not counts.any():
        _wrong(str(path), "counts no sample", "a confusion matrix is a list of rows of counts")
    if counts.shape[1] == counts.shape[0]:
        counts = np.pad(counts, ((0, 0), (0, 1)))
    told = value.get("labels") if isinstance(value, Mapping) else None
    if told is not None and not isinstance(told, list):
        _wrong(f"{path}: labels", f"is no list of labels: {told!r}", "one label a row")
    names = classes or (tuple(map(str, told)) if told else tuple(f"class {i}" for i in range(len(rows))))
    if len(names) != len(rows):
        _wrong(str(path), f"has {len(rows)} rows, and there are {len(names)} classes: {', '.join(names)}")
    return counts, names


def _is_count(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer() and 0 <= value < MOST
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST


def read_answers(
    predictions: Path, labels: Path | None, classes: tuple[str, ...] | None, split: str | None
) -> tuple[list[Prediction], tuple[str, ...]]:
    """(predictions, label set) from files of answers and truths; each id of either is one prediction."""
    from affectkit.score import Prediction

    answers = _by_id(predictions, split, must=True)
    if labels is not None:
        truths = {i: _word(row, "truth") or _word(row, "label") for i, row in _by_id(labels, split).items()}
    elif any("truth" in row for row in answers.values()):
        truths = {i: _word(row, "truth") for i, row in answers.items()}
    else:
        _wrong(str(predictions), "holds no truths", "give --labels FILE with the columns id and label")
    if not any(truths.values()):
        _wrong(str(labels or predictions), "holds no truth", "fill the column label")
    _meet(predictions, labels, answers, truths)
    found = []
    for i in dict.fromkeys([*truths, *answers]):
        row, truth = answers.get(i), truths.get(i)
        label = _word(row or {}, "label")
        state: State = (row or {}).get("state") or ("scored" if label else "unparsed")
        error = "" if row is not None else f"no answer in {predictions}"
        found.append(Prediction(i, "label", state if truth else "skipped", truth or None, label or None, error=error))
    names = classes or tuple(
        sorted({t for t in truths.values() if t} | {p.label for p in found if p.label and p.state == "scored"})
    )
    return [_within(p, names) for p in found], names


def _meet(
    predictions: Path, labels: Path | None, answers: Mapping[str, Mapping[str, Any]], truths: Mapping[str, str]
) -> None:
    """Refuse files that cannot belong together: no answer in them, or none to any truth."""
    if not any("label" in row for row in answers.values()):
        columns = tuple(map(str, next(iter(answers.values()))))
        raise InputError(Problem(str(predictions), "holds no answers", "give them in the column label", columns))
    if not any(truths.get(i) for i in answers):
        what = f"no id of it is among the ids of {labels or predictions} that have a truth"
        mine, theirs = next(iter(answers)), next(i for i, t in truths.items() if t)
        _wrong(str(predictions), what, f"the first ids are {mine!r} and {theirs!r}: name the samples alike in both")


def _within(prediction: Prediction, names: tuple[str, ...]) -> Prediction:
    from dataclasses import replace

    out = prediction.state == "scored" and prediction.label not in names
    return replace(prediction, state="out_of_vocabulary") if out else prediction


def _by_id(path: Path, split: str | None, must: bool = False) -> dict[str, dict[str, Any]]:
    """Rows of a CSV, TSV or JSONL file by id; `must`: a split that is asked for has to be there."""
    from affectkit.score import STATES

    rows = _jsonl(path) if path.suffix in (".jsonl", ".json", ".ndjson") else _csv(path)
    splits = sorted({str(row["split"]) for _, row in rows if row.get("split")})
    if split is not None and splits and split not in splits:
        raise InputError(unknown(str(path), "split", split, splits))
    if split is not None and not splits and must:
        _wrong(str(path), f"has no column `split` to find {split!r} in", "leave --split out")
    if split is None and len(splits) > 1 and any("state" in row for _, row in rows):
        raise InputError(Problem(str(path), "holds several splits", f"choose one: --split {splits[0]}", tuple(splits)))
    if not rows:
        _wrong(str(path), "holds no rows", "one row a sample, with the columns id and label")
    found: dict[str, dict[str, Any]] = {}
    for place, row in rows:
        if split is not None and splits and row.get("split") != split:
            continue
        name = _word(row, "id")
        if not name:
            raise InputError(Problem(place, "has no id", "a row needs the columns id and label", tuple(map(str, row))))
        if name in found:
            _wrong(place, f"the id {name!r} occurs twice", "one row a sample")
        if "label" not in row and "truth" not in row:
            raise InputError(
                Problem(place, "has no label", "a row needs the columns id and label", tuple(map(str, row)))
            )
        if row.get("state", "scored") not in (*STATES, ""):
            raise InputError(unknown(place, "state", str(row["state"]), STATES))
        if None in row:
            _wrong(
                place, f"has more cells than the header, which names {len(row) - 1}", "quote cells that hold a comma"
            )
        found[name] = row
    return found


def _jsonl(path: Path) -> list[tuple[str, dict[str, Any]]]:
    from affectkit.files import read_jsonl

    return list(read_jsonl(path))


def _csv(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            return [(f"{path}:{reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        why = f"it is no CSV ({error})" if isinstance(error, csv.Error) else why
        _wrong(str(path), f"cannot be read: {why}", "give the path of a CSV or JSONL file")


def _word(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value).strip()


def _wrong(place: str, what: str, fix: str = "") -> NoReturn:
    raise InputError(Problem(place, what, fix))


def show(found: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Print the figures as tables for people."""
    from affectkit.commands._options import table

    def digits(value: float | None) -> str:
        return "–" if value is None else f"{value:.4f}"

    rows = []
    for name in names:
        if "value" in found[name]:
            one = found[name]
            guess = [digits(found[kind].get(name)) for kind in ("chance", "majority")]
            rows.append([name, digits(one["value"]), f"{digits(one['low'])} to {digits(one['high'])}", *guess])
    if rows:
        table("", ["metric", "value", "95 % interval", "chance", "majority"], rows)
    for name in names:
        if "rows" in found[name]:
            matrix = [[t, *map(str, r)] for t, r in zip(found[name]["labels"], found[name]["rows"], strict=True)]
            table(f"{name}: rows truth, columns answer", ["", *found[name]["columns"]], matrix)
    states = {state: n for state, n in found.get("ledger", {}).items() if n}
    wrong = [f"{states[s]} {s}" for s in ("unparsed", "out_of_vocabulary") if s in states]
    out = [f"{states[s]} {s}" for s in ("undecodable", "skipped") if s in states]
    click.echo(f"{found['count']} samples in {len(found['labels'])} classes: {', '.join(found['labels'])}")
    if wrong:
        click.echo(f"of these no valid answer, counted as wrong: {', '.join(wrong)}")
    if out:
        click.echo(f"left out besides: {', '.join(out)}")
