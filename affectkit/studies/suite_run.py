"""A suite on checkpoints: every clip is encoded once, every checkpoint answers, one of them is the figure."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from affectkit.api import Loaded, load, starting
from affectkit.data.splits import face_problems
from affectkit.encode.cache import Cache, Keys
from affectkit.errors import InputError, MediaError, Problem
from affectkit.evaluation import bias as bias_ask
from affectkit.evaluation import bootstrap
from affectkit.evaluation import protocol as protocols
from affectkit.evaluation.answer import Question, blank, perceive, predict
from affectkit.evaluation.bias import OfSet, over_sets, stating
from affectkit.evaluation.prediction import Metric, Prediction, write_predictions
from affectkit.evaluation.protocol import Wanted, build_metric
from affectkit.evaluation.run import tell_untaught
from affectkit.evaluation.score import write_metrics
from affectkit.files import as_file_name, write_json_atomic
from affectkit.labels.submission import chosen as handed_in
from affectkit.labels.submission import write_submission
from affectkit.model.model import Model, under
from affectkit.plan.check import plan_recipe
from affectkit.plan.metrics import LABEL, held_against
from affectkit.plan.plan import Plan
from affectkit.recipe.load import load_recipe
from affectkit.registry import Registry
from affectkit.sample import Sample, labels_in
from affectkit.studies.suite import Entry, Suite, load_suite, open_sets, parted
from affectkit.studies.suite_checkpoints import Weights, changing, weights_of
from affectkit.studies.suite_figures import Answered, further, summary
from affectkit.train.run_folder import Run, beside, evaluated, is_run, start

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
    from affectkit.report.run import write_report

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
        job.cache = Cache(self.first.plan.cache_folder)
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
                    one.bias = bias_over_sets(job, weights.loaded, one, moving)


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
        needs_labels(job, first.plan)
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


Say = Callable[[str], None]


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
    told: bool = False
    """Whether it was said what is asked."""
    by_people: bool = False
    """Whether the figure gets figures by age, gender and race."""

    @property
    def entries(self) -> dict[str, Entry]:
        """The sets that are there."""
        return {name: self.suite.sets[name] for name in self.samples}


def answered(job: Job, loaded: Loaded, name: str, source: int, moving: Sequence[str]) -> Answered:
    """One checkpoint on every set; `moving` are steps that others have otherwise behind what they share."""
    run = evaluated(loaded.run)
    out = Answered(name, run.folder.name, source)
    _encode(job, loaded.model, moving)
    for set_name, entry in job.entries.items():
        samples, own = job.samples[set_name], entry.settings
        if not job.told:
            job.say(f"{set_name}: {len(samples)} samples of {own.split!r}, task {own.task}")
        if own.task == LABEL and not job.told:
            tell_untaught(run, set_name, labels_in(samples), job.say)
        wanted = wanted_of(entry, loaded.plan)
        asked = wanted[entry.primary].asked
        found = _ask(job, loaded, entry, samples, moving)
        if asked[0] != LABEL and own.task == LABEL:
            found = [_worded(p, samples[i], asked[0]) for i, p in enumerate(found)]
        against = {task for w in wanted.values() for task in w.against}
        out.answers[set_name] = {asked: [_settled(entry, p, against) for p in found]}
        _score(job, loaded.plan, entry, wanted, out)
    job.told = True
    if job.candidates is not None:
        set_name, samples = job.candidates
        out.handed_in = _ask(job, loaded, job.suite.sets[set_name], samples, moving)
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
    plan = plan_for(loaded.plan, loaded.run, entry)
    model = loaded.model if plan is loaded.plan else under(loaded.model, plan)
    own, question = entry.settings, question_for(entry, loaded.plan)
    every = [samples[i] for i in range(len(samples))]
    lacking = {x.id: [n for n in own.choices.values() if not x.answers.get(n, "").strip()] for x in every}
    whole = [x for x in every if not lacking[x.id]]
    found = iter(predict(model, whole, labels_of(samples, loaded), job.cache, question, moving))
    out = []
    for sample in every:
        if lacking[sample.id]:
            why = f"the sample has no text {', '.join(lacking[sample.id])}"
            out.append(replace(blank(sample, question), state="skipped", error=why))
        else:
            out.append(next(found))
    return out


def labels_of(samples: Sequence[Sample], loaded: Loaded) -> tuple[str, ...]:
    """The labels that are offered: those of the data set, for one that has none those that the run was taught."""
    return labels_in(samples) or loaded.labels


def _settled(entry: Entry, prediction: Prediction, against: set[str]) -> Prediction:
    """As the ledger wants it: without a truth it is skipped, and so is a truth that is none of the choices."""
    choices = entry.settings.choices
    if choices and prediction.truth is not None and prediction.truth not in choices:
        why = f"the truth {prediction.truth!r} is none of the choices"
        return replace(prediction, state="skipped", truth=None, error=why)
    return prediction if prediction.state == "skipped" else protocols.settled(prediction, against)


def _worded(prediction: Prediction, sample: Sample, task: str) -> Prediction:
    """A label as an answer in words to another task, for metrics that hold it against that task's truth."""
    if prediction.state == "undecodable":
        return replace(prediction, task=task, truth=None)
    facts = {**prediction.facts, "reference": sample.answers.get(task, "")}
    text = prediction.label or prediction.text
    return replace(prediction, task=task, state="scored", truth=None, label=None, text=text, facts=facts)


def wanted_of(entry: Entry, plan: Plan) -> dict[str, Wanted]:
    """The set's metrics, built; all of them score the same answers.

    A label that is held against another truth than the sample's label (a sentiment, a list) counts as an answer in words.
    """
    truths = held_against(entry.metrics[entry.primary].settings)
    task = LABEL if entry.settings.choices else entry.settings.task
    if entry.settings.task == LABEL and truths and LABEL not in truths:
        task = truths[0]
    asked = (task, entry.method(plan.score.method))
    return {
        name: Wanted(asked, build_metric(use, entry.clients.get(name)), held_against(use.settings))
        for name, use in entry.metrics.items()
    }


def question_for(entry: Entry, plan: Plan) -> Question:
    """How a set is asked by a run with that plan."""
    s, own = plan.score, entry.settings
    method = "candidates" if own.choices else entry.method(s.method)
    most = own.most_tokens or s.most_tokens
    return Question(own.task, method, s.batch, s.strict, most, True, own.choices, own.likelihood == "token")


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
        seed, resamples = plan.run.seed + place, plan.score.resamples
        out.draws[entry.name] = bootstrap.draws(metric.metric, seen, labels, seed, resamples=resamples)
        out.also[entry.name] = further(metric.metric, entry.settings.also, seen, labels, resamples, seed)


def _with_method(plan: Plan, method: str) -> Plan:
    """The plan as if its recipe found labels in this way: `figures` takes such answers for the main ones."""
    return replace(plan, score=replace(plan.score, method=method))  # type: ignore[arg-type]


def plan_for(plan: Plan, run: Run, entry: Entry) -> Plan:
    """The plan with the set's own question. Raises InputError where no part of the prompt asks the task."""
    task, block = entry.settings.task, entry.question
    asking = [name for name, part in plan.parts.items() if getattr(part.settings, "task", "") == task]
    if block is None and not asking:
        what = f"{entry.name} is asked the task {task!r}, which no part of the recipe's prompt asks"
        fix = f"add sets.{entry.name}.task=… or defaults.task=…, or give the set a `question`"
        raise InputError(Problem("--suite", what, fix, plan.tasks))
    if block is None:
        return plan
    name = asking[0] if asking else "suite_question"
    text = json.dumps({**block, "task": task} if "task" in block else dict(block), ensure_ascii=False)
    overrides = [*(f"prompt.parts.{part}=null" for part in asking), f"prompt.parts.{name}={text}"]
    made, problems = plan_recipe(load_recipe(run.recipe, [*plan.recipe.overrides, *overrides]), plan.registry)
    if problems:
        raise InputError(problems)
    return replace(made, score=plan.score, run=plan.run)


def needs_labels(job: Job, plan: Plan) -> None:
    """Raises InputError where no data set that is there is asked for labels and scored by them."""
    without = {name: _why_not(job, entry, plan) for name, entry in job.entries.items()}
    if all(without.values()):
        told = "; ".join(f"{name} {why}" for name, why in without.items())
        raise InputError(Problem("--bias", f"no data set of the suite has figures by people: {told}"))


def bias_over_sets(job: Job, loaded: Loaded, one: Answered, changing: Sequence[str]) -> dict[str, Any]:
    """Put `bias` into the figures of every set that has labels; returns `sets` (their groups), `over` all of them (see
    `over_sets`) and `without`, the other sets with the reason."""
    without: dict[str, str] = {}
    there: dict[str, OfSet] = {}
    for place, (name, entry) in enumerate(job.entries.items()):
        why = _why_not(job, entry, loaded.plan)
        if why:
            without[name] = why
            continue
        plan, question = plan_for(loaded.plan, loaded.run, entry), question_for(entry, loaded.plan)
        model = loaded.model if plan is loaded.plan else under(loaded.model, plan)
        say = lambda line, name=name: job.say(f"{name}: {line}")  # noqa: E731
        metrics = _metrics(entry, loaded.plan)
        trial = bias_ask.Trial(model, job.samples[name], job.cache, say, question, metrics, place, changing)
        people = bias_ask.people_of(trial)
        answers = one.answers[name]
        one.figures[name]["bias"] = bias_ask.measure(trial, answers, people)
        there[name] = OfSet(answers[LABEL, question.method], people, trial.how)
    groups = {name: one.figures[name]["bias"]["groups"] for name in there}
    return {"sets": groups, "over": over_sets(there), "without": without}


def _why_not(job: Job, entry: Entry, plan: Plan) -> str:
    """Why a set has no figures by people; nothing where it has."""
    if entry.settings.task != LABEL or entry.settings.choices:
        return "is not asked for labels"
    if not labels_in(job.samples[entry.name]):
        return "has no labels"
    asked = next(iter(wanted_of(entry, plan).values())).asked
    if asked[0] != LABEL or not _metrics(entry, plan):
        return "is scored by no metric of labels"
    return ""


def _metrics(entry: Entry, plan: Plan) -> dict[str, Metric]:
    """Those that a confusion matrix is enough for, the primary one first."""
    found = {n: w.metric for n, w in wanted_of(entry, plan).items() if hasattr(w.metric, "from_confusions")}
    return dict(sorted(found.items(), key=lambda item: item[0] != entry.primary))
