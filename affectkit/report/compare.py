"""Runs side by side: figures with intervals, paired differences on common samples, what differs in recipes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from affectkit.errors import InputError, Problem
from affectkit.evaluation.figures import Pair
from affectkit.evaluation.prediction import ANSWERED, Metric, Prediction, has_truth
from affectkit.evaluation.score import compare, group_by
from affectkit.pieces import AsksTask
from affectkit.report.page import Cell, Grid, Heading, Page, PageBlock, Paragraph
from affectkit.report.render import spoken_name, title, write_page
from affectkit.report.results import RunFiles, distinct_names, flat, read_run
from affectkit.report.run import metric_bar, warnings
from affectkit.sample import LABEL, LABELS, NUMBERS


def compare_report(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Write a comparison of run folders to `out` (.html) and beside it as .md; the first run is the baseline.

    Raises InputError for fewer than two runs, a folder that is no run, and runs without a common split.
    """
    if len(runs) < 2:
        raise InputError(Problem("report", "a comparison needs two runs", "name another run folder"))
    files = [read_run(run) for run in runs]
    names = distinct_names([r.name for r in files], [r.folder.name for r in files], [r.folder for r in files])
    page = Page(", ".join(names), f"{len(runs)} runs, compared with {names[0]}", tuple(_blocks(files, names)))
    return write_page(page, Path(out))


def _blocks(files: Sequence[RunFiles], names: Sequence[str]) -> Iterator[PageBlock]:
    yield from dict.fromkeys(w for r in files for w in warnings(r))
    splits = [s for s in files[0].metrics if all(s in r.metrics for r in files)]
    if not splits:
        held = tuple(f"{n}: {', '.join(r.metrics) or 'none'}" for n, r in zip(names, files, strict=True))
        raise InputError(Problem("report", "the runs have no evaluated split in common", "evaluate them first", held))
    metrics = {task: metrics_of(files[0], task) for task in (LABEL, LABELS, NUMBERS)}
    for split in splits:
        yield Heading(split)
        yield _figures(files, names, split)
        for number in range(1, len(files)):
            for task, own in metrics.items():
                yield from _difference(files, names, number, split, own, task)
    yield from _recipes(files, names)


def _figures(files: Sequence[RunFiles], names: Sequence[str], split: str) -> Grid:
    shown = dict.fromkeys(name for r in files for name in r.metrics[split].metrics)
    rows: list[tuple[Cell, ...]] = [
        (title(name), *(metric_bar(r.metrics[split], name) for r in files)) for name in shown
    ]
    rows.append(("samples", *(str("–" if (n := r.metrics[split].count) is None else n) for r in files)))
    return Grid(("", *names), tuple(rows))


def metrics_of(files: RunFiles, task: str = LABEL) -> dict[str, Metric]:
    """The metrics of a run that score the answers to a task as the recipe finds them, built as its recipe says; those that
    want another model, and those whose piece is not installed, are left out."""
    from affectkit.registry import Registry

    registry, built = Registry.load(), {}
    section = files.recipe.get("score")
    asked = section.get("metrics") if isinstance(section, Mapping) else None
    method = str(section.get("method", "candidates")) if isinstance(section, Mapping) else "candidates"
    for name in dict.fromkeys(n for found in files.metrics.values() for n in found.metrics):
        block = asked.get(name) if isinstance(asked, Mapping) else None
        block = {"use": block} if isinstance(block, str) else dict(block or {})
        piece = registry.find("metric", str(block.pop("use", name)))
        settings = piece and piece.settings(**block)
        own = settings.asks() if isinstance(settings, AsksTask) else (LABEL, "")
        if piece and own[0] == task and own[1] in ("", method) and not getattr(settings, "client", None):
            built[name] = piece.build(settings)
    return built


def _difference(
    files: Sequence[RunFiles],
    names: Sequence[str],
    number: int,
    split: str,
    metrics: Mapping[str, Metric],
    task: str,
) -> Iterator[PageBlock]:
    first, second = files[0], files[number]
    sides = [
        [p for p in r.predictions if p.split == split and p.task == task and has_truth(p)] for r in (first, second)
    ]
    labels = list(dict.fromkeys([*first.metrics[split].labels, *second.metrics[split].labels]))
    if not all(sides) or not (labels or task == NUMBERS) or not metrics:
        return
    whole = compare(sides[0], sides[1], metrics, labels, task=task)
    yield Heading(f"{names[number]} against {names[0]}{'' if task == LABEL else f', {task}'}", 3)
    left = f"; {whole.left_out} are not in both or have another truth" if whole.left_out else ""
    yield Paragraph(
        f"Paired bootstrap on {whole.count} common samples{left}. An interval that does not hold 0 is a "
        "difference at the 5 % level; with many comparisons expect one in twenty by accident.",
        "quiet",
    )
    head = ("samples", names[0], names[number], "difference", "share of draws ahead")
    yield Grid(("", *head), tuple(_row(title(name), whole.count, one) for name, one in whole.metrics.items()))
    main = next(iter(metrics))
    rows = _by_groups(sides, {main: metrics[main]}, labels, task)
    if rows:
        yield Grid((f"{title(main)} by group", *head), tuple(rows))


def _by_groups(
    sides: Sequence[Sequence[Prediction]], metric: Mapping[str, Metric], labels: Sequence[str], task: str
) -> list[tuple[Cell, ...]]:
    """A metric's difference within each group of the baseline's facts."""
    rows: list[tuple[Cell, ...]] = []
    for fact, parts in group_by([p for p in sides[0] if p.state in ANSWERED]).items():
        for value, part in parts.items():
            found = compare(part, sides[1], metric, labels, task=task)
            rows += [_row(f"{spoken_name(fact)}: {value}", found.count, one) for one in found.metrics.values()]
    return rows


def _row(name: str, count: int, one: Pair) -> tuple[Cell, ...]:
    return (name, count, one.first, one.second, one, one.ahead)


def _recipes(files: Sequence[RunFiles], names: Sequence[str]) -> Iterator[PageBlock]:
    yield Heading("What differs in the recipes")
    rows = _differing([dict(flat(r.recipe)) for r in files])
    yield Grid(("key", *names), rows) if rows else Paragraph("Nothing: the recipes are the same.")
    times = ("stages", "started", "command")
    rows = _differing([{k: v for k, v in flat(r.info) if k.split(".")[0] not in times} for r in files])
    if rows:
        yield Heading("What differs beside the recipes: versions, weights, data, seeds", 3)
        yield Grid(("", *names), rows)


def _differing(leaves: Sequence[Mapping[str, str]]) -> tuple[tuple[Cell, ...], ...]:
    """A row a key that is not the same in all."""
    keys = dict.fromkeys(key for found in leaves for key in found)
    rows = ((key, *(found.get(key, "–") for found in leaves)) for key in keys)
    return tuple(row for row in rows if len(set(row[1:])) > 1)
