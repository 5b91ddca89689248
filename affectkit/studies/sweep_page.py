"""The comparison that a sweep ends in: comparison.html, .md and .json, and the table in the terminal. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from affectkit.evaluation.bootstrap import LEVEL
from affectkit.evaluation.figures import Difference, Draws
from affectkit.files import write_json_atomic
from affectkit.plan.summary import absent
from affectkit.report.page import Cell, Fold, Grid, Heading, Page, PageBlock, Paragraph, bar
from affectkit.report.render import count_text, spoken_name, title, write_page
from affectkit.report.results import RunFiles, read_run
from affectkit.report.run import shared_warnings
from affectkit.report.terminal import table
from affectkit.studies.matrix import Mean
from affectkit.studies.sweep import Sweep, load_sweep
from affectkit.studies.sweep_figures import (
    RESAMPLES,
    SEED,
    Changes,
    Costs,
    SweepFigures,
    SweepSplit,
    VariantOfSweep,
    costs,
    split_figures,
)
from affectkit.studies.sweep_jobs import SweepJob, devices_for, folder_of, jobs_of, keys_of, runs_below
from affectkit.train.run_folder import Run

NAME = "comparison"

SHOWN = 2
"""Metrics in the first table."""


def write_comparison(sweep: Sweep, jobs: Sequence[SweepJob], folder: Path) -> tuple[Path, SweepFigures]:
    """Write the comparison of the runs that are done; returns the page and the figures."""
    done: dict[str, dict[int, RunFiles]] = {}
    for job in jobs:
        if job.state == "done":
            done.setdefault(job.variant.name, {})[job.seed] = read_run(job.run.folder)
    figures = gather(sweep, jobs, done)
    page = Page(sweep.name, sweep.about, tuple(_blocks(figures, done)))
    write_json_atomic(folder / f"{NAME}.json", figures.to_dict())
    return write_page(page, folder / f"{NAME}.html"), figures


def gather(sweep: Sweep, jobs: Sequence[SweepJob], done: Mapping[str, Mapping[int, RunFiles]]) -> SweepFigures:
    """All that the page shows."""
    splits = list(dict.fromkeys(s for seeds in done.values() for r in seeds.values() for s in r.metrics))
    runs = {name: Changes(variant.about, dict(variant.changes)) for name, variant in sweep.variants.items()}
    return SweepFigures(
        sweep=sweep.name,
        about=sweep.about,
        base=sweep.base,
        seeds=tuple(sweep.settings.seeds),
        runs={n: costs(list(done[n].values()), one) if n in done else one for n, one in runs.items()},
        missing={j.name: j.error or "was not run" for j in jobs if j.state != "done"},
        splits={split: split_figures(done, sweep.base, split) for split in splits},
        bootstrap=Draws(RESAMPLES, SEED, LEVEL),
    )


def print_comparison(figures: SweepFigures, say: Callable[[str], None]) -> None:
    """The first table of each split in the terminal, and what a reader has to know."""
    for split, found in figures.splits.items():
        table(f"{figures.sweep}, split {split}", *main_table(figures, found), named=True)
    for line in notes(figures):
        say(line)


def notes(figures: SweepFigures) -> Iterator[str]:
    """What to know beside the figures."""
    seeds, base = figures.seeds, figures.base
    yield (
        f"Intervals: 95 % bootstrap over test samples; differences are from {base}, paired on samples that both answered. One "
        "that does not hold 0 is a difference at the 5 % level; of many comparisons one in twenty is so by accident."
    )
    if len(seeds) == 1:
        yield f"One seed ({seeds[0]}): no interval covers how much another seed would change."
    else:
        yield (
            f"Figures are means over seeds {', '.join(map(str, seeds))}. Intervals cover the choice of test samples, not "
            "that of seeds; the deviation between seeds stands beside them."
        )
    yield from missing(figures)


def missing(figures: SweepFigures) -> Iterator[str]:
    """The runs that are not here, by why not."""
    told: dict[str, list[str]] = {}
    for name, why in figures.missing.items():
        told.setdefault(why, []).append(name)
    for why, names in told.items():
        yield f"Missing: {', '.join(names)}: {why}"


def main_table(figures: SweepFigures, found: SweepSplit) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    """A row a run: the first metric with interval and difference from the base, the next without; parameters; time."""
    names = found.metrics[:SHOWN]
    many = len(figures.seeds) > 1
    uneven = many and len({len(one.seeds) for one in found.runs.values()} | {len(figures.seeds)}) > 1
    head = ["run"]
    if names:
        head += [
            title(names[0]),
            f"from {figures.base}",
            *(["between seeds"] if many else []),
            *(["seeds"] if uneven else []),
        ]
        head += [title(name) for name in names[1:]]
    rows = []
    for run, about in figures.runs.items():
        one = found.runs.get(run)
        if one is None:
            continue
        row: list[Cell] = [run]
        if names:
            row += [bar(one.metrics[names[0]]), _apart(found, one, names[0])]
            row += [_deviation(one.metrics[names[0]])] if many else []
            row += [len(one.seeds)] if uneven else []
            row += [one.metrics[name].value for name in names[1:]]
        cost = about if isinstance(about, Costs) else None
        numbers = (
            count(cost.total if cost else None),
            count(cost.trainable if cost else None),
            seconds(cost.training_seconds if cost else None),
        )
        rows.append((*row, *numbers))
    return (*head, "parameters", "that train", "training"), tuple(rows)


def _apart(found: SweepSplit, one: VariantOfSweep, name: str) -> Cell:
    """A difference on a scale that all of the split's fit on."""
    apart = _differences(one).get(name)
    if not apart:
        return "–"
    every = [m for variant in found.runs.values() for m in _differences(variant).values()]
    widest = max((abs(v) for m in every for v in (m.value, m.low, m.high) if v is not None), default=0.0)
    end = max(1, math.ceil(10 * widest)) / 10
    return bar(apart, (-end, end))


def _differences(one: VariantOfSweep) -> Mapping[str, Difference]:
    """Each metric's difference from the base; nothing for the base itself."""
    return one.difference.metrics if one.difference else {}


def _deviation(one: Mean) -> Cell:
    return "–" if one.deviation is None else f"± {one.deviation:.3f}"


def count(number: int | None) -> str:
    """`1.93 M`."""
    if number is None:
        return "–"
    for unit, word in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{word}"
    return str(number)


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
    for line in list(notes(figures))[:2]:
        yield Paragraph(line, "quiet")
    for split, found in figures.splits.items():
        yield Heading(_heading(split, found))
        yield Grid(*main_table(figures, found), named=True)
        yield from _groups(found)
        yield Fold("All metrics", tuple(_all(figures, found)))
        if len(figures.seeds) > 1:
            yield Fold("Each seed", (_seeds(figures, found),))
    yield Heading("The runs")
    rows = tuple(
        (name, one.about, "; ".join(f"{k}: {v}" for k, v in one.changes.items()) or "nothing")
        for name, one in figures.runs.items()
    )
    yield Grid(("run", "what it is", "what it changes in the recipe"), rows, named=True)
    yield from _times(figures)


def _heading(split: str, found: SweepSplit) -> str:
    counts = dict.fromkeys(one.count for one in found.runs.values())
    return f"{split}: {' or '.join(map(str, counts))} samples, {len(found.labels)} classes"


def _groups(found: SweepSplit) -> Iterator[PageBlock]:
    """The first metric by each fact of the samples."""
    facts = {f: list(values) for one in found.runs.values() for f, values in one.groups.items()}
    for fact, values in facts.items():
        counts = next(one.groups[fact] for one in found.runs.values() if fact in one.groups)
        head = ("run", *(f"{v} ({counts[v].count})" for v in values))
        rows = tuple(
            (name, *(bar(one.groups[fact][v]) if v in one.groups.get(fact, {}) else "–" for v in values))
            for name, one in found.runs.items()
        )
        yield Fold(f"{title(found.metrics[0])} by {spoken_name(fact)}", (Grid(head, rows, named=True),))


def _all(figures: SweepFigures, found: SweepSplit) -> Iterator[PageBlock]:
    names = found.metrics
    base = figures.base
    rows: list[tuple[Cell, ...]] = [(run, *(bar(one.metrics[n]) for n in names)) for run, one in found.runs.items()]
    yield Grid(("run", *map(title, names)), tuple(rows), named=True)
    paired = [n for n in names if any(n in _differences(one) for one in found.runs.values())]
    rows = [(run, *(_apart(found, one, n) for n in paired)) for run, one in found.runs.items() if one.difference]
    if rows:
        yield Paragraph(f"Differences from {base}:")
        yield Grid(("run", *map(title, paired)), tuple(rows), named=True)


def _seeds(figures: SweepFigures, found: SweepSplit) -> Grid:
    name = found.metrics[0]
    seeds = [str(s) for s in figures.seeds]
    rows = tuple((run, *(one.seeds.get(s, {}).get(name) for s in seeds)) for run, one in found.runs.items())
    return Grid(("run", *(f"{title(name)}, seed {s}" for s in seeds)), rows, named=True)


def _times(figures: SweepFigures) -> Iterator[PageBlock]:
    """Seconds by stage, and which stages were taken over."""
    there = {name: one for name, one in figures.runs.items() if isinstance(one, Costs) and one.stages}
    fullest_first = sorted(there.values(), key=lambda one: -len(one.stages))
    stages = list(dict.fromkeys(s for one in fullest_first for s in one.stages))
    rows = tuple(
        (name, *(seconds(one.stages.get(s)) for s in stages), seconds(one.evaluation_seconds))
        for name, one in there.items()
    )
    yield Heading("Time")
    yield Grid(("run", *stages, "evaluation"), rows, named=True)
    taken = [
        f"{run}: {', '.join(f'{stage} from {giver}' for stage, giver in stages_of.items())}"
        for one in there.values()
        for run, stages_of in one.taken_from.items()
        if stages_of
    ]
    if taken:
        yield Paragraph(
            "Times are means over seeds, those of stages that were taken over included: the time of the run alone."
        )
        yield Fold("Stages taken over", tuple(Paragraph(line) for line in taken))


STATES = {"done": "is done", "begun": "goes on", "new": "starts"}


def print_planned(
    sweep: Sweep, jobs: Sequence[SweepJob], folder: Path, others: Sequence[Path], say: Callable[[str], None]
) -> None:
    """A table of the runs: what each changes, what is done of it, which stages it will train and take over."""
    rows = [
        [job.name, *_row(job, stages)] for job, stages in zip(jobs, stages_to_train(jobs, folder, others), strict=True)
    ]
    table(f"{sweep.name}: nothing wrong", ["run", "", "changes", "trains", "takes over"], rows, named=True)
    for job in jobs:
        for address, source in absent(job.plan).items() if job.state != "done" else ():
            say(f"{job.name}: {address} {source} is not here yet")
    count = len(devices_for(sweep.settings.devices, jobs[0].plan.run.accelerator))
    say(f"{count_text(len(jobs), 'run')} in {folder}, {count} at a time; compared with {sweep.base}")


def check_sweep(
    source: str, overrides: Sequence[str], plugins: Sequence[str | Path], trust: bool, say: Callable[[str], None]
) -> None:
    """Check a sweep and tell what it would run. Raises InputError with every problem."""
    sweep = load_sweep(source, overrides, plugins, trust)
    folder = folder_of(sweep, None)
    print_planned(sweep, jobs_of(sweep, folder), folder, (), say)


def stages_to_train(
    jobs: Sequence[SweepJob], folder: Path, others: Sequence[Path] = ()
) -> list[tuple[list[str], list[str]]]:
    """For each job the stages that it trains, and those that another run gives it, run in this order."""
    known = {item for run in runs_below([folder, *others]) for item in _finished(run)}
    found = []
    for job in jobs:
        todo = [s for s in job.plan.stages if not job.run.weights(s).exists()]
        given = [s for s in todo if s in job.keys and (s, job.keys[s]) in known]
        known |= set(job.keys.items())
        found.append(([s for s in todo if s not in given], given))
    return found


def _finished(run: Run) -> list[tuple[str, str]]:
    return [(s, k) for s, k in keys_of(run).items() if run.weights(s).exists()]


def _row(job: SweepJob, stages: tuple[list[str], list[str]]) -> list[str]:
    state = "done" if job.state == "done" else "begun" if job.run.recipe.is_file() else "new"
    changes = ", ".join(f"{key}={value}" for key, value in job.variant.changes.items())
    return [STATES[state], changes or "nothing", *(", ".join(s) or "–" for s in stages)]
