"""A run as a model: built, with the weights that its stages left, ready to be asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from affectkit import plan as planning
from affectkit.answer import Question, predict
from affectkit.cache import Cache
from affectkit.errors import InputError, Problem
from affectkit.evaluation import cache_folder
from affectkit.files import read_json
from affectkit.keeper import load_weights, names_to_keep, other_shapes, read_weights
from affectkit.meta import sizes
from affectkit.model import Model, build, make_prompt
from affectkit.plan import Plan, Stage
from affectkit.rows import texts
from affectkit.runs import Run, is_run, open_run
from affectkit.sample import Sample
from affectkit.score import Prediction
from affectkit.splits import Splits
from affectkit.starting import refuse_stand_ins, tell_origin
from affectkit.trainers import is_first
from affectkit.weights import random_parts, stand_ins

OTHER_PARTS = "leave out the overrides that change pieces or sizes, or train a run with them: affectkit fit"
Say = Callable[[str], None]


class Loaded:
    """A trained run, ready to be asked."""

    def __init__(self, plan: Plan, model: Model, run: Run) -> None:
        self.plan, self.model, self.run = plan, model, run
        self.cache = Cache(cache_folder(plan))

    @property
    def labels(self) -> tuple[str, ...]:
        """The label set that the run was trained on."""
        return tuple(json.loads(self.run.about.read_text()).get("labels", ()))

    def predict(
        self, samples: Sequence[Sample], task: str = "label", demographics: bool = False, turn: int = 0
    ) -> list[Prediction]:
        """Labels with probabilities, or a generated answer to another task. Age, gender and race stay out of the prompt
        unless `demographics` is True. Of a conversation `turn` is answered; `affectkit.asking.converse` asks in turn."""
        s = self.plan.score
        method = "candidates" if task == "label" else "generate"
        return predict(
            self.model,
            samples,
            self.labels,
            self.cache,
            Question(task, method, s.batch, s.strict, s.most_tokens, demographics, turn=turn),
        )


def load(
    path: str | Path, overrides: Sequence[str] = (), plugins: Sequence[str | Path] = (), trust: bool = False
) -> Loaded:
    """A trained run from its folder.

    Raises InputError where a stage is not finished, or overrides ask for parts or sizes that the run never trained.
    """
    run = open_run(path)
    plan = planning.check(run.recipe, overrides, plugins, trust)
    weights = evaluated(run)
    done = [s for s in plan.stages if weights.weights(s).exists()]
    if plan.stages and len(done) < len(plan.stages):
        missing = [s for s in plan.stages if s not in done]
        raise InputError(
            Problem(
                str(path),
                f"the run is not finished: stage {missing[0]} has no weights",
                f"affectkit fit --resume {path}",
            )
        )
    model = build(plan, lambda: iter(()), saved_tokenizer(weights))
    imported = read_json(weights.about).get("imported") if weights.about.exists() else None
    wanted = set() if imported or not done else _trained_names(plan, model)
    for stage in done:
        tensors = read_weights(weights.weights(stage))
        for name, there, here in other_shapes(model, tensors):
            what = f"{name} is {there} in the run, {here} with these overrides"
            raise InputError(Problem(str(path), what, OTHER_PARTS))
        load_weights(model, tensors)
        wanted -= set(tensors)
        if imported:  # a file that somebody else trained: its values are no stand-ins
            refuse_stand_ins(model, str(imported["file"]), set(tensors))
            tell_origin(model, str(imported["file"]), set(tensors))
    if wanted:
        what = f"the run holds no weights for {min(wanted)} ({len(wanted)} in all): they would be random"
        raise InputError(Problem(str(path), what, OTHER_PARTS))
    return Loaded(plan, model, run)


def _trained_names(plan: Plan, model: Model) -> set[str]:
    """Parameters whose values the run folder alone can give."""
    return set(names_to_keep(model, {address for stage in plan.stages.values() for address in stage.trains}))


def evaluated(run: Run) -> Run:
    """The run whose weights a folder shows: its own, or those of the run that it evaluates, which is looked for beside it
    too where both were copied."""
    about = json.loads(run.about.read_text()) if run.about.exists() else {}
    if "evaluates" not in about:
        return run
    there, here = Path(about["evaluates"]), run.folder.parent / Path(about["evaluates"]).name
    return open_run(here if is_run(here) and not is_run(there) else there)


def started(plan: Plan) -> Run:
    """The run that `run.start` names."""
    return evaluated(open_run(plan.run.start))


def saved_tokenizer(run: Run) -> str | None:
    """The run's own tokenizer; None where it has none yet, or takes that of a published source (an imported run)."""
    return str(run.tokenizer) if (run.tokenizer / "done").exists() else None


def build_for(plan: Plan, run: Run, corpus_of: Callable[[], Iterator[str]]) -> Model:
    """The model of a run; its tokenizer is the run's own where there is one, and is written there where not."""
    own = saved_tokenizer(run)
    saved = own or (saved_tokenizer(started(plan)) if plan.run.start else None)
    model = build(plan, corpus_of, saved)
    if own is None and is_first():
        model.llm.save_tokenizer(str(run.tokenizer))
        (run.tokenizer / "done").touch()
    return model


def corpus(plan: Plan, split_of: Callable[[Stage], Splits]) -> Iterator[str]:
    """Texts of every stage that trains the LLM's loss."""
    prompt = make_prompt(plan)
    for stage in plan.stages.values():
        if not stage.objective:
            splits = split_of(stage)
            yield from texts(plan, prompt, splits.train, splits.labels, list(stage.settings.tasks), plan.run.seed)


def tell_weights(model: Model, run: Run, say: Say) -> None:
    origins = model.origins()
    run.note({"weights": origins, "parameters": _parameters(model)})
    random = random_parts(origins)
    if random:
        say(f"random weights (stand-ins, not pretrained): {', '.join(random)}")
    for said in stand_ins(origins):
        say(said)
    if not getattr(model.backbone, "packs", True):
        say("the backbone would see across packed samples: it runs one sample a row, which is slower")


def _parameters(model: Model) -> dict[str, Any]:
    """How many parameters there are, how many train in one stage or another, and how many each address has."""
    found = sizes(model)
    trained = {address for stage in found.trainable.values() for address in stage}
    return {
        "total": sum(found.parameters.values()),
        "trainable": sum(n for address, n in found.parameters.items() if address in trained),
        "by_address": dict(found.parameters),
    }
