"""The verbs of the library, fit and evaluate: what the command line calls, and a notebook too."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from affectkit import plan as planning
from affectkit import protocols
from affectkit.bias import stating
from affectkit.cache import Cache
from affectkit.errors import InputError, Problem
from affectkit.evaluation import cache_folder, score_run
from affectkit.files import read_json
from affectkit.keeper import load_weights, read_weights
from affectkit.loading import Loaded, build_for, corpus, evaluated, load, started, tell_weights
from affectkit.meta import sizes
from affectkit.model import Model
from affectkit.plan import Plan, Stage
from affectkit.recipe import Recipe
from affectkit.runs import Run, beside, is_run, open_run, start
from affectkit.splits import Splits, check_faces, open_split, open_splits
from affectkit.starting import take_over
from affectkit.summary import trained_text
from affectkit.train import train_stage
from affectkit.trainers import is_first

RUN_OF_RANKS = "AFFECTKIT_RUN_FOLDER"
"""Environment variable by which the first process tells the other ranks which run folder to use."""
Say = Callable[[str], None]


def fit(
    recipe: str | Path | Recipe,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
    resume: str | Path | None = None,
    say: Say = print,
) -> Run:
    """Train a recipe through its stages, evaluate it and write the report; or go on with a run that was cut off.

    Raises InputError with every problem of the recipe; RunError when nothing could be trained on.
    """
    if resume is not None:
        run = open_run(resume)
        if evaluated(run) != run:
            what = f"holds an evaluation of {evaluated(run).folder}, there is nothing to go on with"
            raise InputError(Problem(str(resume), what, f"affectkit fit --resume {evaluated(run).folder}"))
        other = [o for o in overrides if not o.startswith("run.")]
        if other:
            what = "a resumed run keeps its recipe, or it would not end as it would have"
            raise InputError(Problem(f"override {other[0]!r}", what, "start a new run with this override"))
        plan = planning.check(run.recipe, overrides, plugins, trust)
        protocols.build_metrics(plan)  # a judge that may not be asked shows before hours go into training
    else:
        plan = planning.check(recipe, overrides, plugins, trust)
        protocols.build_metrics(plan)
        shared = os.environ.get(RUN_OF_RANKS)
        run = open_run(shared) if shared else start(plan)
    os.environ[RUN_OF_RANKS] = str(run.folder)
    try:
        model = train(plan, run, say)
        if is_first():
            score_run(plan, model, run, say)
    finally:
        os.environ.pop(RUN_OF_RANKS, None)
    return run


def train(plan: Plan, run: Run, say: Say = print) -> Model:
    """Every stage that is not done yet; returns the trained model."""
    from affectkit.bars import bars

    splits: dict[str, Splits] = {}

    def split_of(stage: Stage) -> Splits:
        if stage.name not in splits:
            splits[stage.name] = open_splits(plan, stage)
        return splits[stage.name]

    for stage in plan.stages.values():  # all data sets are opened first: a mistake in the last stage shows at once
        split_of(stage)
    for split in plan.score.splits:  # and those that it is scored on, before hours go into training
        check_faces(plan, open_split(plan.data, split, plan.recipe.place(("score", "splits"))))
    model = build_for(plan, run, lambda: corpus(plan, split_of))
    trained = take_over(model, started(plan), say) if plan.run.start else set()
    if is_first():
        tell_weights(model, run, say)
        run.note({"labels": labels_of(plan, split_of), "demographics": bool(stating(plan))})
    cache = Cache(cache_folder(plan))
    for stage in plan.stages.values():
        if run.weights(stage.name).exists():
            load_weights(model, read_weights(run.weights(stage.name)))
            trained.update(stage.trains)
            say(f"stage {stage.name}: done before")
            continue
        begun = time.monotonic()
        if is_first():
            say(f"stage {stage.name}: trains {trained_text(stage.trains, sizes(model).parameters)}")
        profile = train_stage(model, stage, split_of(stage), cache, run, trained, bars)
        if is_first():
            took = {"seconds": round(time.monotonic() - begun, 2)}
            _note_stage(run, stage, split_of(stage), took | ({"profile": profile.told()} if profile else {}), say)
    return model


def labels_of(plan: Plan, split_of: Callable[[Stage], Splits]) -> list[str]:
    """The label set that the last stage of the LLM's loss is taught."""
    taught = [split_of(s).labels for s in plan.stages.values() if not s.objective]
    return list(taught[-1]) if taught else []


def _note_stage(run: Run, stage: Stage, splits: Splits, took: dict[str, Any], say: Say) -> None:
    known = json.loads(run.about.read_text()).get("stages", {})
    about = {
        **took,
        "train": len(splits.train),
        "val": len(splits.val),
        "undecodable": splits.broken,
    }
    run.note({"stages": {**known, stage.name: about}})
    lost = f", {len(splits.broken)} samples undecodable (listed in run.json)" if splits.broken else ""
    say(f"stage {stage.name}: {took['seconds']:.0f} s{lost}")


def evaluate(
    path: str | Path,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
    say: Say = print,
    vary: Sequence[str] = (),
    by_people: bool = False,
) -> Run:
    """Evaluate a run (again), or an untrained recipe; returns the run folder with metrics and report.

    A run is evaluated in its own folder, with overrides in a fresh one beside it (or in that of `run.folder=…`).
    `vary` (`labels`, `frames`, `transcript`) measures how much the figures hang on these, see `affectkit.sensitivity`;
    `by_people` how they differ by age, gender and race, and by what is stated of these, see `affectkit.bias`.
    """
    if is_run(path):
        loaded = load(path, overrides, plugins, trust)
        run = start(beside(loaded.plan, loaded.run)) if overrides else loaded.run
        if overrides:
            run.note(
                {
                    "evaluates": str(evaluated(loaded.run).folder),
                    "weights": loaded.model.origins(),
                    "labels": list(loaded.labels),
                }
            )
        elif "weights" not in read_json(run.about):  # imported: what its weights are is known now
            run.note({"weights": loaded.model.origins()})
        score_run(loaded.plan, loaded.model, run, say, vary, by_people)
        return run
    loaded = starting(path, overrides, plugins, trust, say)
    score_run(loaded.plan, loaded.model, loaded.run, say, vary, by_people)
    return loaded.run


def starting(
    path: str | Path,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    trust: bool = False,
    say: Say = print,
) -> Loaded:
    """A recipe with the weights that it starts from, in a fresh run folder."""
    plan = planning.check(path, overrides, plugins, trust)
    run = start(plan)
    model = build_for(plan, run, lambda: corpus(plan, lambda stage: open_splits(plan, stage)))
    tell_weights(model, run, say)
    say("nothing was trained: these are the figures of the starting weights")
    return Loaded(plan, model, run)
