"""The yardstick: what a head without a training loop makes of the same frozen features that the LLM was trained on.

A figure of an LLM says little as long as nobody knows whether a linear model of the same features would have done. So every
evaluation of a run that trained an LLM on features of frozen steps shows one beside it, unless the recipe says
`score.yardstick: null`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from affectkit.data.splits import Splits, open_splits
from affectkit.encode.cache import Cache
from affectkit.encode.steps import Steps, by_port
from affectkit.errors import AffectkitError
from affectkit.evaluation.figures import OtherSystem
from affectkit.evaluation.predict import AnswerOptions, predict
from affectkit.evaluation.prediction import Prediction, count_metrics
from affectkit.evaluation.protocol import BuiltMetric, finalise
from affectkit.evaluation.score import Scoring
from affectkit.files import Say
from affectkit.heads import HEADS
from affectkit.model.model import Model
from affectkit.plan.graph import Step, cache_plan_of
from affectkit.plan.metrics import Query
from affectkit.plan.plan import Plan, Stage
from affectkit.plan.references import Ref
from affectkit.plan.use import Use, task_of_head
from affectkit.recipe.sections import StageSettings
from affectkit.sample import LABEL, Sample, Targets, labels_in
from affectkit.train.fit_head import fit_head
from affectkit.train.trainer import device

NAME = "yardstick"
"""What it is called among the heads of the model that it is tried in."""


class Yardstick:
    """A head that learned from the training samples of the LLM's last stage."""

    def __init__(self, model: Model, use: Use, cache: Cache) -> None:
        """Fits it. Raises InputError or RunError where the features or the labels will not do."""
        self.task = task_of_head(use.piece, use.settings)
        self.stage = last_stage(model.plan, self.task)
        assert self.stage is not None
        splits = open_splits(model.plan, self.stage)
        self.model = _with_head(model, use, splits, frozen_blocks(model.plan))
        address = f"{HEADS}.{NAME}"
        own = Stage(NAME, StageSettings((address,), objective=address), self.stage.data, (address,))
        fit_head(self.model, own, splits, cache, device(model.plan))

    @property
    def about(self) -> str:
        """What it is, and what it reads."""
        step = self.model.plan.graph.steps[f"{HEADS}.{NAME}"]
        said = ", ".join(f"{k} {v}" for k, v in getattr(self.model.steps.module(step.address), "chosen", {}).items())
        return f"{step.piece.name} on {', '.join(map(str, step.inputs.values()))}" + (f" ({said})" if said else "")


def heads_beside(
    model: Model,
    cache: Cache,
    yardstick: Yardstick | None,
    metrics: Mapping[str, BuiltMetric],
    samples: Sequence[Sample],
    answers: dict[Query, list[Prediction]],
    say: Say = print,
) -> dict[str, OtherSystem]:
    """Figures of the heads beside who answers the same task for the recipe, the yardstick first; what they
    answered is added to `answers`."""
    plan, found = model.plan, {}
    asked = [(yardstick.model, NAME, yardstick.task, yardstick.about)] if yardstick else []
    asked += [(model, name, task, "a head of the recipe") for name, task in plan.heads.items()]
    for under, name, task, about in asked:
        main = (task, plan.method(task))
        own = {n: one.metric for n, one in metrics.items() if one.query == main}
        if name != main[1] and main in answers:
            quick = dict(count_metrics(own)) if task == LABEL else own
            how = Scoring(quick, labels_in(samples), plan.run.seed, plan.score.resamples, task)
            options = AnswerOptions.of(plan.score, task, name)
            theirs = [finalise(p) for p in predict(under, samples, how.labels, cache, options)]
            answers[task, name] = theirs
            try:
                found[name] = OtherSystem(about, how.compare(theirs, answers[main]), how.figures(theirs))
            except AffectkitError as error:  # a metric of ratings that the data has not got
                say(f"{name} has no figures: {error}")
    return found


def last_stage(plan: Plan, task: str = LABEL) -> Stage | None:
    """The last stage that trains the LLM's loss on a task; None where there is none."""
    return next((s for s in reversed([*plan.stages.values()]) if s.llm and task in s.settings.tasks), None)


def frozen_blocks(plan: Plan) -> dict[str, tuple[str, ...]]:
    """By step, the blocks that no stage of the LLM's loss changes and that its trained steps, or the LLM, are fed."""
    moving = plan.learning({a for stage in plan.stages.values() if stage.llm for a in stage.trains})
    kept = cache_plan_of(plan.graph, plan.needed(), moving, (), plan.ends()).blocks
    return {address: blocks for address, blocks in kept.items() if blocks}


def make_yardstick(model: Model, cache: Cache, say: Say) -> Yardstick | None:
    """The yardstick of a run; None, with a word why, where there are no frozen features to learn from: it must never cost the
    figures of the run itself."""
    plan, use = model.plan, model.plan.yardstick
    if use is None or plan.alone or last_stage(plan, task_of_head(use.piece, use.settings)) is None:
        return None
    if not frozen_blocks(plan):
        say("no yardstick: no frozen step feeds the LLM, so there are no features to compare on")
        return None
    try:
        return Yardstick(model, use, cache)
    except AffectkitError as error:  # training data that is not here any more, one class, media that cannot be decoded
        say(f"no yardstick: {error}")
        return None


def _with_head(model: Model, use: Use, splits: Splits, blocks: Mapping[str, tuple[str, ...]]) -> Model:
    """The model with one head more, which reads these blocks."""
    graph, address = model.plan.graph, f"{HEADS}.{NAME}"
    refs = [Ref(step=step, block=block) for step, own in blocks.items() for block in own]
    port = use.piece.ports[0].name
    inputs = {f"{port}#{i}" if i else port: ref for i, ref in enumerate(refs)}
    eats = {key: graph.shape(ref) for key, ref in inputs.items()}
    fed = {key: shape for key, shape in by_port(use.piece, eats).items() if shape is not None}
    module = use.piece.build(use.settings, fed, Targets(splits.labels, splits.numbers))
    shapes = dict(use.piece.shapes(use.settings, eats, None)) if use.piece.shapes else {}
    source = model.plan.registry.source_of(use.piece)
    step = Step(address, use.piece, use.settings, inputs, eats, shapes, "none", source)
    whole = replace(graph, steps={**graph.steps, address: step}, written=(*graph.written, address))
    plan = replace(model.plan, graph=whole)
    built = {a: model.steps.module(a) for a in graph.steps}
    made = Model(plan, Steps(whole, {**built, address: module}), model.backbone)
    return made.eval()
