"""The comparison that a sweep ends in: each run's figures, mean over seeds, and its difference from the base; as comparison.html,
.md and .json, and in the terminal. Imports no torch.

Intervals are 95 % percentile bootstraps over test samples. A draw is the same for every seed and, in a difference, for both
sides; the figure of a draw is the mean over seeds. They do not cover how much another seed would change: the standard
deviation between seeds stands beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from affectkit.evaluation import bootstrap
from affectkit.evaluation.figures import Difference, Draws, Figure, Guess, Record, digits
from affectkit.evaluation.prediction import Metric, Prediction, answered_only, truth_of
from affectkit.evaluation.score import group_by
from affectkit.files import Json, Say, write_json_atomic
from affectkit.plan.summary import absent
from affectkit.report.compare import metrics_of
from affectkit.report.page import Cell, Fold, Grid, Heading, Page, PageBlock, Paragraph, bar
from affectkit.report.render import count_text, spoken_name, title, write_page
from affectkit.report.results import RunFiles, read_run
from affectkit.report.run import shared_warnings
from affectkit.report.terminal import table
from affectkit.sample import LABEL, LABELS, NUMBERS
from affectkit.studies.matrix import Mean, mean_over
from affectkit.studies.sweep import Sweep, load_sweep
from affectkit.studies.sweep_run import SweepJob, devices_for, folder_of, jobs_of, stages_to_train

SHOWN = 2
"""Metrics in the first table."""

Column = tuple[str, Iterable[Cell]]
"""The title of a column and its cells."""
RESAMPLES, SEED = 1000, 0


@dataclass(frozen=True)
class Counted(Figure):
    """A figure of some samples."""

    count: int


@dataclass(frozen=True)
class FromBase(Record):
    """A variant less the base, on samples that both answered with every common seed."""

    count: int
    left_out: int
    seeds: int
    """How many seeds both have."""
    metrics: Mapping[str, Difference]


@dataclass(frozen=True)
class VariantOfSweep(Record):
    """One variant on one split."""

    count: int
    """Samples that every seed answered."""
    metrics: Mapping[str, Mean]
    groups: Mapping[str, Mapping[str, Counted]]
    """The first metric by fact and its value."""
    seeds: Mapping[str, Mapping[str, float | None]]
    """Each metric by seed."""
    difference: FromBase | None = None

    @property
    def differences(self) -> Mapping[str, Difference]:
        """Each metric's difference from the base; nothing for the base itself."""
        return self.difference.metrics if self.difference else {}


@dataclass(frozen=True)
class SweepSplit(Record):
    """All variants on one split."""

    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    runs: Mapping[str, VariantOfSweep]
    chance: Guess
    majority: Guess


@dataclass(frozen=True)
class Changes(Record):
    """A variant: what it is, and its overrides of the recipe."""

    about: str
    changes: Mapping[str, Json]


@dataclass(frozen=True)
class Costs(Changes):
    """A variant that is done, with parameters and seconds, mean over seeds. A stage taken over counts as if it had been
    trained here."""

    total: int | None
    trainable: int | None
    training_seconds: float
    evaluation_seconds: float | None
    stages: Mapping[str, float]
    taken_from: Mapping[str, Mapping[str, str]]
    """By run and stage, the run that the stage was taken from."""


@dataclass(frozen=True)
class SweepFigures(Record):
    """What comparison.json holds."""

    sweep: str
    about: str
    base: str
    seeds: tuple[int, ...]
    runs: Mapping[str, Changes]
    missing: Mapping[str, str]
    """Jobs that are not done, and why."""
    splits: Mapping[str, SweepSplit]
    bootstrap: Draws

    @property
    def costs(self) -> Mapping[str, Costs]:
        """The variants that are done."""
        return {name: one for name, one in self.runs.items() if isinstance(one, Costs)}


def split_figures(done: Mapping[str, Mapping[int, RunFiles]], base: str, split: str) -> SweepSplit:
    """The figures of one split, of the variants that were evaluated on it."""
    there = {name: {s: r for s, r in seeds.items() if split in r.metrics} for name, seeds in done.items()}
    runs = {name: seeds for name, seeds in there.items() if seeds}
    results = [r for seeds in runs.values() for r in seeds.values()]
    labels = tuple(dict.fromkeys(label for r in results for label in r.metrics[split].labels))
    names = tuple(dict.fromkeys(name for r in results for name in r.metrics[split].metrics))
    built = {task: metrics_of(results[0], task) for task in (LABEL, LABELS, NUMBERS)}
    found: dict[str, VariantOfSweep] = {}
    for task in [task for task, own in built.items() if own] or [LABEL]:
        metrics = {n: m for n, m in built[task].items() if not hasattr(m, "from_counts")}
        answers = {name: {s: _answered(r, split, task) for s, r in seeds.items()} for name, seeds in runs.items()}
        for name, seeds in runs.items():
            figures = {str(s): r.metrics[split].metrics for s, r in seeds.items()}
            one = _variant(figures, list(answers[name].values()), names, metrics, labels)
            if name != base and base in runs:
                one = replace(one, difference=_difference(answers[base], answers[name], metrics, labels))
            found[name] = _with_more(found[name], one, metrics) if name in found else one
    first = results[0].metrics[split]
    return SweepSplit(labels, names, found, first.chance or Guess(), first.majority or Guess())


def _with_more(first: VariantOfSweep, more: VariantOfSweep, metrics: Iterable[str]) -> VariantOfSweep:
    """A variant with the metrics of answers to another task; its count and groups are those of the first."""
    both = {**first.metrics, **{name: more.metrics[name] for name in metrics if name in more.metrics}}
    apart, other = first.difference, more.difference
    if apart and other:
        apart = replace(apart, metrics={**apart.metrics, **other.metrics})
    return replace(first, metrics={name: both[name] for name in first.metrics}, difference=apart or other)


def _variant(
    figures: Mapping[str, Mapping[str, Figure]],
    answers: Sequence[Mapping[str, Prediction]],
    names: Sequence[str],
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
) -> VariantOfSweep:
    """The mean over seeds of each metric with its interval, in all and by group, from the figures and answers of each seed."""
    rows = _rows(answers)
    drawn = _means(rows, metrics, labels) if rows[0] else {}
    seeds = {seed: {n: own[n].value if n in own else None for n in names} for seed, own in figures.items()}
    means = {}
    for name in names:
        values = np.array([own[name] for own in seeds.values()], float)  # None becomes NaN
        alone = next(iter(figures.values())).get(name) if len(figures) == 1 else None
        one = drawn.get(name) or alone or Figure(None, None, None)
        deviation = bootstrap.number(values.std(ddof=1)) if len(values) > 1 else None
        means[name] = Mean(bootstrap.number(values.mean()), one.low, one.high, deviation)
    groups: dict[str, dict[str, Counted]] = {}
    head = {n: metrics[n] for n in [n for n in names if n in metrics][:1]}
    for fact, parts in group_by(rows[0]).items() if head else ():
        for value, part in parts.items():
            ids = {p.id for p in part}
            (mean,) = _means([[p for p in row if p.id in ids] for row in rows], head, labels).values()
            groups.setdefault(fact, {})[value] = Counted(mean.value, mean.low, mean.high, len(part))
    return VariantOfSweep(len(rows[0]), means, groups, seeds)


def _difference(
    base: Mapping[int, Mapping[str, Prediction]],
    variant: Mapping[int, Mapping[str, Prediction]],
    metrics: Mapping[str, Metric],
    labels: Sequence[str],
) -> FromBase | None:
    """Variant minus base over the seeds that both have, each metric with its interval; None where they share no seed."""
    seeds = [seed for seed in variant if seed in base]
    if not seeds:
        return None
    answers = [side[seed] for side in (base, variant) for seed in seeds]
    rows, end = _rows(answers), len(seeds)
    common = len(rows[0])
    left_out = len({i for one in answers for i in one}) - common
    pairs = (
        bootstrap.paired(metrics, rows[:end], rows[end:], labels, SEED, np.arange(common), RESAMPLES) if common else {}
    )
    found = {name: Difference(one.value, one.low, one.high, one.ahead) for name, one in pairs.items()}
    return FromBase(common, left_out, len(seeds), found)


def _answered(results: RunFiles, split: str, task: str) -> dict[str, Prediction]:
    """Sample to its prediction, for those that metrics of a task look at."""
    return {p.id: p for p in answered_only(results.predictions) if p.split == split and p.task == task}


def _rows(answers: Sequence[Mapping[str, Prediction]]) -> list[list[Prediction]]:
    """For each run, its predictions of the samples that all runs answered, and with the same truth."""
    first = answers[0]
    ids = [i for i in first if all(i in one and truth_of(one[i]) == truth_of(first[i]) for one in answers)]
    return [[one[i] for i in ids] for one in answers]


def _means(
    rows: Sequence[Sequence[Prediction]], metrics: Mapping[str, Metric], labels: Sequence[str]
) -> dict[str, Figure]:
    """Each metric's mean over seeds; a draw has the same samples in each."""
    found = bootstrap.together(metrics, rows, labels, SEED, np.arange(len(rows[0])), RESAMPLES)
    return {name: mean_over(values, draws) for name, (values, draws) in found.items()}


def costs(results: Sequence[RunFiles], of: Changes) -> Costs:
    """What a variant costs, from the notes of its runs."""
    parameters: Mapping[str, int] = next((r.info["parameters"] for r in results if r.info.get("parameters")), {})
    stages = {r.folder.name: r.info.get("stages") or {} for r in results}
    evaluation = [r.info["evaluation_seconds"] for r in results if r.info.get("evaluation_seconds") is not None]
    each = [{name: one.get("seconds") or 0 for name, one in own.items()} for own in stages.values()]
    return Costs(
        of.about,
        of.changes,
        total=parameters.get("total"),
        trainable=parameters.get("trainable"),
        training_seconds=float(np.mean([sum(own.values()) for own in each])),
        evaluation_seconds=float(np.mean(evaluation)) if evaluation else None,
        stages={
            name: float(np.mean([own[name] for own in each if name in own]))
            for name in dict.fromkeys(name for own in each for name in own)
        },
        taken_from={
            run: {name: one["taken_from"] for name, one in own.items() if one.get("taken_from")}
            for run, own in stages.items()
        },
    )


def write_comparison(sweep: Sweep, jobs: Sequence[SweepJob], folder: Path) -> tuple[Path, SweepFigures]:
    """Write comparison.html, .md and .json of the runs that are done; returns the page and the figures."""
    done: dict[str, dict[int, RunFiles]] = {}
    for job in jobs:
        if job.state == "done":
            done.setdefault(job.variant.name, {})[job.plan.run.seed] = read_run(job.run.folder)
    splits = dict.fromkeys(split for seeds in done.values() for one in seeds.values() for split in one.metrics)
    runs = {name: Changes(variant.about, dict(variant.changes)) for name, variant in sweep.variants.items()}
    figures = SweepFigures(
        sweep=sweep.name,
        about=sweep.about,
        base=sweep.base,
        seeds=sweep.settings.seeds,
        runs={name: costs(list(done[name].values()), one) if name in done else one for name, one in runs.items()},
        missing={job.name: job.error or "was not run" for job in jobs if job.state != "done"},
        splits={split: split_figures(done, sweep.base, split) for split in splits},
        bootstrap=Draws(RESAMPLES, SEED, bootstrap.LEVEL),
    )
    page = Page(sweep.name, sweep.about, tuple(_blocks(figures, done)))
    write_json_atomic(folder / "comparison.json", figures.to_dict())
    return write_page(page, folder / "comparison.html"), figures


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
        columns.append((f"from {figures.base}", [_difference_bar(found, one, name) for one in variants]))
        if len(figures.seeds) > 1:
            deviations = (one.metrics[name].deviation for one in variants)
            columns.append(("between seeds", ["–" if d is None else f"± {d:.3f}" for d in deviations]))
        if any(len(one.seeds) < len(figures.seeds) for one in variants):
            columns.append(("seeds", [len(one.seeds) for one in variants]))
    columns += [(title(name), [one.metrics[name].value for one in variants]) for name in found.metrics[1:SHOWN]]
    columns.append(("parameters", [number_text(one.total) for one in costs]))
    columns.append(("that train", [number_text(one.trainable) for one in costs]))
    columns.append(("training", [seconds(one.training_seconds) for one in costs]))
    return _grid(found.runs, columns)


def _difference_bar(found: SweepSplit, one: VariantOfSweep, name: str) -> Cell:
    """A difference on a scale that all of the split's fit on."""
    if name not in one.differences:
        return "–"
    every = [m for variant in found.runs.values() for m in variant.differences.values()]
    widest = max((abs(v) for m in every for v in (m.value, m.low, m.high) if v is not None), default=0.0)
    end = max(1, math.ceil(10 * widest)) / 10
    return bar(one.differences[name], (-end, end))


def number_text(number: int | None) -> str:
    """`1.93 M`."""
    units = ((1e9, " G"), (1e6, " M"), (1e3, " k"))
    found = (f"{number / unit:.3g}{word}" for unit, word in units if number is not None and number >= unit)
    return next(found, digits(number, 0))


def seconds(number: float | None) -> str:
    """`75 s`, `12.5 min`."""
    if number is None:
        return "–"
    return f"{number:.0f} s" if number < 120 else f"{number / 60:.1f} min"


def _blocks(figures: SweepFigures, done: Mapping[str, Mapping[int, RunFiles]]) -> Iterator[PageBlock]:
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
        yield _grid(others, [(title(n), [_difference_bar(found, one, n) for one in others.values()]) for n in paired])


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
