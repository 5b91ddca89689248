"""A suite on checkpoints: every clip is encoded once, every checkpoint answers, one of them is the figure."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from affectkit.data.splits import face_problems
from affectkit.encode.cache import Keys
from affectkit.errors import InputError, MediaError, Problem
from affectkit.evaluation import bias, bootstrap
from affectkit.evaluation import protocol as protocols
from affectkit.evaluation.bias import SetAnswers, over_sets, stating
from affectkit.evaluation.figures import FieldFigures, Figure
from affectkit.evaluation.over_sets import BiasOverSets
from affectkit.evaluation.predict import AnswerOptions, blank, perceive, predict
from affectkit.evaluation.prediction import Prediction, answered_only, write_predictions
from affectkit.evaluation.run import print_untaught
from affectkit.evaluation.score import write_metrics
from affectkit.files import Say, as_file_name, write_json_atomic
from affectkit.labels.submission import submission_set as handed_in
from affectkit.labels.submission import write_submission
from affectkit.model.model import Model
from affectkit.plan.plan import Plan
from affectkit.registry import Registry
from affectkit.report.results import distinct_names
from affectkit.report.suite import Encodings, HandedIn, SetFigures
from affectkit.sample import LABEL, Sample, labels_in
from affectkit.studies.cells import CellStore, LazyRun, MatrixCell, of_samples
from affectkit.studies.matrix import CrossOptions
from affectkit.studies.suite import Suite, SuiteSet, load_suite, open_sets, split_overrides
from affectkit.studies.suite_checkpoints import Checkpoint, CheckpointedRun, changing, points_of
from affectkit.studies.suite_figures import CheckpointAnswers, further, summary
from affectkit.studies.suite_protocol import AskedSet, finalise_choice, worded
from affectkit.train.run_folder import Run, beside, evaluated_run, start

SUBMISSION = "submission"
"""The split of predictions that are handed in and not scored."""
HANDED_IN = "to hand in"
"""Their column."""
CELLS = "cells"
"""The folder, beside the runs, of all answers that suites were given."""


def evaluate_suite(
    targets: Sequence[str | Path],
    suite: str | Path,
    overrides: Sequence[str] = (),
    how: CrossOptions | None = None,
    say: Say | None = None,
    checkpoints: str = "",
    submission: str | Path | None = None,
    by_people: bool = False,
) -> Run:
    """Evaluate one or more runs, or a recipe as it starts, on the data sets of a suite; returns the new run folder.

    `how.checkpoints` names checkpoints of each run (`all`, or names with commas); without it each run's own. THE figure is that
    of the first run's last checkpoint among them, which is what its last stage handed on. `how.submission` is a file to hand in.
    `how.by_people` adds to it figures by age, gender and race in each set of labels, and gaps over all of these. These and
    `how.say` may be named by themselves, too.

    What a checkpoint answered to a set stays done, in `cells` beside the run folders, while the run, the question and the data
    are the same.

    Raises InputError for a suite, a run or a checkpoint that is wrong, and where no data set of the suite is there.
    """
    how = how or CrossOptions()
    how = replace(
        how,
        say=say or how.say,
        checkpoints=checkpoints or how.checkpoints,
        submission=submission or how.submission,
        by_people=by_people or how.by_people,
    )
    own, others = split_overrides(overrides)
    sets = _open(load_suite(suite, own, Registry.load(how.plugins[0])), how)
    job = SuiteJob(sets, targets, others, how)
    run = _fresh(job)
    begun = time.monotonic()
    done = []
    for one in job.answers():
        done.append(one)
        place = run.folder / "checkpoints" / as_file_name(f"{one.run}-{one.name}")
        _write(place if job.many else run.folder, job.first.plan, one)
    figure = next(one for one in reversed(done) if one.source == 0)
    if job.many:
        _write(run.folder, job.first.plan, figure)
    write_metrics(run.folder, figure.figures)
    seconds, handed = round(time.monotonic() - begun, 2), None
    if how.submission is not None and sets.candidates is not None:
        form = sets.candidates[0].settings.submission
        assert form is not None
        handed = HandedIn.from_dict(write_submission(form, figure.handed_in, Path(how.submission)))
    told = summary(sets.suite, figure, done, sets.missing, _encodings(job), seconds, handed)
    write_json_atomic(run.folder / "suite.json", told.to_dict())
    from affectkit.report.run import write_report

    write_report(run.folder)
    return run


@dataclass(frozen=True)
class OpenedSuite:
    """A suite with the samples of its sets that are there."""

    suite: Suite
    samples: Mapping[str, Sequence[Sample]]
    missing: Mapping[str, str]
    candidates: tuple[SuiteSet, Sequence[Sample]] | None = None
    """The set whose answers are handed in, and those samples."""

    @property
    def columns(self) -> dict[str, tuple[SuiteSet, Sequence[Sample]]]:
        """The sets that are there with their samples, and what is handed in."""
        there = {name: (self.suite.sets[name], samples) for name, samples in self.samples.items()}
        return there | ({HANDED_IN: self.candidates} if self.candidates else {})


def _open(suite: Suite, how: CrossOptions) -> OpenedSuite:
    """The sets that are there. Raises InputError where none is."""
    samples, missing = open_sets(suite)
    candidates = _candidates(suite, Path(how.submission)) if how.submission is not None else None
    for name, why in missing.items():
        how.say(f"{name} is not there: {why}")
    if not samples and candidates is None:
        raise InputError(
            [Problem(suite.recipe.place(("sets", n)), f"is not there: {why}") for n, why in missing.items()]
        )
    return OpenedSuite(suite, samples, missing, candidates)


def _candidates(suite: Suite, file: Path) -> tuple[SuiteSet, Sequence[Sample]]:
    """The set that a file of that name hands in, and the samples of the split that is handed in."""
    name = handed_in({name: entry.settings.submission for name, entry in suite.sets.items()}, file)
    entry = suite.sets[name]
    split = (entry.settings.submission and entry.settings.submission.split) or entry.settings.split
    found, gone = open_sets(suite, {name: split})
    if name not in found:
        raise InputError(Problem(suite.recipe.place(("sets", name)), f"has nothing to hand in: {gone[name]}"))
    return entry, found[name]


@dataclass
class CheckpointRow:
    """A checkpoint and its cells."""

    number: int
    """Which of the runs that were named, from 0."""
    run: LazyRun
    point: Checkpoint
    asked: Mapping[str, AskedSet]
    """By column."""
    cells: Mapping[str, MatrixCell]
    moving: Sequence[str] = ()
    """Steps that other checkpoints have otherwise behind what they share."""

    @property
    def open_columns(self) -> list[str]:
        """The columns that are not done."""
        return [name for name, cell in self.cells.items() if cell.answers is None]


class SuiteJob:
    """Checkpoints on the sets of a suite. The first run stays loaded, of the others one at a time; one that is done is not."""

    def __init__(
        self, sets: OpenedSuite, targets: Sequence[str | Path], overrides: Sequence[str], how: CrossOptions
    ) -> None:
        self.sets, self.how, self.say = sets, how, how.say
        self.runs = [LazyRun(str(path), path, overrides, how) for path in targets]
        self.first = self.runs[0]
        self.asked = [{n: AskedSet(e, samples, one) for n, (e, samples) in sets.columns.items()} for one in self.runs]
        """For each run, its sets by column."""
        self.points = [points_of(one.path, evaluated_run(one.run), one.plan, how.checkpoints) for one in self.runs]
        self.many = len(self.runs) > 1 or len(self.points[0][0]) > 1
        self.cache = self.first.cache
        self.folder = Path(beside(self.first.plan, self.first.run).run.folder) / CELLS / as_file_name(sets.suite.name)
        self.clips: set[str] = set()
        """Every clip by its content."""
        self.announced = False
        """Whether it was said what is asked."""
        self._weights: dict[int, CheckpointedRun] = {}

    def weights(self, row: CheckpointRow) -> CheckpointedRun:
        """The weights of a row's run, loaded."""
        if row.number not in self._weights:
            for other in set(self._weights) - {0}:
                del self._weights[other]
                self.runs[other].forget()
            self._weights[row.number] = CheckpointedRun(row.run.loaded, *self.points[row.number])
        return self._weights[row.number]

    def rows(self) -> Iterator[CheckpointRow]:
        """Every checkpoint, with what is done of it."""
        data = {name: of_samples(_every(asked), self.first.hashes) for name, asked in self.asked[0].items()}
        names = [one.run.folder.name if one.trained else Path(one.path).name for one in self.runs]
        names = distinct_names(names, [one.name for one in self.runs])
        for number, (name, one) in enumerate(zip(names, self.runs, strict=True)):
            for point in self.points[number][0]:
                of_weights = one.fingerprint(point.files or _files(evaluated_run(one.run).tokenizer))
                cells = {}
                for column, asked in self.asked[number].items():
                    fingerprint = {**of_weights, "asked": asked.digest(), "data": data[column]}
                    store = CellStore(self.folder, f"{name}-{point.name}", column)
                    cells[column] = MatrixCell(column, store, fingerprint, self.how)
                yield CheckpointRow(number, one, point, self.asked[number], cells)

    def answers(self) -> Iterator[CheckpointAnswers]:
        """What every checkpoint gave. All that have to be asked are looked at before the first is, so that it is known what
        they share: up to there each clip is encoded once for all."""
        rows = list(self.rows())
        self.clips = set(_clips(self, self.first.loaded.model, self.asked[0]))
        asked = [row for row in rows if row.open_columns]
        keys = [self.weights(row).keys(row.point, self.cache.memo) for row in asked]
        for row, own in zip(asked, keys, strict=True):
            row.moving = changing(row.run.plan, own, [other for other in keys if other is not own])
        for row in rows:
            if self.many:
                self.say(f"{evaluated_run(row.run.run).folder.name}, checkpoint {row.point.name}")
            one = _answered(self, row)
            yield one  # which writes the answers
            if self.how.by_people and row.number == 0 and row.point is self.points[0][0][-1]:
                one.bias = bias_over_sets(self, row, one)


def _every(asked: AskedSet) -> list[Sample]:
    return [asked.samples[i] for i in range(len(asked.samples))]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _fresh(job: SuiteJob) -> Run:
    """The run folder of the evaluation, with what made it; a recipe as it starts has one already."""
    first, loaded, suite = job.first, job.first.loaded, job.sets.suite
    note: dict[str, object] = {"weights": loaded.model.origins(), "labels": list(first.labels), "suite": suite.name}
    note["demographics"] = bool(stating(first.plan))
    if first.trained:
        note["evaluates"] = str(evaluated_run(first.run).folder)
    if job.how.checkpoints:
        note["checkpoints"] = job.how.checkpoints
    for name in job.sets.samples:
        asked = job.asked[0][name]
        settings = asked.entry.settings
        _ = asked.plan, asked.metrics  # mistakes of the prompt and of metrics show before anything is asked
        if settings.task == LABEL and not (settings.choices or asked.labels):
            what = "the data set has no labels to choose from, and the run was taught none"
            raise InputError(Problem(suite.recipe.place(("sets", name)), what, "ask it another task"))
    if job.how.by_people:
        needs_labels(job)
    handed = {job.sets.candidates[0].name: job.sets.candidates[1]} if job.sets.candidates else {}
    for one in job.runs:  # a view must find faces, names no detector, and clips of a set have no boxes
        problems = face_problems(one.plan, {**handed, **job.sets.samples})
        if problems:
            raise InputError(problems)
    run = start(beside(first.plan, first.run)) if first.trained else first.run
    run.note(note)
    return run


def _encodings(job: SuiteJob) -> Encodings:
    """How often clips were decoded and encoded in this evaluation; 0 for those that the cache had before."""
    counts = Counter({key: n for key, n in job.cache.encoded.items() if key in job.clips})
    total = sum(counts.values())
    most = max(counts.values(), default=0)
    return Encodings(len(job.clips), total, round(total / max(1, len(job.clips)), 4), most)


def _write(folder: Path, plan: Plan, one: CheckpointAnswers) -> None:
    """The answers of a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    protocols.write_answers(folder, plan, one.answers)
    if one.handed_in:
        write_predictions(
            folder / "predictions-submission.jsonl", (replace(p, split=SUBMISSION) for p in one.handed_in)
        )


def _answered(job: SuiteJob, row: CheckpointRow) -> CheckpointAnswers:
    """One checkpoint on every set."""
    run = evaluated_run(row.run.run)
    out = CheckpointAnswers(row.point.name, run.folder.name, row.number)
    if row.open_columns:
        job.weights(row).put(row.point)
        model = row.run.loaded.model  # a clip that is in two sets is encoded once
        perceive(model, list(_clips(job, model, row.open_columns).values()), job.cache, None, row.moving)
    for place, (name, entry) in enumerate(job.sets.suite.sets.items()):
        if name not in job.sets.samples:
            continue
        asked, own = row.asked[name], entry.settings
        if not job.announced:
            job.say(f"{name}: {len(asked.samples)} samples of {own.split!r}, task {own.task}")
        if own.task == LABEL and not job.announced:
            print_untaught(run, name, labels_in(asked.samples), job.say)
        query = asked.metrics[entry.primary].query
        found = row.cells[name].filled("", partial(_ask, job, row, name))
        if query[0] != LABEL and own.task == LABEL:
            found = [worded(p, asked.samples[i], query[0]) for i, p in enumerate(found)]
        references = {task for metric in asked.metrics.values() for task in metric.references}
        out.answers[name] = {query: [finalise_choice(entry, p, references) for p in found]}
        _score(job, place, asked, out)
    job.announced = True
    if job.sets.candidates is not None:
        out.handed_in = row.cells[HANDED_IN].filled("", partial(_ask, job, row, HANDED_IN))
    return out


def _clips(job: SuiteJob, model: Model, columns: Iterable[str]) -> dict[str, Sample]:
    """Every distinct clip of some columns, by its content."""
    names = Keys(model.plan, model.steps, job.cache.memo)
    distinct: dict[str, Sample] = {}
    for sample in (sample for column in columns for sample in _every(job.asked[0][column])):
        try:
            distinct.setdefault(names.sample(sample, False), sample)
        except MediaError:
            distinct.setdefault(f"broken {sample.id}", sample)
    names.keep()
    return distinct


def _ask(job: SuiteJob, row: CheckpointRow, column: str) -> list[Prediction]:
    """The answer to every sample; one that lacks a text to choose from is skipped."""
    asked = row.asked[column]
    options, every = asked.options, _every(asked)
    texts = asked.entry.settings.choices.values()
    lacking = {x.id: [n for n in texts if not x.answers.get(n, "").strip()] for x in every}
    whole = [x for x in every if not lacking[x.id]]
    found = iter(predict(asked.model, whole, asked.labels, job.cache, options, row.moving))
    out = []
    for sample in every:
        if lacking[sample.id]:
            why = f"the sample has no text {', '.join(lacking[sample.id])}"
            out.append(replace(blank(sample, options), state="skipped", error=why))
        else:
            out.append(next(found))
    return out


def _score(job: SuiteJob, place: int, asked: AskedSet, out: CheckpointAnswers) -> None:
    """Figures of one set, and the draws of its primary metric; by its `place` sets are drawn independently of each other."""
    entry, plan = asked.entry, asked.run.plan
    answers = out.answers[entry.name]
    (query,) = answers
    labels = tuple(entry.settings.choices) or labels_in(asked.samples)
    # as if the recipe found labels in this way: `figures` takes such answers for the main ones
    own = plan if query[0] != LABEL else replace(plan, score=replace(plan.score, method=query[1]))
    figures = protocols.figures(own, asked.metrics, answers, labels, job.say)
    metric = asked.metrics[entry.primary]
    seen = answered_only([protocols.with_reference(p, metric.references) for p in answers[query]])
    out.figures[entry.name] = figures if figures.count is not None else replace(figures, count=len(seen))
    found = figures.metrics[entry.primary]
    also: dict[str, Figure] = {}
    if found.value is not None:
        seed, resamples = plan.run.seed + place, plan.score.resamples
        out.draws[entry.name] = bootstrap.draws(metric.metric, seen, labels, seed, resamples=resamples)
        also = further(metric.metric, entry.settings.also, seen, labels, resamples, seed)
    ends, number = (found.value, found.low, found.high), out.figures[entry.name].count
    out.sets[entry.name] = SetFigures(*ends, number, found.protocol, also, found.error or None)


def needs_labels(job: SuiteJob) -> None:
    """Raises InputError where no data set that is there is asked for labels and scored by them."""
    without = {name: job.asked[0][name].without_groups for name in job.sets.samples}
    if all(without.values()):
        told = "; ".join(f"{name} {why}" for name, why in without.items())
        raise InputError(Problem("--bias", f"no data set of the suite has figures by people: {told}"))


def bias_over_sets(job: SuiteJob, row: CheckpointRow, one: CheckpointAnswers) -> BiasOverSets:
    """Put `bias` into the figures of every set that has labels; returns what they say of people, each and over all."""
    without: dict[str, str] = {}
    there: dict[str, SetAnswers] = {}
    groups: dict[str, Mapping[str, FieldFigures]] = {}
    job.weights(row).put(row.point)
    for place, (name, samples) in enumerate(job.sets.samples.items()):
        if row.asked[name].without_groups:
            without[name] = row.asked[name].without_groups
            continue
        probe = _bias_probe(job, row, name, place)
        estimate = partial(bias.estimates, probe) if row.run.plan.reads else None
        people = row.cells[name].store.people(samples, estimate)
        answers = one.answers[name]
        found = bias.measure(probe, answers, people)
        one.figures[name], groups[name] = replace(one.figures[name], bias=found), found.groups
        there[name] = SetAnswers(answers[LABEL, probe.options.method], people, probe.how)
    return BiasOverSets(groups, over_sets(there), without)


def _bias_probe(job: SuiteJob, row: CheckpointRow, name: str, place: int) -> bias.BiasProbe:
    """A checkpoint and the people of a set; its answers under other statements are cells of their own."""
    asked, cell = row.asked[name], row.cells[name]

    def keep(condition: str, options: AnswerOptions, ask: Callable[[], list[Prediction]]) -> list[Prediction]:
        fingerprint = {**cell.fingerprint, "asked": asked.digest(options)}
        return MatrixCell(f"{name}, {condition}", cell.store.beside(condition), fingerprint, job.how).filled("", ask)

    return bias.BiasProbe(
        asked.model,
        asked.samples,
        job.cache,
        lambda line: job.say(f"{name}: {line}"),
        asked.options,
        asked.count_metrics,
        place,
        row.moving,
        keep,
    )
