"""A suite on checkpoints: every clip is encoded once, every checkpoint answers, one of them is the figure."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from affectkit import protocols
from affectkit.answer import Question, blank, perceive, predict
from affectkit.cache import Cache
from affectkit.cache_keys import Keys
from affectkit.checkpoints import Checkpoint, Weights, changing, loaded_run
from affectkit.errors import InputError, MediaError, Problem
from affectkit.evaluation import cache_folder, labels_in, tell_untaught
from affectkit.files import write_json_atomic
from affectkit.fit import Loaded, evaluated, load, starting
from affectkit.model import Model, under
from affectkit.plan import Plan, plan_recipe
from affectkit.protocols import Wanted, build_metric
from affectkit.recipe import load_recipe
from affectkit.registry import Registry
from affectkit.runs import Run, is_run, start
from affectkit.sample import Sample
from affectkit.score import Prediction, write_metrics, write_predictions
from affectkit.submissions import chosen as handed_in
from affectkit.submissions import write_submission
from affectkit.suite_figures import draws_of, summary
from affectkit.suites import Entry, Suite, load_suite, open_sets, parted
from affectkit.wanted import LABEL, Asked, held_against

Say = Callable[[str], None]
SUBMISSION = "submission"
"""The split of predictions that are handed in and not scored."""


@dataclass
class Job:
    """What is evaluated on what."""

    suite: Suite
    samples: dict[str, Sequence[Sample]]
    missing: dict[str, str]
    cache: Cache
    say: Say
    candidates: tuple[str, Sequence[Sample]] | None = None
    """The set whose answers are handed in, and those samples."""
    clips: set[str] = field(default_factory=set)
    """Every clip by its content."""

    @property
    def entries(self) -> dict[str, Entry]:
        """The sets that are there."""
        return {name: self.suite.sets[name] for name in self.samples}


@dataclass
class Answered:
    """What one checkpoint gave."""

    name: str
    run: str
    answers: dict[str, dict[Asked, list[Prediction]]] = field(default_factory=dict)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    draws: dict[str, Any] = field(default_factory=dict)
    """Bootstrap draws of each set's primary metric."""
    handed_in: list[Prediction] = field(default_factory=list)


def evaluate_suite(
    targets: Sequence[str | Path],
    suite: str | Path,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
    say: Say = print,
    checkpoints: str = "",
    submission: str | Path | None = None,
) -> Run:
    """Evaluate one or more runs, or a recipe as it starts, on the data sets of a suite; returns the new run folder.

    `checkpoints` names checkpoints of each run (`all`, or names with commas); without it each run's own. THE figure is that
    of the first run's last checkpoint among them, which is what its last stage handed on. `submission` is a file to hand in.

    Raises InputError for a suite, a run or a checkpoint that is wrong, and where no data set of the suite is there.
    """
    own, others = parted(overrides)
    job = _open(load_suite(suite, own, Registry.load(plugins)), submission, say)
    sources = [lambda p=path: _loaded(p, others, plugins, trust, say) for path in targets]  # type: ignore[misc]
    first = sources[0]()
    job.cache = Cache(cache_folder(first.plan))
    run = _fresh(first, is_run(targets[0]), job, checkpoints)
    begun = time.monotonic()
    done = list(_all_answered(job, first, sources, checkpoints, targets))
    figure = next(a for a in reversed(done) if a.run == done[0].run)
    encodings = _encodings(job)
    write_metrics(run.folder, figure.figures)
    told = summary(job.suite, figure, done, job.missing)
    told |= {"encodings": encodings, "seconds": round(time.monotonic() - begun, 2)}
    if submission is not None and job.candidates is not None:
        form = job.suite.sets[job.candidates[0]].settings.submission
        assert form is not None
        told["submission"] = write_submission(form, figure.handed_in, Path(submission))
    for one in done:
        _write(run.folder, first.plan, one, one is figure)
    write_json_atomic(run.folder / "suite.json", told)
    from affectkit.report import write_report

    write_report(run.folder)
    return run


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


def _fresh(first: Loaded, trained: bool, job: Job, checkpoints: str) -> Run:
    """The run folder of the evaluation, with what made it; a recipe as it starts has one already."""
    run = start(first.plan) if trained else first.run
    note: dict[str, Any] = {"weights": first.model.origins(), "labels": list(first.labels), "suite": job.suite.name}
    if trained:
        note["evaluates"] = str(evaluated(first.run).folder)
    if checkpoints:
        note["checkpoints"] = checkpoints
    for entry in job.entries.values():  # mistakes of the prompt and of metrics show before anything is asked
        _plan_for(first.plan, run, entry)
        _wanted(entry, first.plan)
    run.note(note)
    return run


def _all_answered(
    job: Job, first: Loaded, sources: Sequence[Callable[[], Loaded]], checkpoints: str, targets: Sequence[str | Path]
) -> Iterator[Answered]:
    """The answers of every checkpoint, one at a time; only one model is there at once."""
    points = [_points(first, targets[0], checkpoints)] if len(sources) == 1 else []
    every: list[list[dict[str, str]]] = []
    for number, source in enumerate(sources):
        weights = points[0] if points else _points(first if number == 0 else source(), targets[number], checkpoints)
        every.append([weights.keys(point, job.cache.memo) for point in weights.points])
    flat = [keys for one in every for keys in one]
    for number, source in enumerate(sources):
        weights = points[0] if points else _points(source(), targets[number], checkpoints)
        for point, keys in zip(weights.points, every[number], strict=True):
            if len(weights.points) > 1:
                weights.put(point)
            others = [other for other in flat if other is not keys]
            yield _answered(job, weights.loaded, point, changing(weights.loaded.plan, keys, others), len(flat))


def _points(loaded: Loaded, path: str | Path, checkpoints: str) -> Weights:
    if is_run(path):
        return loaded_run(path, loaded, checkpoints)
    return Weights(loaded, [Checkpoint("as it starts", ())])


def _answered(job: Job, loaded: Loaded, point: Checkpoint, moving: Sequence[str], of: int) -> Answered:
    """One checkpoint on every set."""
    run = evaluated(loaded.run)
    out = Answered(point.name, run.folder.name)
    if of > 1:
        job.say(f"{run.folder.name}, checkpoint {point.name}")
    _encode(job, loaded.model, moving)
    for name, entry in job.entries.items():
        samples = job.samples[name]
        if not moving or of == 1:
            job.say(f"{name}: {len(samples)} samples of {entry.settings.split}, task {entry.settings.task}")
        if entry.settings.task == LABEL:
            tell_untaught(run, name, labels_in(samples), job.say)
        asked = (LABEL if entry.settings.choices else entry.settings.task, entry.method(loaded.plan.score.method))
        found = _ask(job, loaded, entry, samples, moving)
        wanted = _wanted(entry, loaded.plan)
        against = {task for w in wanted.values() for task in w.against}
        out.answers[name] = {asked: [_settled(entry, p, against) for p in found]}
        _score(job, loaded.plan, entry, wanted, out)
    if job.candidates is not None:
        name, samples = job.candidates
        out.handed_in = _ask(job, loaded, job.suite.sets[name], samples, moving)
    return out


def _encode(job: Job, model: Model, moving: Sequence[str]) -> None:
    """Run the heads on every distinct clip of all sets, so that one that is in two sets is encoded once."""
    names = Keys(model.plan, model.steps, job.cache.memo)
    distinct: dict[str, Sample] = {}
    sets = [*job.samples.values(), *([job.candidates[1]] if job.candidates else [])]
    for samples in sets:
        for sample in (samples[i] for i in range(len(samples))):
            try:
                distinct.setdefault(names.sample(sample, False), sample)
            except MediaError:
                distinct.setdefault(f"broken {sample.id}", sample)
    names.keep()
    job.clips |= set(distinct)
    perceive(model, list(distinct.values()), job.cache, None, moving)


def _ask(job: Job, loaded: Loaded, entry: Entry, samples: Sequence[Sample], moving: Sequence[str]) -> list[Prediction]:
    """The answer to every sample; one that lacks a text to choose from is skipped."""
    plan = _plan_for(loaded.plan, loaded.run, entry)
    model = loaded.model if plan is loaded.plan else under(loaded.model, plan)
    s, own = loaded.plan.score, entry.settings
    method = "candidates" if own.choices else entry.method(s.method)
    most = own.most_tokens or s.most_tokens
    question = Question(own.task, method, s.batch, s.strict, most, True, own.choices, own.likelihood == "mean")
    every = [samples[i] for i in range(len(samples))]
    lacking = {x.id: [n for n in own.choices.values() if not x.answers.get(n, "").strip()] for x in every}
    whole = [x for x in every if not lacking[x.id]]
    found = iter(predict(model, whole, labels_in(samples), job.cache, question, moving))
    out = []
    for sample in every:
        if lacking[sample.id]:
            why = f"the sample has no text {', '.join(lacking[sample.id])}"
            out.append(replace(blank(sample, question), state="skipped", error=why))
        else:
            out.append(next(found))
    return out


def _settled(entry: Entry, prediction: Prediction, against: set[str]) -> Prediction:
    """As the ledger wants it: without a truth it is skipped, and so is a truth that is none of the choices."""
    choices = entry.settings.choices
    if choices and prediction.truth is not None and prediction.truth not in choices:
        why = f"the truth {prediction.truth!r} is none of the choices"
        return replace(prediction, state="skipped", truth=None, error=why)
    return prediction if prediction.state == "skipped" else protocols.settled(prediction, against)


def _wanted(entry: Entry, plan: Plan) -> dict[str, Wanted]:
    """The set's metrics, built; all of them score the same answers."""
    task = LABEL if entry.settings.choices else entry.settings.task
    asked = (task, entry.method(plan.score.method))
    return {
        name: Wanted(asked, build_metric(use, entry.clients.get(name)), held_against(use.settings))
        for name, use in entry.metrics.items()
    }


def _score(job: Job, plan: Plan, entry: Entry, wanted: Mapping[str, Wanted], out: Answered) -> None:
    """Figures of one set, and the draws of its primary metric."""
    answers = out.answers[entry.name]
    asked = next(iter(answers))
    labels = tuple(entry.settings.choices) or labels_in(job.samples[entry.name])
    scored = plan if asked[0] != LABEL else _with_method(plan, asked[1])
    figures = protocols.figures(scored, wanted, answers, labels, job.say)
    metric = wanted[entry.primary]
    seen = protocols.comparable([protocols.compared(p, metric.against) for p in answers[asked]])
    out.figures[entry.name] = {"count": len(seen), **figures}
    if figures[entry.primary].get("value") is not None:
        place = list(job.suite.sets).index(entry.name)  # the sets are drawn independently of each other
        out.draws[entry.name] = draws_of(metric.metric, seen, labels, plan.score.resamples, plan.run.seed + place)


def _with_method(plan: Plan, method: str) -> Plan:
    """The plan as if its recipe found labels in this way: `figures` takes such answers for the main ones."""
    return replace(plan, score=replace(plan.score, method=method))  # type: ignore[arg-type]


def _plan_for(plan: Plan, run: Run, entry: Entry) -> Plan:
    """The plan with the set's own question. Raises InputError where no part of the prompt asks the task."""
    task, block = entry.settings.task, entry.question
    asking = [name for name, part in plan.parts.items() if getattr(part.settings, "task", "") == task]
    if block is None and not asking:
        what = f"{entry.name} is asked the task {task!r}, which no part of the recipe's prompt asks"
        fix = f"add sets.{entry.name}.task=… or defaults.task=…, or give the set a `question`"
        raise InputError(Problem("--suite", what, fix, plan.tasks))
    if block is None:
        return plan
    parts = asking or ["suite_question"]
    text = json.dumps({**block, "task": task} if "task" in block else dict(block), ensure_ascii=False)
    overrides = [f"prompt.parts.{parts[0]}=null", *(f"prompt.parts.{p}=null" for p in parts[1:])]
    overrides = [*overrides, f"prompt.parts.{parts[0]}={text}"]
    made, problems = plan_recipe(load_recipe(run.recipe, overrides), plan.registry)
    if problems:
        raise InputError(problems)
    return replace(made, score=plan.score, run=plan.run)


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


def _write(folder: Path, plan: Plan, one: Answered, figure: bool) -> None:
    """The answers of a checkpoint: those of the figure at the top of the run folder."""
    slug = re.sub(r"[^\w.-]+", "-", f"{one.run}-{one.name}")
    place = folder if figure else folder / "checkpoints" / slug
    place.mkdir(parents=True, exist_ok=True)
    protocols.write_answers(place, plan, one.answers)
    if one.handed_in and figure:
        write_predictions(place / "predictions-submission.jsonl", (replace(p, split=SUBMISSION) for p in one.handed_in))
