"""The verbs of the library, fit and evaluate: what the command line calls, and a notebook too."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from PIL.Image import Image

from affectkit.blocks import TokenBlock
from affectkit.data.splits import Splits, check_faces, data_notes, learned, open_split, open_splits, without_target
from affectkit.encode.cache import Cache
from affectkit.errors import InputError, Problem, unknown
from affectkit.evaluation import protocol as protocols
from affectkit.evaluation.bias import stating
from affectkit.evaluation.predict import AnswerOptions, predict
from affectkit.evaluation.prediction import Prediction
from affectkit.evaluation.run import check_scored, check_variants, score_run
from affectkit.evaluation.user_input import media_samples, overrides_for
from affectkit.files import Say, cannot_write
from affectkit.model.model import Model, build, data_targets, with_plan
from affectkit.model.prompts import check_answers, corpus
from affectkit.model.sizes import sizes
from affectkit.plan import check as planning
from affectkit.plan.check import Stage
from affectkit.plan.graph import per_batch
from affectkit.plan.plan import Loss, Plan
from affectkit.plan.summary import trained_text
from affectkit.recipe.load import RecipeSource, load_recipe
from affectkit.report.run import write_report
from affectkit.sample import LABEL, Sample
from affectkit.train.checkpoint import load_weights, names_to_keep, read_weights
from affectkit.train.fit_head import fit_notices, fits
from affectkit.train.interrupt import beside_first, interruptible
from affectkit.train.loop import train_stage
from affectkit.train.profile import Profile
from affectkit.train.run_folder import (
    Run,
    beside,
    evaluated_run,
    is_run,
    note_targets,
    open_run,
    saved_targets,
    saved_tokenizer,
    start,
    starting_run,
)
from affectkit.train.start import load_initial_weights, note_missing, put_weights, set_origin
from affectkit.train.trainer import bars, is_first, meeting_others, refuse_numbers
from affectkit.weights import random_parts, stand_ins

RUN_OF_RANKS = "AFFECTKIT_RUN_FOLDER"
"""Environment variable by which the first process tells the other ranks which run folder to use."""
RESUMED = tuple(
    f"run.{name}" for name in ("accelerator", "devices", "strategy", "precision", "workers", "num_workers", "profile")
)
"""What a resumed run may have otherwise than it began: run.json notes it."""

FaceChoice = Literal["detect", "whole"]
"""How a face is looked for in media that come alone: find it, or take the picture for it."""


def fit(
    recipe: RecipeSource,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
    resume: str | Path | None = None,
    say: Say = print,
) -> Run:
    """Train a recipe (whatever `load_recipe` takes) through its stages, evaluate it and write the report; or go on with a
    run that was cut off.

    Raises InputError with every problem of the recipe; RunError when nothing could be trained on.
    """
    if resume is not None:
        run = open_run(resume)
        if evaluated_run(run) != run:
            what = f"holds an evaluation of {evaluated_run(run).folder}, there is nothing to go on with"
            raise InputError(Problem(str(resume), what, f"affectkit fit --resume {evaluated_run(run).folder}"))
        other = [o for o in overrides if o.partition("=")[0] not in RESUMED]
        if other:
            what = "a resumed run keeps its recipe, or it would not end as it would have"
            fix = f"start a new run with this override; a resumed one may have {', '.join(RESUMED)}"
            raise InputError(Problem(f"override {other[0]!r}", what, fix))
        recipe = run.recipe
    plan = planning.check(recipe, overrides, plugins, trust)
    protocols.build_metrics(plan)  # a judge that may not be asked shows before hours go into training
    if resume is None:
        shared = os.environ.get(RUN_OF_RANKS)
        run = open_run(shared) if shared else start(plan)
    elif overrides and is_first():
        resumed = {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "overrides": [*overrides]}
        run.note({"resumed": [*run.notes().get("resumed", []), resumed]})
    os.environ[RUN_OF_RANKS] = str(run.folder)
    try:
        with beside_first(), interruptible(run.folder):
            model = train(plan, run, say)
            if is_first():
                score_run(model.plan, model, run, say)
                write_report(run.folder)
    finally:
        os.environ.pop(RUN_OF_RANKS, None)
    return run


def train(plan: Plan, run: Run, say: Say = print) -> Model:
    """Every stage that is not done yet; returns the trained model."""
    run.curves.touch()
    # all data sets are opened first: a mistake in the last stage shows at once
    splits = {name: open_splits(plan, stage) for name, stage in plan.stages.items()}
    if is_first():
        for note in data_notes(splits):
            say(f"data: {note}")
    # and those that it is scored on, before hours go into training
    scored = [open_split(plan.data, split, plan.recipe.place(("score", "splits"))) for split in plan.score.splits]
    for samples in scored:
        check_faces(plan, samples)
    for name, stage in plan.stages.items():
        notices = check_answers(plan, stage, splits[name])
        for notice in notices if is_first() else ():
            say(notice)
    refuse_numbers(plan)
    model, plan = build_for(plan, run, splits)
    check_scored(plan, model, scored, saved_targets(run))
    trained = load_initial_weights(model, starting_run(plan), say) if plan.run.start else set()
    if is_first():
        print_weights(model, say)
        # those of the last stage of the LLM's loss, or of a head's
        taught = [
            splits[name]
            for name, stage in plan.stages.items()
            if stage.llm or (plan.alone and any(loss.heads for loss in stage.losses))
        ]
        labels = list(taught[-1].labels) if taught else []
        never = {*labels} - {*learned(labels, taught[-1].train)} if taught else ()
        about = {"weights": model.origins(), "parameters": _parameters(model)}
        run.note({**about, "labels": labels, "untaught": sorted(never), "demographics": bool(stating(plan))})
    cache = Cache(plan.cache_folder)
    for stage in plan.stages.values():
        if run.weights(stage.name).exists():
            load_weights(model, read_weights(run.weights(stage.name)), str(run.weights(stage.name)))
            trained.update(stage.trains)
            say(f"stage {stage.name}: done before")
            continue
        begun = time.monotonic()
        if is_first():
            say(f"stage {stage.name}: trains {trained_text(stage.trains, sizes(model).parameters)}")
            for notice in fit_notices(plan, stage):
                say(notice)
        with meeting_others(stage.name, run.folder):
            profile = train_stage(model, stage, splits[stage.name], cache, run, trained, bars)
        if is_first():
            untold = without_target(plan, stage, splits[stage.name].train)
            chosen = getattr(model.steps.module(stage.objective), "chosen", {}) if fits(model, stage) else {}
            also = {"without_target": untold, "chosen": {k: str(v) for k, v in chosen.items()}}
            _note_stage(run, stage, splits[stage.name], time.monotonic() - begun, profile, also, say)
    return model


def _note_stage(
    run: Run, stage: Stage, splits: Splits, seconds: float, profile: Profile | None, also: dict[str, Any], say: Say
) -> None:
    """Write to run.json how long a stage took, on how many samples, which of them could not be decoded, and of `also` what is not
    empty: how many had nothing that it learns from, and what a head that learned without a training loop chose."""
    took = {"seconds": round(seconds, 2), **({"profile": profile.to_dict()} if profile else {})}
    counts = {"train": len(splits.train), "val": len(splits.val), "undecodable": splits.broken}
    counts |= {key: value for key, value in also.items() if value}
    mended = {"mended": splits.mended} if splits.mended else {}
    losses = {"losses": {loss.name: _loss_note(stage, loss) for loss in stage.mixed}} if stage.mixed else {}
    run.note({"stages": {stage.name: {**took, **counts, **mended, **losses}}})
    told = {"undecodable": splits.broken, "with sound that was mended": splits.mended}
    lost = [f", {len(n)} samples {what} (first {next(iter(n))}; listed in run.json)" for what, n in told.items() if n]
    if untold := also["without_target"]:
        lost.append(f", {untold} of {len(splits.train)} training samples have no truth for it and were left out")
    chosen = "".join(f", {key} {value}" for key, value in also["chosen"].items())
    say(f"stage {stage.name}: {seconds:.0f} s{''.join(lost)}{chosen and ';' + chosen[1:]}")


def _loss_note(stage: Stage, loss: Loss) -> dict[str, object]:
    """What run.json says of one of a stage's losses; of one over the pairs within a batch, how many samples that has."""
    step = loss.objective
    pairs = {"batch": stage.settings.batch} if step is not None and per_batch(step) else {}
    return {"use": step.piece.name if step else "", "weight": loss.weight, **pairs}


def evaluate(
    path: RecipeSource,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
    say: Say = print,
    vary: Sequence[str] = (),
    by_people: bool = False,
) -> Run:
    """Evaluate a run (again), or an untrained recipe; returns the run folder with metrics and report.

    A run is evaluated in its own folder, with overrides in a fresh one beside it (or in that of `run.folder=…`).
    `vary` (`labels`, `frames`, `transcript`) measures how much the figures hang on these, see `affectkit.evaluation.sensitivity`;
    `by_people` how they differ by age, gender and race, and by what is stated of these, see `affectkit.evaluation.bias`.
    """
    if isinstance(path, str | Path) and is_run(path):
        loaded = load(path, overrides, plugins, trust)
        plan, names = loaded.plan, loaded.plan.score.splits if vary else ()
        scored = [open_split(plan.data, split, plan.recipe.place(("data",))) for split in names]
        check_variants(plan, scored, vary, by_people)  # before a folder is made
        run = start(beside(loaded.plan, loaded.run)) if overrides else loaded.run
        origins, evaluated = loaded.model.origins(), str(evaluated_run(loaded.run).folder)
        if overrides:
            never = evaluated_run(loaded.run).notes().get("untaught", [])
            run.note({"evaluates": evaluated, "weights": origins, "labels": list(loaded.labels), "untaught": never})
        elif "weights" not in run.notes():  # imported: what its weights are is known now
            run.note({"weights": origins})
    else:
        loaded = starting(path, overrides, plugins, trust, say)
        run = loaded.run
    score_run(loaded.plan, loaded.model, run, say, vary, by_people)
    write_report(run.folder)
    return run


def starting(
    path: RecipeSource,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
    say: Say = print,
) -> LoadedRun:
    """A recipe with the weights that it starts from, in a fresh run folder."""
    plan = planning.check(path, overrides, plugins, trust)
    run = start(plan)
    model, plan = build_for(plan, run)
    model.steps.check_fitted(plan.needed())  # before hours go into features that nothing can be made of
    print_weights(model, say)
    run.note({"weights": model.origins(), "parameters": _parameters(model)})
    say("nothing was trained: these are the figures of the starting weights")
    return LoadedRun(plan, model, run)


OTHER_PARTS = "leave out the overrides that change pieces or sizes, or train a run with them: affectkit fit"


Media = str | Path | bytes | np.ndarray | Image | Sample
"""What a run can be asked about: a file, its bytes, a picture, sound, a sample."""


class LoadedRun:
    """A trained run, ready to be asked, looked into, and trained further."""

    def __init__(self, plan: Plan, model: Model, run: Run) -> None:
        self.plan, self.model, self.run = plan, model, run
        self.cache = Cache(plan.cache_folder)
        model.cache = self.cache
        self._finding: dict[tuple[str, ...], Model] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set that the run was trained on."""
        return tuple(self.run.notes().get("labels", ()))

    def samples(self, split: str) -> list[Sample]:
        """The samples of a split of the run's data set. Raises InputError where there are none."""
        found = open_split(self.plan.data, split, self.plan.recipe.place(("data",)))
        return [found[i] for i in range(len(found))]

    @overload
    def predict(  # type: ignore[overload-overlap]  # a path is a sequence of texts, too
        self,
        samples: Media,
        task: str = ...,
        demographics: bool = ...,
        turn: int = ...,
        rate: int | None = ...,
        subtitle: str = ...,
        face: FaceChoice = ...,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        samples: Sequence[Media],
        task: str = ...,
        demographics: bool = ...,
        turn: int = ...,
        rate: int | None = ...,
        subtitle: str = ...,
        face: FaceChoice = ...,
    ) -> list[Prediction]: ...

    def predict(
        self,
        samples: Media | Sequence[Media],
        task: str = "label",
        demographics: bool = False,
        turn: int = 0,
        rate: int | None = None,
        subtitle: str = "",
        face: FaceChoice = "detect",
    ) -> Prediction | list[Prediction]:
        """A label with probabilities, or a generated answer to another task, for one sample or for each of several.

        The label is the likeliest of the run's label set: each label is scored as an answer, and nothing is generated, also
        where `score.method` of the recipe says so. Tasks that a head answers (`label`, `labels`, `numbers`) it answers here too.

        A sample may be given as its media alone: the path of a clip, a still or a sound file, the bytes of such a file, a
        PIL image, an array (a picture uint8 [h, w, 3] in RGB, or sound of `rate` samples a second). `subtitle` is what is
        said in them; with `face` "whole" the picture is the face, else faces are found by the installed detector. Age,
        gender and race stay out of the prompt unless `demographics` is True. Of a conversation `turn` is answered;
        `affectkit.evaluation.user_input.converse` asks in turn.

        Media that cannot be decoded give a prediction that says so. Raises InputError for files that are not there, and
        where faces are to be found and no detector is installed.
        """
        s = self.plan.score
        if task not in self.plan.answered:
            raise InputError(unknown("predict", "task", task, self.plan.answered, "this run answers no other"))
        method = self.plan.method(task)
        method = "candidates" if method == "generate" and task == LABEL else method
        options = replace(AnswerOptions.of(s, task, method), demographics=demographics, turn=turn)
        with media_samples(samples, rate, subtitle) as asked:
            model = self._finds_faces(asked.bare, face)
            own = saved_targets(evaluated_run(self.run)).get(method)  # a head's, which may have learned from other data
            labels = own.labels if own else self.labels
            options = replace(options, numbers=own.numbers) if own else options
            made = [asked.named(p) for p in predict(model, asked.samples, labels, self.cache, options)]
        return made[0] if asked.single else made

    def _finds_faces(self, bare: Sequence[Sample], face: FaceChoice) -> Model:
        """The model, as it looks at media that come without boxes."""
        overrides = tuple(overrides_for(self.plan, bare, face, None, None)) if bare else ()
        if overrides and overrides not in self._finding:
            plan, problems = planning.plan_recipe(load_recipe(self.plan.recipe, overrides), self.plan.registry)
            if problems:
                raise InputError(problems)
            self._finding[overrides] = with_plan(self.model, plan)
        return self._finding[overrides] if overrides else self.model

    def features(
        self,
        samples: Media | Sequence[Media],
        block: str,
        rate: int | None = None,
        subtitle: str = "",
        face: FaceChoice = "detect",
    ) -> TokenBlock:
        """What a step gives for each sample (media as for `predict`), tokens [b t n d] with their mask, on the CPU.

        `block` is `stream.step.block`, or `stream.step` for its main block. A sample whose media cannot be decoded has an
        empty row. Raises InputError with the nearest name for a block that there is not.
        """
        with media_samples(samples, rate, subtitle) as asked:
            model = self._finds_faces(asked.bare, face)
            model.labels, model.cache = self.labels, self.cache
            return model.features(asked.samples, block)


def load(
    path: str | Path, overrides: Sequence[str] = (), plugins: Sequence[str | Path] = (), trust: bool = False
) -> LoadedRun:
    """A trained run from its folder. What its last stage trained is what trains in a loop of one's own.

    Raises InputError where a stage is not finished, or overrides ask for parts or sizes that the run never trained.
    """
    run = open_run(path)
    plan = planning.check(run.recipe, overrides, plugins, trust)
    weights = evaluated_run(run)
    done = [s for s in plan.stages if weights.weights(s).exists()]
    if plan.stages and len(done) < len(plan.stages):
        what = f"the run is not finished: stage {next(s for s in plan.stages if s not in done)} has no weights"
        raise InputError(Problem(str(path), what, f"affectkit fit --resume {path}"))

    def wrong(name: str, there: str, here: str) -> Problem:
        return Problem(str(path), f"{name} is {there} in the run, {here} with these overrides", OTHER_PARTS)

    model, plan = build(plan, lambda: (), saved_tokenizer(weights), saved_targets(weights) or None)
    imported = weights.notes().get("imported")
    trained = {address for stage in plan.stages.values() for address in stage.trains}
    wanted = set(names_to_keep(model, trained)) if done else set()  # nothing else can give their values
    if imported:  # its file has no more than what the run lists as trained, and of that not what it is known to lack
        wanted = {n for n, _ in model.named_parameters() if model.address(n) in trained} - {
            *imported.get("missing", ())
        }
    given, _ = put_weights(model, weights, done, wrong)
    if imported:
        set_origin(model, str(imported["file"]), given)
        note_missing(model, imported)
    wanted -= given
    if wanted:
        what = f"the run holds no weights for {min(wanted)} ({len(wanted)} in all): they would be random"
        raise InputError(Problem(str(path), what, OTHER_PARTS))
    taught = [stage.trains for stage in plan.stages.values() if stage.llm]
    if taught:
        model.freeze(taught[-1])
    loaded = LoadedRun(plan, model, run)
    model.labels = loaded.labels
    return loaded


def build_for(plan: Plan, run: Run, splits: Mapping[str, Splits] | None = None) -> tuple[Model, Plan]:
    """`build` for a run; its tokenizer is the run's own where there is one, and is written there where not."""
    own = saved_tokenizer(run)
    saved = own or (saved_tokenizer(starting_run(plan)) if plan.run.start else None)
    targets = saved_targets(run) or data_targets(plan, splits)
    model, plan = build(plan, lambda: corpus(plan, splits), saved, targets)
    if targets and is_first():
        note_targets(run, targets)
    if own is None and not plan.alone and is_first():
        try:
            run.tokenizer.mkdir(parents=True, exist_ok=True)
            model.llm.save_tokenizer(str(run.tokenizer))
            (run.tokenizer / "done").touch()
        except Exception as error:  # tokenizers tell of a full disk in ways of their own
            raise cannot_write(run.tokenizer, None, error) from error
    return model, plan


def print_weights(model: Model, say: Say) -> None:
    """Say which parts start from random weights, and what stands in for what."""
    origins = model.origins()
    random = random_parts(origins)
    if random:
        say(f"random weights (stand-ins, not pretrained): {', '.join(random)}")
    for said in stand_ins(origins):
        say(said)
    if not getattr(model.backbone, "packs", True):
        say("the backbone would see across packed samples: it runs one sample a row, which is slower")


def _parameters(model: Model) -> dict[str, object]:
    """How many parameters there are, how many train in one stage or another, and how many each address has."""
    found = sizes(model)
    trained = {address for stage in found.trainable.values() for address in stage}
    return {
        "total": sum(found.parameters.values()),
        "trainable": sum(n for address, n in found.parameters.items() if address in trained),
        "by_address": dict(found.parameters),
    }
