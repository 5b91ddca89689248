"""A suite on checkpoints: every clip is encoded once, every checkpoint answers, one of them is the figure."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from affectkit import protocols, suite_bias
from affectkit.bias import stating
from affectkit.cache import Cache
from affectkit.checkpoints import Weights, changing, weights_of
from affectkit.errors import InputError, Problem
from affectkit.evaluation import cache_folder
from affectkit.files import as_file_name, write_json_atomic
from affectkit.fitting import starting
from affectkit.loading import Loaded, evaluated, load
from affectkit.plan import Plan
from affectkit.registry import Registry
from affectkit.runs import Run, beside, is_run, start
from affectkit.score import write_metrics, write_predictions
from affectkit.splits import face_problems
from affectkit.submissions import chosen as handed_in
from affectkit.submissions import write_submission
from affectkit.suite_ask import Answered, Job, Say, answered, labels_of, plan_for, wanted_of
from affectkit.suite_figures import summary
from affectkit.suites import Suite, load_suite, open_sets, parted
from affectkit.wanted import LABEL

SUBMISSION = "submission"
"""The split of predictions that are handed in and not scored."""


def evaluate_suite(
    targets: Sequence[str | Path],
    suite: str | Path,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
    say: Say = print,
    checkpoints: str = "",
    submission: str | Path | None = None,
    by_people: bool = False,
) -> Run:
    """Evaluate one or more runs, or a recipe as it starts, on the data sets of a suite; returns the new run folder.

    `checkpoints` names checkpoints of each run (`all`, or names with commas); without it each run's own. THE figure is that
    of the first run's last checkpoint among them, which is what its last stage handed on. `submission` is a file to hand in.
    `by_people` adds to it figures by age, gender and race in each set of labels, and gaps over all of these.

    Raises InputError for a suite, a run or a checkpoint that is wrong, and where no data set of the suite is there.
    """
    own, others = parted(overrides)
    job = _open(load_suite(suite, own, Registry.load(plugins)), submission, say)
    job.by_people = by_people
    runs = Runs(targets, lambda path: _loaded(path, others, plugins, trust, say), checkpoints)
    run = _fresh(runs, job)
    begun = time.monotonic()
    done = []
    for one in runs.answered(job):
        done.append(one)
        place = run.folder / "checkpoints" / as_file_name(f"{one.run}-{one.name}")
        _write(place if runs.many else run.folder, runs.first.plan, one)
    figure = next(one for one in reversed(done) if one.source == 0)
    if runs.many:
        _write(run.folder, runs.first.plan, figure)
    write_metrics(run.folder, figure.figures)
    told = summary(job.suite, figure, done, job.missing)
    told |= {"bias": figure.bias} if figure.bias else {}
    told |= {"encodings": _encodings(job), "seconds": round(time.monotonic() - begun, 2)}
    if submission is not None and job.candidates is not None:
        form = job.suite.sets[job.candidates[0]].settings.submission
        assert form is not None
        told["submission"] = write_submission(form, figure.handed_in, Path(submission))
    write_json_atomic(run.folder / "suite.json", told)
    from affectkit.report import write_report

    write_report(run.folder)
    return run


class Runs:
    """The runs that are evaluated. The first stays loaded, of the others one at a time."""

    def __init__(self, targets: Sequence[str | Path], load_one: Callable[[str | Path], Loaded], wanted: str) -> None:
        self.targets, self.load_one, self.wanted = targets, load_one, wanted
        self.trained = is_run(targets[0])
        self.first = load_one(targets[0])
        self._first = weights_of(targets[0], self.first, wanted)
        self.many = len(targets) > 1 or len(self._first.points) > 1

    def weights(self, number: int) -> Weights:
        """The checkpoints of one run."""
        if number == 0:
            return self._first
        path = self.targets[number]
        return weights_of(path, self.load_one(path), self.wanted)

    def answered(self, job: Job) -> Iterator[Answered]:
        """What every checkpoint gave. All of them are looked at before the first is asked, so that it is known what they
        share: up to there each clip is encoded once for all."""
        job.cache = Cache(cache_folder(self.first.plan))
        every: list[list[dict[str, str]]] = []
        for number in range(len(self.targets)):
            weights = self.weights(number)
            _check_faces(job, weights.loaded.plan)
            every.append([weights.keys(point, job.cache.memo) for point in weights.points])
        flat = [keys for one in every for keys in one]
        for number in range(len(self.targets)):
            weights = self.weights(number)
            for point, keys in zip(weights.points, every[number], strict=True):
                weights.put(point)
                moving = changing(weights.loaded.plan, keys, [other for other in flat if other is not keys])
                if self.many:
                    job.say(f"{evaluated(weights.loaded.run).folder.name}, checkpoint {point.name}")
                one = answered(job, weights.loaded, point.name, number, moving)
                yield one  # which writes the answers
                if job.by_people and number == 0 and point is weights.points[-1]:
                    one.bias = suite_bias.measure(job, weights.loaded, one, moving)


def _open(suite: Suite, submission: str | Path | None, say: Say) -> Job:
    """The sets that are there. Raises InputError where none is."""
    samples, missing = open_sets(suite)
    candidates = None
    if submission is not None:
        forms = {name: entry.settings.submission for name, entry in suite.sets.items()}
        name = handed_in(forms, Path(submission))
        form = forms[name]
        assert form is not None
        split = form.split or suite.sets[name].settings.split
        found, gone = open_sets(suite, {name: split})
        if name not in found:
            raise InputError(Problem(suite.recipe.place(("sets", name)), f"has nothing to hand in: {gone[name]}"))
        candidates = (name, found[name])
    for name, why in missing.items():
        say(f"{name} is not there: {why}")
    if not samples and candidates is None:
        raise InputError(
            [Problem(suite.recipe.place(("sets", n)), f"is not there: {why}") for n, why in missing.items()]
        )
    return Job(suite, samples, missing, None, say, candidates)  # type: ignore[arg-type]


def _loaded(path: str | Path, overrides: Sequence[str], plugins: Sequence[str | Path], trust: bool, say: Say) -> Loaded:
    """A run, or a recipe with the weights that it starts from."""
    return load(path, overrides, plugins, trust) if is_run(path) else starting(path, overrides, plugins, trust, say)


def _fresh(runs: Runs, job: Job) -> Run:
    """The run folder of the evaluation, with what made it; a recipe as it starts has one already."""
    first = runs.first
    note: dict[str, Any] = {"weights": first.model.origins(), "labels": list(first.labels), "suite": job.suite.name}
    note["demographics"] = bool(stating(first.plan))
    if runs.trained:
        note["evaluates"] = str(evaluated(first.run).folder)
    if runs.wanted:
        note["checkpoints"] = runs.wanted
    for entry in job.entries.values():  # mistakes of the prompt and of metrics show before anything is asked
        plan_for(first.plan, first.run, entry)
        wanted_of(entry, first.plan)
        if entry.settings.task == LABEL and not (entry.settings.choices or labels_of(job.samples[entry.name], first)):
            what = "the data set has no labels to choose from, and the run was taught none"
            raise InputError(Problem(job.suite.recipe.place(("sets", entry.name)), what, "ask it another task"))
    if job.by_people:
        suite_bias.needs_labels(job, first.plan)
    _check_faces(job, first.plan)
    run = start(beside(first.plan, first.run)) if runs.trained else first.run
    run.note(note)
    return run


def _check_faces(job: Job, plan: Plan) -> None:
    """Raises InputError where a view must find faces, names no detector, and clips of a set have no boxes."""
    handed = {job.candidates[0]: job.candidates[1]} if job.candidates else {}
    problems = face_problems(plan, handed | job.samples)
    if problems:
        raise InputError(problems)


def _encodings(job: Job) -> dict[str, Any]:
    """How often clips were decoded and encoded in this evaluation; 0 for those that the cache had before."""
    counts = Counter({key: n for key, n in job.cache.encoded.items() if key in job.clips})
    total = sum(counts.values())
    return {
        "clips": len(job.clips),
        "encoded": total,
        "per_clip": round(total / max(1, len(job.clips)), 4),
        "most": max(counts.values(), default=0),
    }


def _write(folder: Path, plan: Plan, one: Answered) -> None:
    """The answers of a checkpoint, as soon as they are there: they cost more than what is made of them."""
    folder.mkdir(parents=True, exist_ok=True)
    protocols.write_answers(folder, plan, one.answers)
    if one.handed_in:
        write_predictions(
            folder / "predictions-submission.jsonl", (replace(p, split=SUBMISSION) for p in one.handed_in)
        )
