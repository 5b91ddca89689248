"""A sweep for people to read: what it would run, and the comparison that it ends in. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from affectkit.evaluation.figures import digits
from affectkit.files import Say, write_json_atomic
from affectkit.plan.summary import absent
from affectkit.report.bars import bar
from affectkit.report.html import write_page
from affectkit.report.page import Cell, Fold, Grid, Heading, Page, PageBlock, Paragraph, count_text, spoken_name
from affectkit.report.results import Results, read_run
from affectkit.report.run import shared_warnings, title
from affectkit.report.terminal import table
from affectkit.studies.sweep import Sweep, load_sweep
from affectkit.studies.sweep_figures import RunsBySeed, SweepFigures, SweepSplit, VariantOfSweep, sweep_figures
from affectkit.studies.sweep_jobs import SweepJob, devices_for, folder_of, jobs_of, stages_to_train

NAME = "comparison"

SHOWN = 2
"""Metrics in the first table."""

Column = tuple[str, Iterable[Cell]]
"""The title of a column and its cells."""


def write_comparison(sweep: Sweep, jobs: Sequence[SweepJob], folder: Path) -> tuple[Path, SweepFigures]:
    """Write comparison.html, .md and .json of the runs that are done; returns the page and the figures."""
    done: dict[str, dict[int, Results]] = {}
    for job in jobs:
        if job.state == "done":
            done.setdefault(job.variant.name, {})[job.seed] = read_run(job.run.folder)
    figures = sweep_figures(sweep, done, {j.name: j.error or "was not run" for j in jobs if j.state != "done"})
    page = Page(sweep.name, sweep.about, tuple(_blocks(figures, done)))
    write_json_atomic(folder / f"{NAME}.json", figures.to_dict())
    return write_page(page, folder / f"{NAME}.html"), figures


def print_comparison(figures: SweepFigures, say: Say) -> None:
    """The first table of each split in the terminal, and what a reader has to know."""
    for split, found in figures.splits.items():
        grid = main_table(figures, found)
        table(f"{figures.sweep}, split {split}", grid.head, grid.rows, named=True)
    for line in (*notes(figures), *missing(figures)):
        say(line)


def notes(figures: SweepFigures) -> tuple[str, str]:
    """How to read the figures."""
    seeds = ", ".join(map(str, figures.seeds))
    return (
        f"Intervals: 95 % bootstrap over test samples; differences are from {figures.base}, paired on samples that both "
        "answered. One that does not hold 0 is a difference at the 5 % level; of many comparisons one in twenty is so by "
        "accident.",
        f"Figures are means over seeds {seeds}. Intervals cover the choice of test samples, not that of seeds; the "
        "deviation between seeds stands beside them."
        if len(figures.seeds) > 1
        else f"One seed ({seeds}): no interval covers how much another seed would change.",
    )


def missing(figures: SweepFigures) -> Iterator[str]:
    """The runs that are not here, by why not."""
    for why in dict.fromkeys(figures.missing.values()):
        yield f"Missing: {', '.join(name for name, other in figures.missing.items() if other == why)}: {why}"


def _grid(runs: Iterable[str], columns: Sequence[Column]) -> Grid:
    """A row a run."""
    heads, cells = [head for head, _ in columns], [column for _, column in columns]
    return Grid(("run", *heads), tuple(zip(runs, *cells, strict=True)), named=True)


def main_table(figures: SweepFigures, found: SweepSplit) -> Grid:
    """The first metric with interval and difference from the base, the next without; parameters; time of training."""
    variants, costs = found.runs.values(), [figures.costs[run] for run in found.runs]
    columns: list[Column] = []
    for name in found.metrics[:1]:
        columns.append((title(name), [bar(one.metrics[name]) for one in variants]))
        columns.append((f"from {figures.base}", [_difference(found, one, name) for one in variants]))
        if len(figures.seeds) > 1:
            deviations = (one.metrics[name].deviation for one in variants)
            columns.append(("between seeds", ["–" if d is None else f"± {d:.3f}" for d in deviations]))
        if any(len(one.seeds) < len(figures.seeds) for one in variants):
            columns.append(("seeds", [len(one.seeds) for one in variants]))
    columns += [(title(name), [one.metrics[name].value for one in variants]) for name in found.metrics[1:SHOWN]]
    columns.append(("parameters", [count(one.total) for one in costs]))
    columns.append(("that train", [count(one.trainable) for one in costs]))
    columns.append(("training", [seconds(one.training_seconds) for one in costs]))
    return _grid(found.runs, columns)


def _difference(found: SweepSplit, one: VariantOfSweep, name: str) -> Cell:
    """A difference on a scale that all of the split's fit on."""
    if name not in one.differences:
        return "–"
    every = [m for variant in found.runs.values() for m in variant.differences.values()]
    widest = max((abs(v) for m in every for v in (m.value, m.low, m.high) if v is not None), default=0.0)
    end = max(1, math.ceil(10 * widest)) / 10
    return bar(one.differences[name], (-end, end))


def count(number: int | None) -> str:
    """`1.93 M`."""
    units = ((1e9, " G"), (1e6, " M"), (1e3, " k"))
    short = (f"{number / unit:.3g}{word}" for unit, word in units if number is not None and number >= unit)
    return next(short, digits(number, 0))


def seconds(number: float | None) -> str:
    """`75 s`, `12.5 min`."""
    if number is None:
        return "–"
    return f"{number:.0f} s" if number < 120 else f"{number / 60:.1f} min"


def _blocks(figures: SweepFigures, done: Mapping[str, RunsBySeed]) -> Iterator[PageBlock]:
    for line in missing(figures):
        yield Paragraph(line, "warn")
    if not done:
        yield Paragraph("No run is done yet.", "warn")
        return
    yield from shared_warnings([(name, results) for name, seeds in done.items() for results in seeds.values()])
    for line in notes(figures):
        yield Paragraph(line, "quiet")
    for split, found in figures.splits.items():
        counts = " or ".join(map(str, dict.fromkeys(one.count for one in found.runs.values())))
        yield Heading(f"{split}: {counts} samples, {len(found.labels)} classes")
        yield main_table(figures, found)
        yield from _groups(found)
        yield Fold("All metrics", tuple(_metrics(figures, found)))
        if len(figures.seeds) > 1:
            yield Fold("Each seed", (_seeds(figures, found),))
    yield Heading("The runs")
    variants = figures.runs.values()
    changes = ["; ".join(f"{key}: {value}" for key, value in one.changes.items()) or "nothing" for one in variants]
    about = ("what it is", [one.about for one in variants])
    yield _grid(figures.runs, [about, ("what it changes in the recipe", changes)])
    yield from _times(figures)


def _groups(found: SweepSplit) -> Iterator[PageBlock]:
    """The first metric by each fact of the samples."""
    runs = found.runs
    for fact, values in {f: groups for one in runs.values() for f, groups in one.groups.items()}.items():
        first = next(one.groups[fact] for one in runs.values() if fact in one.groups)
        own = [one.groups.get(fact, {}) for one in runs.values()]
        columns = [(f"{v} ({first[v].count})", [bar(one[v]) if v in one else "–" for one in own]) for v in values]
        yield Fold(f"{title(found.metrics[0])} by {spoken_name(fact)}", (_grid(runs, columns),))


def _metrics(figures: SweepFigures, found: SweepSplit) -> Iterator[PageBlock]:
    """All metrics of all runs, and their differences from the base."""
    runs = found.runs
    yield _grid(runs, [(title(name), [bar(one.metrics[name]) for one in runs.values()]) for name in found.metrics])
    others = {run: one for run, one in runs.items() if one.difference}
    paired = [name for name in found.metrics if any(name in one.differences for one in others.values())]
    if others:
        yield Paragraph(f"Differences from {figures.base}:")
        yield _grid(others, [(title(n), [_difference(found, one, n) for one in others.values()]) for n in paired])


def _seeds(figures: SweepFigures, found: SweepSplit) -> Grid:
    """The first metric by seed."""
    columns: list[Column] = [
        (f"{title(name)}, seed {seed}", [one.seeds.get(str(seed), {}).get(name) for one in found.runs.values()])
        for name in found.metrics[:1]
        for seed in figures.seeds
    ]
    return _grid(found.runs, columns)


def _times(figures: SweepFigures) -> Iterator[PageBlock]:
    """Seconds by stage, and which stages were taken over."""
    runs = {name: one for name, one in figures.costs.items() if one.stages}
    fullest_first = sorted(runs.values(), key=lambda one: -len(one.stages))
    stages = dict.fromkeys(stage for one in fullest_first for stage in one.stages)
    columns = [(stage, [seconds(one.stages.get(stage)) for one in runs.values()]) for stage in stages]
    evaluation = ("evaluation", [seconds(one.evaluation_seconds) for one in runs.values()])
    yield Heading("Time")
    yield _grid(runs, [*columns, evaluation])
    taken = [
        f"{run}: {', '.join(f'{stage} from {giver}' for stage, giver in givers.items())}"
        for one in runs.values()
        for run, givers in one.taken_from.items()
        if givers
    ]
    if taken:
        yield Paragraph(
            "Times are means over seeds, those of stages that were taken over included: the time of the run alone."
        )
        yield Fold("Stages taken over", tuple(Paragraph(line) for line in taken))


def print_planned(sweep: Sweep, jobs: Sequence[SweepJob], folder: Path, others: Sequence[Path], say: Say) -> None:
    """A table of the runs: how far each is, what it changes, which stages it will train and take over."""
    rows = []
    for job, stages in zip(jobs, stages_to_train(jobs, folder, others), strict=True):
        state = "is done" if job.state == "done" else "goes on" if job.run.recipe.is_file() else "starts"
        changes = ", ".join(f"{key}={value}" for key, value in job.variant.changes.items())
        rows.append((job.name, state, changes or "nothing", *(", ".join(names) or "–" for names in stages)))
    table(f"{sweep.name}: nothing wrong", ["run", "", "changes", "trains", "takes over"], rows, named=True)
    for job in jobs:
        for address, source in absent(job.plan).items() if job.state != "done" else ():
            say(f"{job.name}: {address} {source} is not here yet")
    devices = devices_for(sweep.settings.devices, jobs[0].plan.run.accelerator)
    say(f"{count_text(len(jobs), 'run')} in {folder}, {len(devices)} at a time; compared with {sweep.base}")


def check_sweep(source: str, overrides: Sequence[str], plugins: Sequence[str | Path], trust: bool, say: Say) -> None:
    """Check a sweep and print what it would run. Raises InputError with every problem."""
    sweep = load_sweep(source, overrides, plugins, trust)
    folder = folder_of(sweep, None)
    print_planned(sweep, jobs_of(sweep, folder), folder, (), say)
